package ws

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pushcart/pushcart/hub"
)

// goReadBuffer is small because every connection of this path has one.
const goReadBuffer = 512

// goWriteTimeout bounds one blocking write; a peer that does not read for so
// long is found by the ping before.
const goWriteTimeout = time.Minute

// goLoop runs a loop for connections that read and write in goroutines of their
// own: on systems without epoll, and for what is no TCP connection.
type goLoop struct {
	*loop
	wakeup chan struct{}
	conns  sync.WaitGroup // readers and writers
}

func newGoLoop() *goLoop {
	g := &goLoop{loop: newLoop(), wakeup: make(chan struct{}, 1)}
	g.wake = func() {
		select {
		case g.wakeup <- struct{}{}:
		default:
		}
	}
	return g
}

// run returns when the loop is stopped, holds no connection, and the goroutines
// of all are over.
func (g *goLoop) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var due []*Conn
	for {
		var wait time.Duration
		var end bool
		due, wait, end = g.take(due[:0])
		for _, c := range due {
			g.attend(c)
		}
		clear(due)
		if end {
			g.conns.Wait()
			return
		}
		if wait < 0 {
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-g.wakeup:
		case <-timer.C:
		}
		g.woken()
	}
}

func (g *goLoop) attend(c *Conn) {
	defer c.srv.guard.Recover("connection", c.broken)
	c.attend()
}

// goSocket is a net.Conn with a goroutine that reads, and one that writes while
// something waits.
type goSocket struct {
	c    *Conn
	loop *goLoop
	conn net.Conn

	reading bool // guarded by Conn.mu, as are all below
	writing bool
	changed sync.Cond // reading turned on, nothing left to write, or the end; on Conn.mu
	fin     bool      // closeWrite was called
}

func newGoSocket(c *Conn, g *goLoop, conn net.Conn) *goSocket {
	s := &goSocket{c: c, loop: g, conn: conn, reading: true}
	s.changed.L = &c.mu
	return s
}

// write takes nothing: a net.Conn has no way to say how much it would take
// without blocking.
func (s *goSocket) write([]byte) (int, error) { return 0, errAgain }

func (s *goSocket) wantWrite(on bool) {
	switch {
	case !on:
		s.changed.Broadcast()
		return
	case s.writing:
		return
	}
	s.writing = true
	s.loop.conns.Go(s.writeLoop)
}

func (s *goSocket) wantRead(on bool) {
	s.reading = on
	if on {
		s.changed.Broadcast()
	}
}

func (s *goSocket) unread() bool { return false } // its goroutine reads at once

func (s *goSocket) start() { s.loop.conns.Go(s.readLoop) }

func (s *goSocket) readLoop() {
	defer s.c.dropInput()
	defer s.c.srv.guard.Recover("reader of a connection", s.c.broken)
	buf := make([]byte, goReadBuffer)
	for s.mayRead() {
		if s.c.takeRest() {
			s.c.feed(nil)
			continue
		}
		n, err := s.conn.Read(buf)
		if n > 0 {
			s.c.received(buf[:n])
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			s.lastRead()
			return
		default:
			s.c.dead()
			return
		}
	}
}

// lastRead works off what was kept before the peer's FIN.
func (s *goSocket) lastRead() {
	for s.mayParse() {
		switch {
		case s.c.takeRest():
			s.c.feed(nil)
		case !s.c.inputEnded():
			return
		}
	}
}

// mayRead waits until the connection is to be read; false: it is over. What is read
// while it is not to be parsed is kept, one buffer of it, so that a reset is noticed.
func (s *goSocket) mayRead() bool {
	return s.await(func() bool { return !s.c.haltedLocked() || !s.c.rest })
}

// mayParse waits until what was read is to be parsed.
func (s *goSocket) mayParse() bool {
	return s.await(func() bool { return !s.c.haltedLocked() })
}

func (s *goSocket) await(ready func() bool) bool {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for !ready() && c.phase != phaseClosed && !c.gone {
		s.changed.Wait()
	}
	return c.phase != phaseClosed && !c.gone
}

func (s *goSocket) writeLoop() {
	c := s.c
	defer c.srv.guard.Recover("writer of a connection", c.broken)
	scratch := make([]byte, 0, keptBuffer)
	var done []*hub.Message
	for {
		chunk := s.next(scratch)
		if chunk == nil {
			return
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(goWriteTimeout))
		began := c.loop.now()
		n, err := s.conn.Write(chunk)
		if now := c.loop.now(); n > 0 && now > began {
			c.seen.Store(uint32(now)) // it had to wait: the peer made room
		}
		done = s.wrote(n, err, done[:0])
		report(done)
	}
}

func (s *goSocket) wrote(n int, err error, done []*hub.Message) []*hub.Message {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	done = c.wroteLocked(n, done)
	if err != nil {
		c.deadLocked()
	}
	return done
}

// next returns what to write now; nil: nothing, and the writer ends.
func (s *goSocket) next(scratch []byte) []byte {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out == nil || c.gone || c.phase == phaseClosed {
		s.writing = false
		if s.fin && !c.gone {
			s.finish()
		}
		return nil
	}
	return c.out.chunk(scratch)
}

func (s *goSocket) closeWrite() {
	s.fin = true
	if !s.writing {
		s.finish()
	}
}

// finish sends the FIN, or TLS's close_notify, which may block on a peer that
// does not read.
func (s *goSocket) finish() {
	half, ok := s.conn.(interface{ CloseWrite() error })
	if !ok {
		s.c.deadLocked() // a pipe has no half; what was written is read already
		return
	}
	s.loop.conns.Go(func() {
		defer s.c.srv.guard.Recover("end of a connection", s.c.broken)
		_ = s.conn.SetWriteDeadline(time.Now().Add(lingerWait))
		_ = half.CloseWrite()
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		s.c.outputEndedLocked()
	})
}

func (s *goSocket) close() {
	s.c.mu.Lock()
	s.changed.Broadcast()
	s.c.mu.Unlock()
	// Closing a tls.Conn writes close_notify, for up to 5 s on a stuck peer.
	s.loop.conns.Go(func() {
		defer s.c.srv.guard.Recover("end of a connection", nil)
		if t, ok := s.conn.(interface{ NetConn() net.Conn }); ok {
			_ = t.NetConn().Close()
		}
		_ = s.conn.Close()
	})
}

// stopped returns when the loop's goroutine and those of its connections ended,
// or ctx did.
func stopped(ctx context.Context, wg *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
