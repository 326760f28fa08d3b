package httpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pushcart/pushcart/internal/dial"
	"github.com/pushcart/pushcart/internal/sockio"
)

// errStale: the server had closed a kept-alive connection; nothing was sent.
var errStale = errors.New("stale connection")

// sockets are the connections to the server, so that the end of the process need
// not wait for one that does not answer.
type sockets struct {
	at     *dial.Endpoint
	tls    *tls.Config     // nil for http
	ctx    context.Context // ends with cut, and with it what is being dialled
	cancel context.CancelFunc

	mu   sync.Mutex // guards open
	open map[*socket]struct{}
}

func newSockets(at *dial.Endpoint) *sockets {
	s := &sockets{at: at, open: map[*socket]struct{}{}}
	if at.TLS != nil {
		s.tls = at.TLS.Clone()
		s.tls.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// dial connects, and shakes hands where TLS is spoken. It errs with
// ErrNoConnection.
func (s *sockets) dial(_ string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	conn, err := s.at.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoConnection, err)
	}
	c := &socket{Conn: sockio.Wrap(conn), of: s, liveness: newLiveness(conn)}
	c.local = address{Addr: conn.LocalAddr(), of: c}
	s.mu.Lock()
	s.open[c] = struct{}{}
	s.mu.Unlock()
	if s.ctx.Err() != nil { // cut came between
		_ = c.Close()
	}
	if s.tls == nil {
		return c, nil
	}
	secure := tls.Client(c, s.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("%w: %w", ErrNoConnection, err)
	}
	return secure, nil
}

// cut ends every request under way.
func (s *sockets) cut() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Conn.Close()
	}
}

// socket is one of them. It is used by one request at a time.
type socket struct {
	net.Conn
	of       *sockets
	liveness *liveness
	local    net.Addr // an address
	answered bool     // something was read since the last write
	deadline time.Time
}

// SetWriteDeadline sets both deadlines, which costs what one does: requests have one
// for all.
func (c *socket) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline does nothing where SetWriteDeadline has done it.
func (c *socket) SetReadDeadline(t time.Time) error {
	if t.Equal(c.deadline) {
		return nil
	}
	c.deadline = time.Time{}
	return c.Conn.SetReadDeadline(t)
}

// Write refuses to begin a request on a connection that the backend has closed
// meanwhile. Without this the request would be gone, and whether the backend saw
// it nobody could say.
func (c *socket) Write(p []byte) (int, error) {
	if c.answered {
		c.answered = false
		// After a TLS handshake session tickets may wait to be read.
		if alive, silent := c.liveness.check(); !alive || !silent && c.of.tls == nil {
			return 0, errStale
		}
	}
	return c.Conn.Write(p)
}

func (c *socket) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.answered = c.answered || n > 0
	return n, err
}

// LocalAddr lets a response lead to its socket: see DoWhile.
func (c *socket) LocalAddr() net.Addr { return c.local }

type address struct {
	net.Addr
	of *socket
}

// Close also forgets it.
func (c *socket) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
