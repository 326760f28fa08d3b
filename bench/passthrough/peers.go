package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pushcart/pushcart/bench/internal/peers"
)

// target is a server under measurement.
type target struct {
	name    string
	address string
	cmd     *exec.Cmd
}

// startAll starts the backend and every proxy before it.
func startAll(o options) (targets []*target, stop func(), err error) {
	dir, err := os.MkdirTemp("", "passthrough")
	if err != nil {
		return nil, func() {}, err
	}
	var started []*target
	stop = func() {
		for _, t := range started {
			_ = t.cmd.Process.Signal(syscall.SIGTERM)
			_ = t.cmd.Wait()
		}
		_ = os.RemoveAll(dir)
	}
	backend, err := startBackend()
	if err != nil {
		return nil, stop, err
	}
	started = append(started, backend)
	makers := []func() (*target, error){
		func() (*target, error) { return backend, nil },
		func() (*target, error) { return addPeer(&started)(peers.Pushcart(dir, backend.address)) },
		func() (*target, error) { return addPeer(&started)(peers.Nginx(dir, backend.address)) },
		func() (*target, error) { return addPeer(&started)(peers.HAProxy(dir, backend.address)) },
	}
	for i, name := range []string{"direct", "pushcart", "nginx", "haproxy"} {
		if o.only != "" && o.only != name {
			continue
		}
		t, err := makers[i]()
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Println(name, "is not installed, left out")
			continue
		}
		if err != nil {
			return nil, stop, fmt.Errorf("%s: %w", name, err)
		}
		targets = append(targets, t)
	}
	return targets, stop, nil
}

func addPeer(all *[]*target) func(*peers.Peer, error) (*target, error) {
	return func(p *peers.Peer, err error) (*target, error) {
		if p == nil {
			return nil, err
		}
		t := &target{name: p.Name, address: p.Address, cmd: p.Cmd}
		*all = append(*all, t)
		return t, err
	}
}

// startBackend runs this program as the server behind all; it prints its address
// first.
func startBackend() (*target, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-backend")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	return &target{name: "direct", address: strings.TrimSpace(line), cmd: cmd}, err
}

// processes are the target's own and its workers'.
func (t *target) processes() []int {
	all := []int{t.cmd.Process.Pid}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", all[0]))
	if err != nil {
		return all
	}
	for _, f := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// cpu is the user and system time used so far.
func (t *target) cpu() (sum time.Duration) {
	for _, pid := range t.processes() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		sum += time.Duration(user+system) * (time.Second / 100)
	}
	return sum
}

// rss is the resident memory in bytes.
func (t *target) rss() (sum int64) {
	for _, pid := range t.processes() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		if _, rest, ok := strings.Cut(string(b), "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			sum += kib << 10
		}
	}
	return sum
}
