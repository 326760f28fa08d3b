package examples

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

const root = "../../"

func TestMain(m *testing.M) { os.Exit(build(m)) }

// build runs the tests with pushcart as users have it: that of integration has the race
// detector.
func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pushcart-examples")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// The system's Python and Ruby come first: apt installs Flask and Sinatra for them.
	for _, name := range []string{"python3", "ruby"} {
		if _, err := os.Stat("/usr/bin/" + name); err == nil {
			_ = os.Symlink("/usr/bin/"+name, filepath.Join(dir, name))
		}
	}
	_ = os.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return sidecartest.BuildPlain(m, root)
}

// process is a program that runs until the test ends.
type process struct {
	*exec.Cmd
	out   testkit.Log
	ended chan struct{}
}

// run starts a program in dir, in a process group of its own.
func run(t *testing.T, dir string, env []string, command ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(command[0], command[1:]...), ended: make(chan struct{})}
	p.Dir, p.Env = dir, append(os.Environ(), env...)
	p.Stdout, p.Stderr = &p.out, &p.out
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.Start(); err != nil {
		t.Fatalf("%v; make tools installs what the examples need", err)
	}
	go func() { _ = p.Wait(); close(p.ended) }()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", strings.Join(command, " "), &p.out)
		}
	})
	return p
}

// stop ends the program and its workers.
func (p *process) stop() {
	_ = syscall.Kill(-p.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
}

// await waits until the program does what is wanted, or ends.
func (p *process) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testkit.Eventually(t, what, func() bool {
		select {
		case <-p.ended:
			t.Fatalf("%s ended:\n%s; make tools installs what the examples need", p, &p.out)
		default:
		}
		return ok()
	})
}

// listens waits until the program does, at host:port or a socket's path.
func (p *process) listens(t *testing.T, address string) {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	p.await(t, "listening at "+address, func() bool {
		conn, err := net.Dial(network, address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// addresses are those of a sidecar and its app. An app that is written for the ports of
// the docs gets these instead.
type addresses struct{ app, public, push, admin string }

func free(t *testing.T) addresses {
	t.Helper()
	return addresses{app: testkit.FreeAddr(t), public: testkit.FreeAddr(t), push: testkit.FreeAddr(t), admin: testkit.FreeAddr(t)}
}

// rewrite puts them into a text.
func (a addresses) rewrite(text string) string {
	port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
	return strings.NewReplacer("3000", port(a.app), "8080", port(a.public), "8081", port(a.push)).Replace(text)
}

// pushcart runs the binary in dir, with the pushcart.yaml that is there.
func pushcart(t *testing.T, dir string, at addresses) *sidecartest.Sidecar {
	t.Helper()
	file := filepath.Join(dir, "pushcart.yaml")
	given, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	yaml := string(given) + fmt.Sprintf("\npush: {listen: '%s'}\nadmin: {listen: '%s'}\n", at.push, at.admin)
	if !strings.HasPrefix(yaml, "listen:") {
		yaml += fmt.Sprintf("listen: '%s'\n", at.public)
	}
	if err := os.WriteFile(file, []byte(sidecartest.Complete(yaml)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := sidecartest.Tool("run")
	cmd.Dir = dir
	s := sidecartest.Run(t, cmd)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("pushcart said:\n%s", s.Output())
		}
	})
	testkit.Eventually(t, "pushcart is ready", func() bool { status, _ := s.Ready(""); return status == http.StatusOK })
	return s
}

// complaints are the warnings and errors that it logged, less those about what matches.
func complaints(s *sidecartest.Sidecar, but ...string) (out []string) {
	for line := range strings.Lines(s.Output()) {
		about := func(b string) bool { return strings.Contains(line, b) }
		if (about(`"level":"WARN"`) || about(`"level":"ERROR"`)) && !slices.ContainsFunc(but, about) {
			out = append(out, line)
		}
	}
	return out
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// block is the n-th block of a language, from 0, in a page.
func block(t *testing.T, page, language string, n int) string {
	t.Helper()
	rest := read(t, page)
	for range n + 1 {
		var ok bool
		if _, rest, ok = strings.Cut(rest, "\n```"+language+"\n"); !ok {
			t.Fatalf("%s has no %s block %d", page, language, n)
		}
	}
	text, _, ok := strings.Cut(rest, "\n```")
	if !ok {
		t.Fatalf("%s: a %s block has no end", page, language)
	}
	return text + "\n"
}
