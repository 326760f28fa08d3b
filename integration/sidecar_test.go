package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/race"
	"github.com/pushcart/pushcart/internal/testkit"
)

// binary is pushcart, with the race detector if the tests have it, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pushcart-integration")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "pushcart")
	cmd := exec.Command("go", "build", fmt.Sprintf("-race=%v", race.Enabled), "-o", binary, "../cmd/pushcart")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build pushcart:", err)
		return 1
	}
	return m.Run()
}

// sidecar is a running pushcart.
type sidecar struct {
	public, push, admin string // host:port

	cmd    *exec.Cmd
	exited chan struct{} // closed when it ended
	code   int

	mu   sync.Mutex // guards log
	log  []logLine
	text bytes.Buffer
}

type logLine struct {
	Level, Msg          string
	Listen, Push, Admin string
}

// prepare returns pushcart with a configuration, its listeners on free ports.
func prepare(t *testing.T, yaml string) *exec.Cmd {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pushcart.yaml")
	yaml = "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0}\n" + yaml
	if !strings.Contains(yaml, "\npush:") {
		yaml += "\npush: {listen: 127.0.0.1:0}"
	}
	if !strings.Contains(yaml, "\nlog:") {
		yaml += "\nlog: {format: json}"
	}
	if !strings.Contains(yaml, "\nshutdown:") {
		yaml += "\nshutdown: {drain: 1s}"
	}
	if !strings.Contains(yaml, "\nbackend:") {
		yaml += "\nbackend: {url: 'http://127.0.0.1:1'}"
	}
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "run", "--config", file)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// start runs it. It is stopped with the test, which fails if it reported a race or
// did not exit 0.
func start(t *testing.T, yaml string) *sidecar {
	t.Helper()
	s := &sidecar{cmd: prepare(t, yaml), exited: make(chan struct{})}
	s.run(t)
	return s
}

// run runs s.cmd until the test ends.
func (s *sidecar) run(t *testing.T) {
	t.Helper()
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.read(stderr)
	t.Cleanup(func() { s.stop(t) })
	testkit.Eventually(t, "the start line", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, l := range s.log {
			if l.Listen != "" {
				s.public, s.push, s.admin = l.Listen, l.Push, l.Admin
				return true
			}
		}
		select {
		case <-s.exited:
			t.Fatalf("pushcart ended:\n%s", s.text.String())
		default:
		}
		return false
	})
}

func (s *sidecar) read(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		var l logLine
		_ = json.Unmarshal(lines.Bytes(), &l)
		s.mu.Lock()
		s.log = append(s.log, l)
		s.text.Write(append(lines.Bytes(), '\n'))
		s.mu.Unlock()
	}
	_ = s.cmd.Wait()
	s.code = s.cmd.ProcessState.ExitCode()
	close(s.exited)
}

// stop ends it as a service manager does.
func (s *sidecar) stop(t *testing.T) {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines, for the report
		<-s.exited
		t.Errorf("pushcart did not stop:\n%s", s.lastOutput())
		return
	}
	if out := s.output(); s.code != 0 || strings.Contains(out, "DATA RACE") || strings.Contains(out, "panic") {
		t.Errorf("pushcart exited with %d:\n%s", s.code, s.lastOutput())
	}
}

func (s *sidecar) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// lastOutput is for a failed test's report: what is about a race or a panic, else the
// end.
func (s *sidecar) lastOutput() string {
	const most = 8 << 10
	out := s.output()
	for _, mark := range []string{"WARNING: DATA RACE", "panic"} {
		if i := strings.Index(out, mark); i >= 0 {
			return out[i:min(len(out), i+most)]
		}
	}
	return out[max(0, len(out)-most):]
}

// complaints are the warnings and errors that it logged.
func (s *sidecar) complaints() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.log {
		if l.Level == "WARN" || l.Level == "ERROR" {
			out = append(out, l.Msg)
		}
	}
	return out
}

var client = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}

// call makes an HTTP request and returns status and body.
func call(t *testing.T, method, url, contentType, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// api calls the push API.
func (s *sidecar) api(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	return call(t, method, "http://"+s.push+path, "", body)
}

// pushed sends a push that must be taken, and returns the answer.
func (s *sidecar) pushed(t *testing.T, body string) (answer pushAnswer) {
	t.Helper()
	status, text := s.api(t, "POST", "/v1/push", body)
	if status != http.StatusOK {
		t.Fatalf("push %s: %d %s", body, status, text)
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

type pushAnswer struct {
	ID        string
	Nodes     int
	Delivered *int
	Slow      *int
	Acked     *int
	Duplicate bool
}
