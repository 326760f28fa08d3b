package redistest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// VIP is an address in front of servers, as a load balancer is: each new connection
// goes to the server that it points to, and open ones stay where they are.
type VIP struct {
	// Addr is the address that clients dial.
	Addr string

	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex // guards all below
	target string
	open   map[net.Conn]struct{}
}

// NewVIP starts one that ends with the test.
func NewVIP(t testing.TB, target string) *VIP {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &VIP{Addr: ln.Addr().String(), listener: ln, target: target, open: map[net.Conn]struct{}{}}
	v.work.Go(v.accept)
	t.Cleanup(v.close)
	return v
}

// Point sends connections to come to another server.
func (v *VIP) Point(target string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.target = target
}

func (v *VIP) accept() {
	for {
		conn, err := v.listener.Accept()
		if err != nil {
			return
		}
		v.mu.Lock()
		target := v.target
		v.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil {
			_ = conn.Close()
			continue
		}
		v.work.Go(func() { v.carry(conn, server) })
		v.work.Go(func() { v.carry(server, conn) })
	}
}

// carry copies one direction; its end is the end of both.
func (v *VIP) carry(to, from net.Conn) {
	v.mu.Lock()
	v.open[to] = struct{}{}
	v.mu.Unlock()
	_, _ = io.Copy(to, from)
	_, _ = to.Close(), from.Close()
	v.mu.Lock()
	delete(v.open, to)
	v.mu.Unlock()
}

func (v *VIP) close() {
	_ = v.listener.Close()
	v.mu.Lock()
	for conn := range v.open {
		_ = conn.Close()
	}
	v.mu.Unlock()
	v.work.Wait()
}
