package memlimit

import (
	"math"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"
)

// tree is a file system of files by name.
func tree(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range files {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

const second = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"

func TestOfGroup_IsTheLowestLimitAroundTheProcess(t *testing.T) {
	f := func(name string, want int64, files map[string]string) {
		t.Helper()
		if got, ok := ofGroup(tree(files)); !ok || got != want {
			t.Errorf("%s: got %d, %v, want %d", name, got, ok, want)
		}
	}
	f("a container with a cgroup namespace", 512<<20, map[string]string{
		"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": second,
		"sys/fs/cgroup/memory.max": "536870912\n",
	})
	f("a unit of systemd, whose slice has less", 100<<20, map[string]string{
		"proc/self/cgroup": "0::/system.slice/pushcart.service\n", "proc/self/mountinfo": second,
		"sys/fs/cgroup/system.slice/pushcart.service/memory.max": "209715200\n",
		"sys/fs/cgroup/system.slice/memory.max":                  "104857600\n",
	})
	f("memory.high, past which the kernel slows the process down", 64<<20, map[string]string{
		"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": second,
		"sys/fs/cgroup/a/memory.max": "max\n", "sys/fs/cgroup/a/memory.high": "67108864\n",
	})
	f("the first version, a container without a cgroup namespace", 256<<20, map[string]string{
		"proc/self/cgroup":                           "5:cpu,cpuacct:/docker/c1\n4:memory:/docker/c1\n0::/\n",
		"proc/self/mountinfo":                        "41 23 0:30 /docker/c1 /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n" + second,
		"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n",
	})
	f("the first version, several controllers on one mount, a group around", 32<<20, map[string]string{
		"proc/self/cgroup":                             "4:hugetlb,memory:/a/b\n",
		"proc/self/mountinfo":                          "41 23 0:30 / /cgroup rw - cgroup none rw,hugetlb,memory\n",
		"cgroup/a/b/memory.limit_in_bytes":             "9223372036854771712\n",
		"cgroup/a/memory.limit_in_bytes":               "33554432\n",
		"cgroup/memory.limit_in_bytes":                 "9223372036854771712\n",
		"cgroup/another/memory.limit_in_bytes":         "1\n",
		"sys/fs/cgroup/memory/memory.limit_in_bytes":   "1\n",
		"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1\n",
	})
}

func TestOfGroup_IsNothingWhereThereIsNone(t *testing.T) {
	f := func(name string, files map[string]string) {
		t.Helper()
		if got, ok := ofGroup(tree(files)); ok {
			t.Errorf("%s: got %d", name, got)
		}
	}
	f("no control groups", nil)
	f("no limit", map[string]string{"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": second, "sys/fs/cgroup/memory.max": "max\n"})
	f("no limit of the first version", map[string]string{
		"proc/self/cgroup":                           "4:memory:/\n",
		"proc/self/mountinfo":                        "41 23 0:30 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
		"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
	})
	f("not mounted", map[string]string{"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": "1 1 0:1 / / rw - ext4 /dev/vda rw\n"})
	f("files that make no sense", map[string]string{"proc/self/cgroup": "\n:\nx", "proc/self/mountinfo": "a - b\n - \n", "sys/fs/cgroup/memory.max": "?"})
}

// Apply changes the process, so that each case is one of its own.
func TestApply_LeavesGOMEMLIMITAlone(t *testing.T) {
	if os.Getenv("MEMLIMIT_TEST") != "" {
		before, _ := Bytes()
		Apply()
		after, ok := Bytes()
		group, limited := ofGroup(os.DirFS("/"))
		switch _, chosen := os.LookupEnv("GOMEMLIMIT"); {
		case chosen && after != before:
			t.Errorf("it was %d and is %d", before, after)
		case !chosen && limited && after != of(group):
			t.Errorf("the group has %d, the limit is %d", group, after)
		case !chosen && !limited && ok:
			t.Errorf("the group has no limit, the process has %d", after)
		}
		return
	}
	f := func(env ...string) {
		t.Helper()
		cmd := exec.Command(os.Args[0], "-test.run", t.Name())
		for _, e := range os.Environ() {
			if !strings.HasPrefix(e, "GOMEMLIMIT=") {
				cmd.Env = append(cmd.Env, e)
			}
		}
		cmd.Env = append(append(cmd.Env, "MEMLIMIT_TEST=1"), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", env, err, out)
		}
	}
	f()
	f("GOMEMLIMIT=100MiB")
	f("GOMEMLIMIT=off")
}

func TestBytes_IsWhatGoWorksWith(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 40))
	if got, ok := Bytes(); got != 1<<40 || !ok {
		t.Errorf("got %d, %v", got, ok)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	if got, ok := Bytes(); ok {
		t.Errorf("got %d", got)
	}
}

func TestOf_IsNineTenthsInWholeMiB(t *testing.T) {
	for limit, want := range map[int64]int64{128 << 20: 115 << 20, 1 << 30: 921 << 20, 10 << 30: 9216 << 20} {
		if got := of(limit); got != want {
			t.Errorf("of %d MiB: got %d, want %d", limit>>20, got, want)
		}
	}
}

// FuzzOfGroup: the kernel's files never end the process.
func FuzzOfGroup(f *testing.F) {
	f.Add("0::/a\n4:memory:/x", second+"41 23 0:30 / /m rw - cgroup none rw,memory", "1")
	f.Fuzz(func(t *testing.T, cgroup, mountinfo, limit string) {
		files := tree(map[string]string{"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo, "sys/fs/cgroup/memory.max": limit})
		if got, ok := ofGroup(files); ok && got >= unlimited {
			t.Errorf("got %d", got)
		}
	})
}
