package takeover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/internal/sockio"
)

// Conn is a connection whose descriptor can be taken. After Take one goroutine at
// a time may read; Write, Flush, Pending and Full may be called from any.
type Conn struct {
	net.Conn
	fd int // -1 until Take

	mu      sync.Mutex // guards all below
	pending []byte
	full    bool // a Write was refused
}

// MaxPending bounds what waits for Flush: one TLS record of the owner's, and what
// TLS says of its own accord to a peer that does not read (RFC 8446 §4.6.3: it
// answers as many key updates as are asked for).
const MaxPending = 64 << 10

// ErrFull is what Write returns when MaxPending is reached. What it was given is
// lost, and with it the stream.
var ErrFull = errors.New("takeover: too much waits for a peer that does not read")

// Wrap returns conn as one that can be taken.
func Wrap(conn net.Conn) *Conn { return &Conn{Conn: conn, fd: -1} }

// Take makes reads and writes go to fd, a non-blocking duplicate of the wrapped
// connection's descriptor, which the caller has closed and keeps open for as long
// as it reads or writes. Nobody may be reading or writing.
func (c *Conn) Take(fd int) { c.fd = fd }

// ErrAgain is what Read returns when there is nothing to read now. crypto/tls
// takes it for a timeout, after which it goes on where it was.
var ErrAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "takeover: nothing to read now" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// Read implements net.Conn; see ErrAgain.
func (c *Conn) Read(b []byte) (int, error) {
	if c.fd < 0 {
		return c.Conn.Read(b)
	}
	n, err := sockio.Read(c.fd, b)
	switch {
	case err == unix.EAGAIN:
		return 0, ErrAgain
	case err != nil:
		return 0, fmt.Errorf("read: %w", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn. After Take it never waits: what the socket has no room
// for is kept until Flush, up to MaxPending.
func (c *Conn) Write(b []byte) (int, error) {
	if c.fd < 0 {
		return c.Conn.Write(b)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := b
	if len(c.pending) == 0 {
		n, err := c.try(b)
		if err != nil {
			return n, err
		}
		rest = b[n:]
	}
	if c.full || len(c.pending)+len(rest) > MaxPending {
		c.full = true
		return len(b) - len(rest), ErrFull
	}
	c.pending = append(c.pending, rest...)
	return len(b), nil
}

// try writes what the socket has room for.
func (c *Conn) try(b []byte) (done int, err error) {
	for done < len(b) {
		n, err := sockio.Write(c.fd, b[done:])
		switch {
		case err == unix.EAGAIN:
			return done, nil
		case err != nil:
			return done, fmt.Errorf("write: %w", err)
		default:
			done += n
		}
	}
	return done, nil
}

// Flush writes more of what Write kept and returns how many bytes are still kept.
func (c *Conn) Flush() (kept int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full {
		return len(c.pending), ErrFull
	}
	n, err := c.try(c.pending)
	if c.pending = c.pending[n:]; len(c.pending) == 0 {
		c.pending = nil
	}
	return len(c.pending), err
}

// Pending returns how many bytes wait for Flush.
func (c *Conn) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending)
}

// Full says whether a Write was refused. crypto/tls keeps to itself that its answer
// to a key update failed, and goes on reading.
func (c *Conn) Full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.full
}

// SyscallConn gives access to the wrapped connection's descriptor, before Take.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, syscall.EINVAL
	}
	return sc.SyscallConn()
}

// SetDeadline implements net.Conn; after Take nothing waits, and it does nothing.
func (c *Conn) SetDeadline(t time.Time) error {
	if c.fd >= 0 {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline is as SetDeadline.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.fd >= 0 {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline is as SetDeadline.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.fd >= 0 {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}
