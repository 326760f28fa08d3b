package sidecartest

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/testkit"
)

// Sidecar is a running pushcart. Its methods may be called concurrently. One that a test
// makes of addresses only can be called, and nothing else.
type Sidecar struct {
	// Public, Push and Admin are the addresses of its listeners, host:port.
	Public, Push, Admin string

	client *http.Client
	cmd    *exec.Cmd
	exited chan struct{} // closed when it ended
	code   int           // read after exited
	killed atomic.Bool   // it was meant to die

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

// Start runs pushcart with a configuration; see Command and Run. What is in wrap comes
// before its command, and must exec it.
func Start(t testing.TB, yaml string, wrap ...string) *Sidecar {
	t.Helper()
	return Run(t, Wrap(Command(t, yaml), wrap...))
}

// Run runs a command that becomes pushcart and logs as JSON. It ends with the test, which
// fails if it reported a race or did not exit 0.
func Run(t testing.TB, cmd *exec.Cmd) *Sidecar {
	t.Helper()
	s := &Sidecar{client: newClient(), cmd: cmd, exited: make(chan struct{})}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.read(stderr)
	t.Cleanup(func() { s.Stop(t) })
	testkit.Eventually(t, "the start line", func() bool { return s.started(t) })
	return s
}

func (s *Sidecar) started(t testing.TB) bool {
	for _, l := range s.Log() {
		if l.Listen != "" {
			s.Public, s.Push, s.Admin = l.Listen, l.Push, l.Admin
			return true
		}
	}
	select {
	case <-s.exited:
		t.Fatalf("pushcart ended:\n%s", &s.text)
	default:
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

// Complaints are the warnings and errors that it logged.
func (s *Sidecar) Complaints() (out []string) {
	for _, l := range s.Log() {
		if l.Level == "WARN" || l.Level == "ERROR" {
			out = append(out, l.Msg)
		}
	}
	return out
}

// Output is the log as it was written.
func (s *Sidecar) Output() string { return s.text.String() }

// LastOutput is for a failed test's report: what is about a race or a panic, else the end.
func (s *Sidecar) LastOutput() string {
	const most = 8 << 10
	out := s.Output()
	for _, mark := range []string{"WARNING: DATA RACE", "panic"} {
		if i := strings.Index(out, mark); i >= 0 {
			return out[i:min(len(out), i+most)]
		}
	}
	return out[max(0, len(out)-most):]
}

// Pid is that of its process.
func (s *Sidecar) Pid() int { return s.cmd.Process.Pid }

// ConfigFile is the path of its configuration, if Command made it.
func (s *Sidecar) ConfigFile() string { return s.cmd.Args[len(s.cmd.Args)-1] }

// Signal sends its process a signal. One that ended gets none.
func (s *Sidecar) Signal(sig os.Signal) { _ = s.cmd.Process.Signal(sig) }

// Pause stops the process, as a hanging machine would; Resume lets it go on.
func (s *Sidecar) Pause() { s.Signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (s *Sidecar) Resume() { s.Signal(syscall.SIGCONT) }

// Kill ends the process at once. It returns when it ended.
func (s *Sidecar) Kill() {
	s.killed.Store(true)
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// AwaitExit waits for the end of the process, and returns its exit code.
func (s *Sidecar) AwaitExit(t testing.TB, within time.Duration) (code int) {
	t.Helper()
	select {
	case <-s.exited:
	case <-time.After(within):
		t.Fatalf("it did not exit within %v:\n%s", within, s.LastOutput())
	}
	return s.code
}

// Stop ends it as a service manager does. It may be called for one that ended.
func (s *Sidecar) Stop(t testing.TB) {
	t.Helper()
	s.Resume()
	s.HangUp()
	s.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		s.Signal(syscall.SIGQUIT) // its goroutines, for the report
		<-s.exited
		t.Errorf("pushcart did not stop:\n%s", s.LastOutput())
		return
	}
	if out := s.Output(); s.code != 0 && !s.killed.Load() || strings.Contains(out, "DATA RACE") || strings.Contains(out, "panic") {
		t.Errorf("pushcart exited with %d:\n%s", s.code, s.LastOutput())
	}
}
