package main

import (
	"bufio"
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
)

// server is a pushcart process.
type server struct {
	cmd    *exec.Cmd
	config string
	public string // host:port
	push   string
	admin  string
}

func build(dir string) (string, error) {
	out := filepath.Join(dir, "pushcart")
	cmd := exec.Command("go", "build", "-trimpath", "-o", out, "./cmd/pushcart")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return out, cmd.Run()
}

// start runs pushcart with a config made of lines, listeners on free ports.
func start(o options, lines ...string) (*server, error) {
	f, err := os.CreateTemp("", "pushcart-bench-*.yaml")
	if err != nil {
		return nil, err
	}
	lines = append(lines, "listen: 127.0.0.1:0", "backend: {url: 'http://127.0.0.1:9'}",
		"push: {listen: '127.0.0.1:0'}", "admin: {listen: '127.0.0.1:0'}", "log: {format: json}")
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
	lines := bufio.NewScanner(logs)
	for lines.Scan() {
		var line struct{ Listen, Push, Admin string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Listen != "" {
			s.public, s.push, s.admin = line.Listen, line.Push, line.Admin
			go func() { _, _ = io.Copy(io.Discard, logs) }()
			return nil
		}
		fmt.Fprintln(os.Stderr, lines.Text())
	}
	return errors.New("pushcart ended without a start line")
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	ended := time.AfterFunc(3*time.Second, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait()
	ended.Stop()
	_ = os.Remove(s.config)
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
