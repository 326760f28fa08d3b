package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"
)

// redisFor returns the Redis of -redis, or starts one that stop ends.
func redisFor(o options) (addr string, stop func(), err error) {
	if o.redis != "" {
		return o.redis, func() {}, nil
	}
	r := &redisServer{}
	if err := r.start(); err != nil {
		return "", nil, err
	}
	return r.addr, r.stop, nil
}

// redisServer is a redis-server that the bench started.
type redisServer struct {
	addr string
	args []string
	dir  string
	cmd  *exec.Cmd
}

// start starts it, on the same port as before.
func (r *redisServer) start() (err error) {
	if r.addr == "" {
		if r.addr, err = freeAddr(); err == nil {
			r.dir, err = os.MkdirTemp("", "pushcart-bench-redis")
		}
		if err != nil {
			return err
		}
	}
	_, port, _ := net.SplitHostPort(r.addr)
	r.cmd = exec.Command("redis-server", append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", r.dir}, r.args...)...)
	if err := r.cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	if err := wait(func() bool {
		conn, err := net.DialTimeout("tcp", r.addr, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}); err != nil {
		r.stop()
		return fmt.Errorf("redis-server does not listen: %w", err)
	}
	return nil
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func (r *redisServer) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

func (r *redisServer) stop() {
	r.kill()
	_ = os.RemoveAll(r.dir)
}
