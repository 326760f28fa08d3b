package webhook

import (
	"context"
	"net"
	"sync"
	"time"
)

// sockets are the connections to the backend, so that the end of the process need
// not wait for a backend that does not answer.
type sockets struct {
	dialer net.Dialer
	ctx    context.Context // ends with cut, and with it what is being dialled
	cancel context.CancelFunc

	mu   sync.Mutex // guards open
	open map[*socket]struct{}
}

func newSockets(timeout time.Duration) *sockets {
	s := &sockets{dialer: net.Dialer{Timeout: timeout}, open: map[*socket]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *sockets) dial(address string) (net.Conn, error) {
	conn, err := s.dialer.DialContext(s.ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &socket{Conn: conn, of: s}
	s.mu.Lock()
	s.open[c] = struct{}{}
	s.mu.Unlock()
	if s.ctx.Err() != nil { // cut came between
		_ = c.Close()
	}
	return c, nil
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

// socket is one of them.
type socket struct {
	net.Conn
	of *sockets
}

// Close also forgets it.
func (c *socket) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
