package memlimit

import (
	"bytes"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// unlimited is what the first version of control groups has for no limit, or a little
// less: the largest number of whole pages.
const unlimited = math.MaxInt64 &^ (1<<20 - 1)

// group is the process's control group in one hierarchy.
type group struct {
	mount string // where the hierarchy is mounted, without the first /
	path  string // of the group below that
	// files are where a group has its limits.
	files []string
}

// groups are the process's groups that may limit its memory: of the second version of
// control groups, of the first, or of both (cgroups(7)).
func groups(root fs.FS) (out []group) {
	paths := ofProcess(root)
	for line := range lines(root, "proc/self/mountinfo") {
		// 36 35 98:0 /ROOT /MOUNTED rw,noatime shared:1 - TYPE SOURCE OPTIONS (proc_pid_mountinfo(5))
		before, after, _ := strings.Cut(line, " - ")
		at, kind := strings.Fields(before), strings.Fields(after)
		if len(at) < 5 || len(kind) < 3 {
			continue
		}
		g := group{mount: strings.TrimPrefix(at[4], "/")}
		var in string
		var ok bool
		switch {
		case kind[0] == "cgroup2":
			in, ok = paths[""]
			g.files = []string{"memory.max", "memory.high"}
		case kind[0] == "cgroup" && slices.Contains(strings.Split(kind[2], ","), "memory"):
			in, ok = paths["memory"]
			g.files = []string{"memory.limit_in_bytes"}
		}
		if ok {
			g.path = below(at[3], in)
			out = append(out, g)
		}
	}
	return out
}

// ofProcess are the paths of the process's groups, by controller; that of the second
// version has none.
func ofProcess(root fs.FS) map[string]string {
	paths := map[string]string{}
	for line := range lines(root, "proc/self/cgroup") {
		if parts := strings.SplitN(line, ":", 3); len(parts) == 3 { // 4:memory:/path
			for controller := range strings.SplitSeq(parts[1], ",") {
				paths[controller] = parts[2]
			}
		}
	}
	return paths
}

// below is a group's path below the group that is mounted: in a container the hierarchy
// may begin with the container's own.
func below(mounted, in string) string {
	if rest, ok := strings.CutPrefix(in, mounted); ok {
		in = rest
	}
	return strings.TrimPrefix(path.Clean("/"+in), "/")
}

// limit is the lowest of the group and those around it, as far as they can be seen.
func (g group) limit(root fs.FS) int64 {
	lowest := int64(math.MaxInt64)
	for dir := path.Join(g.mount, g.path); ; dir = path.Dir(dir) {
		for _, file := range g.files {
			b, err := fs.ReadFile(root, path.Join(dir, file))
			if n, bad := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64); err == nil && bad == nil { // or "max"
				lowest = min(lowest, n)
			}
		}
		if dir == g.mount || dir == "." {
			return lowest
		}
	}
}

// lines are those of a file; none where it cannot be read.
func lines(root fs.FS, name string) func(yield func(string) bool) {
	b, _ := fs.ReadFile(root, name)
	return strings.SplitSeq(strings.TrimSpace(string(b)), "\n")
}
