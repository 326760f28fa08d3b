package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/testkit"
)

// needs are root and programs.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		testkit.Missing(t, "root")
	}
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			testkit.Missing(t, name)
		}
	}
}

// machine is a copy of this one's file system, for a script that changes it: nothing of
// that is seen outside, or left when the script has ended.
type machine struct {
	shared string // is /try in it
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	needs(t, "unshare", "chroot")
	return &machine{shared: t.TempDir()}
}

// holds puts a file into /try.
func (m *machine) holds(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.shared, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const layered = `set -e
mount -t tmpfs -o mode=0755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mkdir "$1/root/try"
mount --bind "$2" "$1/root/try"
cd "$1/root"
`

// run runs a script in it, and returns what it says.
func (m *machine) run(t *testing.T, script string) string {
	t.Helper()
	m.holds(t, "script", script)
	return m.enter(t, `mount --rbind /dev dev; mount -t proc proc proc
exec chroot . sh /try/script`)
}

// boot starts a systemd of its own there, which runs the script as its only service.
func (m *machine) boot(t *testing.T, prepare, script string) string {
	t.Helper()
	needs(t, "systemd-nspawn")
	m.holds(t, "prepare", prepare)
	m.holds(t, "script", script)
	m.holds(t, "try.service", `[Unit]
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
ExecStart=/bin/sh /try/script
StandardOutput=append:/try/out
StandardError=append:/try/out
TimeoutStartSec=90
`)
	console := m.enter(t, `cp try/try.service etc/systemd/system
: >etc/machine-id
chroot . sh /try/prepare
exec systemd-nspawn --quiet --register=no --keep-unit --machine=try --private-network --console=pipe \
	-D . --bind="$2:/try" /lib/systemd/systemd --unit=try.service systemd.show_status=0`)
	out, err := os.ReadFile(filepath.Join(m.shared, "out"))
	if err != nil {
		t.Fatalf("%v\n%s", err, console)
	}
	return string(out)
}

func (m *machine) enter(t *testing.T, do string) string {
	t.Helper()
	// Mounts, and processes that are left, end with it.
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "--pid", "--mount-proc", "--fork", "--kill-child", "sh", "-c", layered+do, "sh", t.TempDir(), m.shared)
	cmd.Env = append(os.Environ(), "container=test", "SYSTEMD_LOG_LEVEL=err")
	out, err := cmd.CombinedOutput()
	if err != nil {
		said, _ := os.ReadFile(filepath.Join(m.shared, "out"))
		t.Fatalf("%v\n%s%s", err, out, said)
	}
	return string(out)
}

// says compares lines NAME=VALUE.
func says(t *testing.T, out string, want [][2]string) {
	t.Helper()
	got := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			got[name] = value
		}
	}
	for _, one := range want {
		if got[one[0]] != one[1] {
			t.Errorf("%s: got %q, want %q", one[0], got[one[0]], one[1])
		}
	}
	if t.Failed() {
		t.Logf("it said:\n%s", out)
	}
}
