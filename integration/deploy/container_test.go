package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/internal/testkit"
)

// container is a process as Docker and Kubernetes run it, by runc: in namespaces of its
// own, with what its description allows and no more.
type container struct {
	name string
	log  testkit.Log
	run  *exec.Cmd
	done chan error
}

// description is what a container is made of. Its folder is the one that runc calls a
// bundle.
type description struct {
	name     string
	root     string // its file system; "": what this machine has, which it may change for itself
	args     []string
	env      []string
	folder   string // that it works in
	uid      int
	readOnly bool
	caps     []string
	memory   int64 // bytes; 0: no limit
	files    uint64
	mounts   map[string]string // where to → where from, read-only
	writable map[string]string // the same, to be written to
	network  string            // of ip netns; "": none but its own 127.0.0.1
}

// What Docker leaves to a container that is not told otherwise.
var usualCaps = []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"}

type object = map[string]any

func (d *description) config(t *testing.T) []byte {
	t.Helper()
	mounts := []object{
		{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755"}},
		{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": []string{"ro"}},
	}
	for i, of := range []map[string]string{d.mounts, d.writable} {
		for to, from := range of {
			mounts = append(mounts, object{"destination": to, "type": "bind", "source": from, "options": []string{"bind", [...]string{"ro", "rw"}[i]}})
		}
	}
	resources, namespaces := object{}, []object{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}}
	if d.memory > 0 {
		resources["memory"] = object{"limit": d.memory}
	}
	network := object{"type": "network"}
	if d.network != "" {
		network["path"] = "/run/netns/" + d.network
	}
	root := d.root
	if root == "" {
		root = "layers/root"
	}
	b, err := json.Marshal(object{
		"ociVersion": "1.0.2", "hostname": "test",
		"root": object{"path": root, "readonly": d.readOnly},
		"process": object{
			"args": d.args, "cwd": d.folder, "env": d.env, "user": object{"uid": d.uid, "gid": d.uid}, "noNewPrivileges": true,
			"capabilities": object{"bounding": d.caps, "effective": d.caps, "permitted": d.caps},
			"rlimits":      []object{{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": d.files}},
		},
		"mounts": mounts,
		"linux":  object{"cgroupsPath": "/" + d.name, "resources": resources, "namespaces": append(namespaces, network), "readonlyPaths": []string{"/proc/sys"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// start runs it until the test ends.
func (d description) start(t *testing.T) *container {
	t.Helper()
	needs(t, "runc", "unshare")
	d.name = fmt.Sprintf("pushcart-test-%d-%s", os.Getpid(), d.name)
	var here unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &here); err != nil {
		t.Fatal(err)
	}
	if d.files == 0 {
		d.files = 4096
	}
	d.files = min(d.files, here.Max) // more needs a right that not every root has
	bundle := t.TempDir()
	write(t, filepath.Join(bundle, "config.json"), d.config(t), 0o644)
	c := &container{name: d.name, done: make(chan error, 1)}
	script := `exec runc run --bundle "$1" "$2"`
	if d.root == "" {
		script = `set -e
mkdir "$1/layers"
mount -t tmpfs -o mode=0755 tmpfs "$1/layers"
mkdir "$1/layers/upper" "$1/layers/work" "$1/layers/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/layers/upper,workdir=$1/layers/work" "$1/layers/root"
` + script
	}
	c.run = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", bundle, c.name)
	c.run.Stdout, c.run.Stderr = &c.log, &c.log
	if err := c.run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { c.done <- c.run.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = exec.Command("runc", "delete", "--force", c.name).Run()
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", d.name, &c.log)
		}
	})
	return c
}

// exec runs a command inside; a failure begins with its exit code.
func (c *container) exec(args ...string) string {
	in := []string{"--mount", "--target", strconv.Itoa(c.run.Process.Pid), "runc", "exec", c.name} // where its root is mounted
	out, err := exec.Command("nsenter", append(in, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return string(out)
}

func (c *container) signal(t *testing.T, name string) {
	t.Helper()
	if out, err := exec.Command("runc", "kill", c.name, name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// network is where its sockets are.
func (c *container) network(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("runc", "state", c.name).Output()
	var state struct{ Pid int }
	if err != nil || json.Unmarshal(out, &state) != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return "/proc/" + strconv.Itoa(state.Pid) + "/ns/net"
}

// dialIn connects from inside a network.
func dialIn(network string) func(ctx context.Context, kind, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	return func(ctx context.Context, kind, address string) (net.Conn, error) {
		out := make(chan result, 1)
		go func() {
			runtime.LockOSThread() // and the thread ends with the goroutine, as it is in that network for good
			f, err := os.Open(network)
			if err == nil {
				err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
				_ = f.Close()
			}
			var conn net.Conn
			if err == nil {
				conn, err = new(net.Dialer).DialContext(ctx, kind, address)
			}
			out <- result{conn, err}
		}()
		r := <-out
		return r.conn, r.err
	}
}

// clientIn makes requests from inside a network.
func clientIn(network string) *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: dialIn(network), DisableKeepAlives: true}}
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}
