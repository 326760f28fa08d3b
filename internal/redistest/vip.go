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
	held   chan struct{}     // closed: bytes pass
	mute   bool              // what servers say is lost
	gone   map[net.Conn]bool // nothing passes any more; see Forget
}

// NewVIP starts one that ends with the test.
func NewVIP(t testing.TB, target string) *VIP {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &VIP{Addr: ln.Addr().String(), listener: ln, target: target, open: map[net.Conn]struct{}{}, gone: map[net.Conn]bool{}, held: make(chan struct{})}
	close(v.held)
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

// Hold keeps back all bytes, of open connections and those to come, until release is
// called, as a network does that drops packets: nobody is told.
func (v *VIP) Hold() (release func()) {
	held := make(chan struct{})
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = held
	return sync.OnceFunc(func() { close(held) })
}

// Mute loses what servers say from now on: commands arrive, and no answer does. hear cuts
// all connections, and lets those to come be heard.
func (v *VIP) Mute() (hear func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mute = true
	return sync.OnceFunc(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.cutLocked()
		v.mute = false
	})
}

// Forget loses whatever comes on the connections that are open, in both directions, and
// tells neither side, as a firewall does that lost its table. New ones work. When one side
// of such a connection closes it, the other is not told: forgotten closes those.
func (v *VIP) Forget() (forgotten func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for conn := range v.open {
		v.gone[conn] = true
	}
	return sync.OnceFunc(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		for conn := range v.gone {
			_ = conn.Close()
		}
		clear(v.gone)
	})
}

// Cut closes all connections.
func (v *VIP) Cut() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cutLocked()
}

func (v *VIP) cutLocked() {
	for conn := range v.open {
		_ = conn.Close()
	}
}

// heldWriter writes when bytes pass.
type heldWriter struct {
	v      *VIP
	to     net.Conn
	server bool // the bytes are a server's
}

func (w heldWriter) Write(p []byte) (int, error) {
	w.v.mu.Lock()
	held, lost := w.v.held, w.v.mute && w.server || w.v.gone[w.to]
	w.v.mu.Unlock()
	<-held
	if lost {
		return len(p), nil
	}
	return w.to.Write(p)
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
		v.work.Go(func() { v.carry(heldWriter{v, conn, true}, server) })
		v.work.Go(func() { v.carry(heldWriter{v, server, false}, conn) })
	}
}

// carry copies one direction; its end is the end of both.
func (v *VIP) carry(w heldWriter, from net.Conn) {
	v.mu.Lock()
	v.open[w.to] = struct{}{}
	v.mu.Unlock()
	_, _ = io.Copy(w, from)
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.open, w.to)
	_ = from.Close()
	if !v.gone[w.to] {
		_ = w.to.Close()
	}
}

func (v *VIP) close() {
	_ = v.listener.Close()
	v.Cut()
	v.mu.Lock()
	for conn := range v.gone {
		_ = conn.Close()
	}
	v.mu.Unlock()
	v.work.Wait()
}
