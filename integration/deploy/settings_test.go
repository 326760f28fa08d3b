package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/testkit"
)

// node is a pushcart of the release on this machine.
type node struct {
	*exec.Cmd
	log testkit.Log
}

func startNode(t *testing.T, yaml string, env ...string) *node {
	t.Helper()
	binary := theRelease(t).binary
	file := filepath.Join(t.TempDir(), "pushcart.yaml")
	write(t, file, []byte("listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0}\npush: {listen: 127.0.0.1:0}\nbackend: {url: 'http://127.0.0.1:1'}\n"+yaml), 0o600)
	n := &node{Cmd: exec.Command(binary, "run", "--config", file)}
	n.Env = append(os.Environ(), env...)
	n.Stderr = &n.log
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.Process.Signal(os.Interrupt)
		if err := n.Wait(); err != nil {
			t.Errorf("%v\n%s", err, &n.log)
		}
	})
	n.log.Await(t, "pushcart started")
	return n
}

// sets counts its epoll sets.
func (n *node) sets(t *testing.T) (count int) {
	t.Helper()
	folder := filepath.Join("/proc", strconv.Itoa(n.Process.Pid), "fd")
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, _ := os.Readlink(filepath.Join(folder, e.Name())); to == "anon_inode:[eventpoll]" {
			count++
		}
	}
	return count
}

// Go sets GOMAXPROCS by the CPUs, and the CPU limit, that the process has; pollers are
// as many.
func TestCPU_PollersFollowGOMAXPROCS(t *testing.T) {
	one, five := startNode(t, "", "GOMAXPROCS=1"), startNode(t, "", "GOMAXPROCS=5")
	if got := five.sets(t) - one.sets(t); got != 4 {
		t.Errorf("5 CPUs have %d pollers more than 1, want 4", got)
	}
	for n, want := range map[*node]string{one: "cpus=1", five: "cpus=5"} {
		if !n.log.Has(want) {
			t.Errorf("no %s in\n%s", want, &n.log)
		}
	}
}

// GOMEMLIMIT counts where there is one, whatever the group has; Go reads it.
func TestMemory_GOMEMLIMITIsTheOperators(t *testing.T) {
	if n := startNode(t, "", "GOMEMLIMIT=300MiB"); !n.log.Has("memory_limit=300MiB") {
		t.Errorf("no memory_limit=300MiB in\n%s", &n.log)
	}
	if n := startNode(t, "", "GOMEMLIMIT=off"); n.log.Has("memory_limit") {
		t.Errorf("a memory_limit in\n%s", &n.log)
	}
}

const sysctls = "../../deploy/sysctl/90-pushcart.conf"

// TestSysctl_SettingsAreTakenAndCount: in a network of its own, the kernel takes each of
// them, and pushcart listens with the queue that they allow.
func TestSysctl_SettingsAreTakenAndCount(t *testing.T) {
	needs(t, "unshare", "sysctl", "ip", "ss")
	binary := theRelease(t).binary
	file := filepath.Join(t.TempDir(), "pushcart.yaml")
	write(t, file, []byte("backend: {url: 'http://127.0.0.1:3000'}\nshutdown: {drain: 1s}\n"), 0o600)
	settings, err := filepath.Abs(sysctls)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--net", "--mount", "sh", "-c", saying+`
sysctl -q -p "$1"; say taken $?
ip link set lo up
"$2" run --config "$3" 2>/dev/null &
for _ in $(seq 400); do "$2" health --config "$3" >/dev/null 2>&1 && break; sleep 0.05; done
say queue "$(ss -Hltn 'sport = :8080' | awk '{ print $3 }')"
say listens "$(ss -Hltn | sed 's/.*:\([0-9]*\) .*/\1/' | sort -n | tr '\n' ' ')"
say ports "$(cat /proc/sys/net/ipv4/ip_local_port_range)"
say reserved "$(cat /proc/sys/net/ipv4/ip_local_reserved_ports)"
kill -TERM $!; wait $!; say ends $?
`, "sh", settings, binary, file)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	says(t, string(out), [][2]string{
		{"taken", "0"}, {"queue", "16384"}, {"listens", "8080 8081 8082 "}, {"ports", "1024\t65535"},
		{"reserved", "3000,6379,8080-8082"}, {"ends", "0"},
	})
}

// Each setting has its reason on the page.
func TestSysctl_SettingsAreThoseOfTheDocs(t *testing.T) {
	setting := regexp.MustCompile(`(?m)^-?((?:net|fs|vm|kernel)\.[a-z0-9_.]+) = (.*)$`)
	find := func(file string, re *regexp.Regexp) (out []string) {
		t.Helper()
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range re.FindAllSubmatch(b, -1) {
			out = append(out, string(m[1])+" = "+string(m[2]))
		}
		slices.Sort(out)
		return out
	}
	inFile := find(sysctls, setting)
	onPage := find("../../docs/deploy.md", regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+) = ([^`]*)` \\|"))
	if len(inFile) == 0 || !slices.Equal(inFile, onPage) {
		t.Errorf("the file has\n%s\nthe page\n%s", strings.Join(inFile, "\n"), strings.Join(onPage, "\n"))
	}
}
