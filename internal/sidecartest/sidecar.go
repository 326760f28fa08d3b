package sidecartest

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/testkit"
)

// Sidecar is a running pushcart. Its methods may be called concurrently.
type Sidecar struct {
	// Public, Push and Admin are the addresses of its listeners, host:port.
	Public, Push, Admin string

	client *http.Client
	cmd    *exec.Cmd
	exited chan struct{} // closed when it ended
	code   int
	killed atomic.Bool // it was meant to die

	mu   sync.Mutex // guards log
	log  []Line
	text testkit.Log
}

// Line is one line of a Sidecar's log.
type Line struct {
	Time       time.Time
	Level, Msg string
	Err        string

	Listen, Push, Admin string // of the start line
}

// Start runs pushcart with a configuration, its listeners on free ports. It ends with the
// test, which fails if it reported a race or did not exit 0. What is in wrap comes before
// its command, and must exec it.
func Start(t testing.TB, yaml string, wrap ...string) *Sidecar {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pushcart.yaml")
	yaml = "listen: 127.0.0.1:0\npush: {listen: 127.0.0.1:0}\nadmin: {listen: 127.0.0.1:0, pprof: true}\nlog: {format: json}\n" + yaml
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	command := append(wrap, binary, "run", "--config", file)
	s := &Sidecar{client: newClient(), cmd: exec.Command(command[0], command[1:]...), exited: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.read(stderr)
	t.Cleanup(func() { s.stop(t) })
	testkit.Eventually(t, "the start line", func() bool { return s.started(t) })
	return s
}

func (s *Sidecar) started(t testing.TB) bool {
	select {
	case <-s.exited:
		t.Fatalf("pushcart ended:\n%s", &s.text)
	default:
	}
	for _, l := range s.Log() {
		if l.Listen != "" {
			s.Public, s.Push, s.Admin = l.Listen, l.Push, l.Admin
			return true
		}
	}
	return false
}

func (s *Sidecar) read(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l Line
		_ = json.Unmarshal(lines.Bytes(), &l)
		_, _ = s.text.Write(append(lines.Bytes(), '\n'))
		s.mu.Lock()
		s.log = append(s.log, l)
		s.mu.Unlock()
	}
	_ = s.cmd.Wait()
	s.code = s.cmd.ProcessState.ExitCode()
	close(s.exited)
}

// Log is what it logged so far.
func (s *Sidecar) Log() []Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Line(nil), s.log...)
}

// Output is the same as it was written.
func (s *Sidecar) Output() string { return s.text.String() }

// Kill ends the process at once. It returns when it ended.
func (s *Sidecar) Kill() {
	s.killed.Store(true)
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// Pause stops the process, as a hanging machine would; Resume lets it go on.
func (s *Sidecar) Pause() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (s *Sidecar) Resume() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// stop ends it as a service manager does.
func (s *Sidecar) stop(t testing.TB) {
	t.Helper()
	s.Resume()
	s.HangUp()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines, for the report
		<-s.exited
		t.Errorf("pushcart did not stop:\n%s", s.lastOutput())
		return
	}
	if out := s.Output(); s.code != 0 && !s.killed.Load() || strings.Contains(out, "DATA RACE") || strings.Contains(out, "panic") {
		t.Errorf("pushcart exited with %d:\n%s", s.code, s.lastOutput())
	}
}

// lastOutput is for a failed test's report: what is about a race or a panic, else the end.
func (s *Sidecar) lastOutput() string {
	const most = 8 << 10
	out := s.Output()
	for _, mark := range []string{"WARNING: DATA RACE", "panic"} {
		if i := strings.Index(out, mark); i >= 0 {
			return out[i:min(len(out), i+most)]
		}
	}
	return out[max(0, len(out)-most):]
}
