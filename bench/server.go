package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// server is a pushcart process.
type server struct {
	cmd    *exec.Cmd
	config string
	public string // host:port
	push   string
	admin  string
}

// build makes the binary of this tree.
func build(dir string) (string, error) { return buildIn(".", dir) }

func buildIn(tree, dir string) (string, error) {
	out, err := filepath.Abs(filepath.Join(dir, "pushcart"))
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", out, "./cmd/pushcart")
	cmd.Dir = tree
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return out, cmd.Run()
}

// start runs pushcart with a config made of lines, listeners on free ports.
func start(o options, lines ...string) (*server, error) {
	const free = "127.0.0.1:0"
	return startOn(o, free, free, free, lines)
}

// restart runs a new process on the ports of one that ended.
func (s *server) restart(o options, lines ...string) (*server, error) {
	return startOn(o, s.public, s.push, s.admin, lines)
}

func startOn(o options, public, push, admin string, lines []string) (*server, error) {
	f, err := os.CreateTemp("", "pushcart-bench-*.yaml")
	if err != nil {
		return nil, err
	}
	backend := cmp.Or(o.backend, "http://127.0.0.1:9")
	lines = append([]string{"listen: " + public, "backend: {url: '" + backend + "'}", "push: {listen: '" + push + "'}",
		"admin: {listen: '" + admin + "', pprof: true}", "log: {format: json" + o.log + "}"}, lines...)
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	s := &server{config: f.Name(), cmd: exec.Command(o.binary, "run", "--config", f.Name())}
	logs, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if err := s.readAddresses(logs); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// readAddresses finds the start line among the logs, and goes on reading them.
func (s *server) readAddresses(logs io.Reader) error {
	lines, before := bufio.NewScanner(logs), ""
	for lines.Scan() {
		var line struct{ Listen, Push, Admin string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Listen != "" {
			s.public, s.push, s.admin = line.Listen, line.Push, line.Admin
			go func() { _, _ = io.Copy(io.Discard, logs) }()
			return nil
		}
		before += lines.Text() + "\n"
	}
	return errors.New("pushcart ended without a start line:\n" + before)
}

// stop ends the process: a second signal lets it go at once, as the clients are
// the bench's own.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	_ = s.await(3 * time.Second)
}

// await returns when the process ended, with an error unless it did so by itself
// within limit and with exit code 0.
func (s *server) await(limit time.Duration) error {
	kill := time.AfterFunc(limit, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	defer os.Remove(s.config)
	return s.cmd.Wait()
}

// metrics reads /metrics: values by name with labels, empty if it does not answer.
func (s *server) metrics() map[string]float64 {
	m := map[string]float64{}
	_, text, err := fasthttp.GetTimeout(nil, "http://"+s.admin+"/metrics", 5*time.Second)
	if err != nil {
		return m
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			m[line[:i]], _ = strconv.ParseFloat(line[i+1:], 64)
		}
	}
	return m
}

// cpu is the user and system time that the process used so far.
func (s *server) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / 100)
}

// rss is the process's resident memory in bytes.
func (s *server) rss() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kib << 10
}
