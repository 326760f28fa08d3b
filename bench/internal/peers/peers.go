// Package peers starts pushcart and the proxies that it is compared with, each
// before a backend of the caller's. A peer that is not installed is
// exec.ErrNotFound.
package peers

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Peer is a running proxy.
type Peer struct {
	Name    string
	Address string // host:port
	Cmd     *exec.Cmd
}

// Stop ends it and waits.
func (p *Peer) Stop() {
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	_ = p.Cmd.Wait()
}

// Nginx starts nginx with what a careful operator sets: keep-alive to the backend,
// nothing buffered.
func Nginx(dir, backend string) (*Peer, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return startPeer("nginx", address, dir, fmt.Sprintf(`
daemon off; worker_processes auto; pid %[1]s/nginx.pid; error_log %[1]s/nginx.log;
events { worker_connections 20000; }
http {
  access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/temp;
  fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  keepalive_requests 100000000; client_max_body_size 0;
  upstream app { server %[2]s; keepalive 128; keepalive_requests 100000000; }
  server {
    listen %[3]s;
    location / {
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_request_buffering off; proxy_max_temp_file_size 0;
    }
  }
}`, dir, backend, address), "-p", dir, "-c")
}

// HAProxy starts HAProxy.
func HAProxy(dir, backend string) (*Peer, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return startPeer("haproxy", address, dir, fmt.Sprintf(`
global
  maxconn 8000
defaults
  mode http
  timeout connect 2s
  timeout client 75s
  timeout server 60s
  http-reuse always
frontend in
  bind %s
  option forwardfor
  default_backend app
backend app
  server app %s
`, address, backend), "-db", "-f")
}

// Pushcart builds pushcart from this tree and starts it.
func Pushcart(dir, backend string) (*Peer, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	binary := filepath.Join(dir, "pushcart")
	build := exec.Command("go", "build", "-o", binary, "./cmd/pushcart")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("build pushcart: %w", err)
	}
	return startPeer(binary, address, dir, "push: {listen: '127.0.0.1:0'}\nadmin: {listen: '127.0.0.1:0'}\nlog: {level: error}\n",
		"run", "--listen", address, "--backend", "http://"+backend, "--anonymous", "--config")
}

// startPeer writes the config, whose name is the last argument, and waits until the
// address answers.
func startPeer(name, address, dir, cfg string, args ...string) (*Peer, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, err
	}
	name = filepath.Base(name)
	file := filepath.Join(dir, name+".conf")
	if err := os.WriteFile(file, []byte(cfg), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(path, append(args, file)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Peer{Name: name, Address: address, Cmd: cmd}
	for range 100 {
		if conn, err := net.Dial("tcp", address); err == nil {
			return p, conn.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return p, errors.New("does not listen")
}

func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}
