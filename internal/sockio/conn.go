package sockio

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conn is a TCP or unix connection whose Read and Write go through this package.
// Deadlines, Close and the rest are the wrapped connection's own; so is the rule
// that all may be called concurrently.
type Conn struct {
	net.Conn
	raw     syscall.RawConn
	in, out transfer
	ended   bool
}

// Wrap returns conn as a Conn, or as it is where it has no descriptor of its own
// (TLS, pipes).
func Wrap(conn net.Conn) net.Conn {
	var raw syscall.RawConn
	var err error
	switch c := conn.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	}
	if raw == nil || err != nil {
		return conn
	}
	c := &Conn{Conn: conn, raw: raw}
	c.in.try, c.out.try = c.in.read, c.out.write
	return c
}

// Listener wraps the connections that it accepts.
type Listener struct{ net.Listener }

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Wrap(conn), nil
}

// transfer is a read or a write that may have to wait.
type transfer struct {
	mu  sync.Mutex // guards all below, for as long as one lasts
	p   []byte
	n   int
	err error
	try func(fd uintptr) (done bool)
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	t := &c.in
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p, t.n, t.err = p, 0, nil
	err := c.raw.Read(t.try)
	t.p = nil
	switch {
	case err != nil:
		return 0, err
	case t.err != nil:
		return 0, c.failed("read", t.err)
	case t.n == 0 && len(p) > 0:
		c.ended = true
		return 0, io.EOF
	}
	return t.n, nil
}

// Ended says whether a Read met the end of the peer's input. It is for who reads:
// crypto/tls takes that end for a close_notify.
func (c *Conn) Ended() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.ended
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	t := &c.out
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p, t.n, t.err = p, 0, nil
	err := c.raw.Write(t.try)
	t.p = nil
	if err == nil && t.err != nil {
		err = c.failed("write", t.err)
	}
	return t.n, err
}

func (c *Conn) failed(op string, err error) error {
	return &net.OpError{
		Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, err),
	}
}

func (t *transfer) read(fd uintptr) (done bool) {
	t.n, t.err = Read(int(fd), t.p)
	return t.err != unix.EAGAIN
}

func (t *transfer) write(fd uintptr) (done bool) {
	for t.n < len(t.p) {
		n, err := Write(int(fd), t.p[t.n:])
		if err == unix.EAGAIN {
			return false
		}
		if err != nil {
			t.err = err
			return true
		}
		t.n += n
	}
	return true
}

// SyscallConn gives access to the descriptor.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// CloseWrite ends the sending side.
func (c *Conn) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }
