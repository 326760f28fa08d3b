package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pushcart/pushcart/internal/testkit"
)

// image is what the Dockerfile's last stage says.
type image struct {
	files            map[string]string // copied from the first stage: where to → where from
	user, folder     string
	entry, cmd, test []string
}

func readDockerfile(t *testing.T) (i image) {
	t.Helper()
	b, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, last, ok := strings.Cut(string(b), "\nFROM scratch\n")
	if !ok {
		t.Fatal("the image is not made from scratch")
	}
	list := func(text string) (out []string) {
		for _, word := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(text, -1) {
			out = append(out, word[1])
		}
		return out
	}
	i.files = map[string]string{}
	for line := range strings.Lines(last) {
		switch word, rest, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "COPY":
			paths := strings.Fields(strings.TrimPrefix(rest, "--from=build "))
			i.files[paths[1]] = paths[0]
		case "USER":
			i.user = rest
		case "WORKDIR":
			i.folder = rest
		case "ENTRYPOINT":
			i.entry = list(rest)
		case "CMD":
			i.cmd = list(rest)
		case "HEALTHCHECK":
			i.test = list(rest)
		}
	}
	return i
}

// layOut makes the image's file system.
func (i image) layOut(t *testing.T, root, binary string) {
	t.Helper()
	for to, from := range i.files {
		if from == "/pushcart" {
			from = binary
		}
		if strings.HasSuffix(to, "/") {
			to += filepath.Base(from) // of Debian's ca-certificates, as in the first stage
		}
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, to), b, 0o755)
	}
}

func write(t *testing.T, file string, b []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, mode); err != nil {
		t.Fatal(err)
	}
}

// container is a running one: a root that cannot be written to, no capabilities, 128 MiB.
type container struct {
	name string
	root string // its file system, from outside
	run  *exec.Cmd
	log  testkit.Log
	done chan error
}

const memory = 128 << 20

func (i image) start(t *testing.T, binary, user, config string) *container {
	t.Helper()
	bundle := t.TempDir()
	c := &container{name: "pushcart-test-" + strconv.Itoa(os.Getpid()) + "-" + user, root: filepath.Join(bundle, "rootfs"), done: make(chan error, 1)}
	i.layOut(t, c.root, binary)
	write(t, filepath.Join(c.root, i.folder, "pushcart.yaml"), []byte(config), 0o644)
	uid, _ := strconv.Atoi(user)
	type object = map[string]any
	b, err := json.Marshal(object{
		"ociVersion": "1.0.2",
		"root":       object{"path": "rootfs", "readonly": true},
		"process": object{
			"args": append(i.entry, i.cmd...), "cwd": i.folder, "env": []string{}, "user": object{"uid": uid, "gid": uid},
			"capabilities": object{}, "noNewPrivileges": true,
			"rlimits": []object{{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096}},
		},
		"mounts": []object{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": []string{"ro"}},
		},
		"linux": object{
			"cgroupsPath": "/" + c.name, "resources": object{"memory": object{"limit": memory}},
			"namespaces":    []object{{"type": "pid"}, {"type": "network"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}},
			"readonlyPaths": []string{"/proc/sys"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(bundle, "config.json"), b, 0o644)
	c.run = exec.Command("runc", "run", "--bundle", bundle, c.name)
	c.run.Stdout, c.run.Stderr = &c.log, &c.log
	c.run.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := c.run.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.done <- c.run.Wait() }()
	t.Cleanup(func() { _ = exec.Command("runc", "delete", "--force", c.name).Run() })
	c.log.Await(t, "pushcart started")
	return c
}

// exec runs a command inside.
func (c *container) exec(args ...string) string {
	out, err := exec.Command("runc", append([]string{"exec", c.name}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return string(out)
}

// TestImage_RunsReadOnlyAsAnyUser lays out what the Dockerfile copies, and runs what it
// runs, as Docker and Kubernetes do: no shell, no /tmp, no home, no entry in any passwd.
func TestImage_RunsReadOnlyAsAnyUser(t *testing.T) {
	needs(t, "runc")
	t.Parallel()
	r, i := theRelease(t), readDockerfile(t)
	if i.user != "65532:65532" || i.folder != "/etc/pushcart" || len(i.files) != 2 {
		t.Errorf("the Dockerfile has user %s, folder %s, files %v", i.user, i.folder, i.files)
	}
	config := "backend: {url: 'http://127.0.0.1:3000'}\nauth: {anonymous: true}\nlimits: {connections_per_ip: %d}\n"
	c := i.start(t, r.binary, "1234567", fmt.Sprintf(config, 1))
	f := func(what, got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q in it\n%s", what, got, want, &c.log)
		}
	}
	f("the log, 90 % of 128 MiB", c.log.String(), "memory_limit=115MiB")
	f("the log, of 640 MiB that may wait", c.log.String(), "look_at=\"websocket.outbox.total, websocket.inbound_total\"")
	f("health", c.exec(i.test...), "ready\n")
	f("status", c.exec("/pushcart", "status"), "(limit 3276)") // 80 % of the 4096 that Go may take
	f("push", c.exec("/pushcart", "push", "--all", "hello"), `"nodes":1`)
	write(t, filepath.Join(c.root, i.folder, "pushcart.yaml"), fmt.Appendf(nil, config, 2), 0o644)
	f("reload", c.exec("/pushcart", "reload"), "limits.connections_per_ip: 1 → 2\n")
	f("drain", c.exec("/pushcart", "drain"), "drained, 0 connections left\n")
	f("health after it", c.exec(i.test...), "not ready: 503")
	if out, err := exec.Command("runc", "kill", c.name, "TERM").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := <-c.done; err != nil {
		t.Errorf("its end: %v\n%s", err, &c.log)
	}
}
