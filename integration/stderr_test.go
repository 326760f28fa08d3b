package integration

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// unread is a pushcart whose stderr a test holds and does not read after the start
// line.
type unread struct {
	*sidecartest.Sidecar // its addresses

	cmd              *exec.Cmd
	stderr, writeEnd *os.File
	exited           chan struct{}
}

func startUnread(t *testing.T, yaml string) *unread {
	t.Helper()
	u := &unread{Sidecar: &sidecartest.Sidecar{}, cmd: sidecartest.Command(t, yaml), exited: make(chan struct{})}
	u.stderr, u.writeEnd = pipe(t)
	u.cmd.Stderr = u.writeEnd
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = u.cmd.Wait()
		close(u.exited)
	}()
	t.Cleanup(func() {
		_ = u.cmd.Process.Kill()
		<-u.exited
	})
	in := bufio.NewReader(u.stderr)
	for u.Public == "" {
		text, err := in.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var l sidecartest.Line
		_ = json.Unmarshal(text, &l)
		u.Public, u.Push, u.Admin = l.Listen, l.Push, l.Admin
	}
	return u
}

// pipe is a FIFO, so that fill need not change the flags of the end that pushcart
// has.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stderr")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r = open(t, path, os.O_RDONLY|syscall.O_NONBLOCK)
	return r, open(t, path, os.O_WRONLY)
}

func open(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// fill writes to a pipe that nobody reads until it takes nothing more.
func fill(t *testing.T, pipe *os.File) {
	t.Helper()
	w := open(t, pipe.Name(), os.O_WRONLY|syscall.O_NONBLOCK)
	for chunk := make([]byte, 64<<10); len(chunk) > 0; {
		_ = w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := w.Write(chunk); errors.Is(err, os.ErrDeadlineExceeded) {
			chunk = chunk[:len(chunk)/2] // up to the last byte
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// logs makes it log, and work: a request that finds no backend, and a handshake
// that is refused.
func (u *unread) logs(t *testing.T) {
	t.Helper()
	for range 3 {
		if status, body := call(t, "GET", "http://"+u.Public+"/x", "", ""); status != http.StatusBadGateway {
			t.Errorf("a request: %d %s, want 502", status, body)
		}
		if _, err := tryDial(u.Sidecar, "/_push", nil); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("a handshake: %v, want 401", err)
		}
	}
	_ = u.cmd.Process.Signal(syscall.SIGHUP)
	if status, body := call(t, "POST", "http://"+u.Push+"/v1/push", "", `{"to":{"all":true},"text":"x"}`); status != 200 {
		t.Errorf("a push: %d %s", status, body)
	}
}

func (u *unread) terminate(t *testing.T) {
	t.Helper()
	_ = u.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-u.exited:
	case <-time.After(15 * time.Second): // drain 1 s, and 1 s for the log
		t.Fatal("it did not exit")
	}
	if code := u.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("%v, want exit 0", u.cmd.ProcessState)
	}
}

// A write to a closed stderr used to end the process with SIGPIPE.
func TestStderr_ThatIsClosedEndsNothing(t *testing.T) {
	u := startUnread(t, "")
	_ = u.stderr.Close()
	u.logs(t)
	testkit.Eventually(t, "lost lines are counted", func() bool {
		_, body := call(t, "GET", "http://"+u.Admin+"/metrics", "", "")
		return strings.Contains(body, "\npushcart_log_dropped_total ") && !strings.Contains(body, "\npushcart_log_dropped_total 0\n")
	})
	u.terminate(t)
}

// A pipe that nobody reads used to stop whoever logged: handshakes, and SIGTERM.
func TestStderr_ThatNobodyReadsStopsNothing(t *testing.T) {
	t.Parallel() // it mostly waits
	u := startUnread(t, "")
	fill(t, u.writeEnd)
	u.logs(t)
	u.terminate(t)
}

func TestStderr_ThatNobodyReadsDoesNotKeepAFailureFromExiting(t *testing.T) {
	t.Parallel() // it mostly waits
	_, w := pipe(t)
	fill(t, w)
	cmd := sidecartest.Tool("run", "--config", "/does/not/exist")
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	select {
	case <-exited:
	case <-time.After(15 * time.Second):
		_ = cmd.Process.Kill()
		<-exited
		t.Fatal("it did not exit")
	}
	if code := cmd.ProcessState.ExitCode(); code <= 0 {
		t.Errorf("%v, want the exit code of the failure", cmd.ProcessState)
	}
}

// go-redis prints lines of its own, one per failed dial, unless it is told not to.
func TestStderr_HasNothingButLogLines(t *testing.T) {
	s := sidecartest.Start(t, "\nredis: {addresses: ['127.0.0.1:1']}")
	testkit.Eventually(t, "go-redis says that it cannot connect", func() bool { return strings.Contains(s.Output(), "failed to dial") })
	for line := range strings.Lines(s.Output()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not a log line: %q", line)
		}
	}
}
