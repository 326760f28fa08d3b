package proxy

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// upload sends the rest of a request's body while the response may come already.
type upload struct {
	done      chan struct{}
	fault     error // the client's: malformed, too slow, gone
	cancelled atomic.Bool
	last      atomic.Bool // the end of the body is being written

	mu    sync.Mutex // guards holds, and whose turn it is
	holds bool       // the client waits for a 100, so that it is the backend's turn
}

// firstBody takes what of the body came with the head, to go out with it. An
// error is an *http1.Error: nothing was sent yet.
func (e *exchange) firstBody(src *source) error {
	for !e.body.done() && len(src.unread()) > 0 {
		out, n, err := e.body.relay(src.unread())
		if err != nil {
			e.fromClient = true
			return err
		}
		e.out = append(e.out, out...)
		src.take(n)
	}
	return nil
}

func newUpload(c *clientConn, e *exchange, b *backendConn) *upload {
	u := &upload{done: make(chan struct{}), holds: e.expects}
	c.sending.Store(true)
	boundUnsent(b.conn)
	go func() {
		defer close(u.done)
		defer c.sending.Store(false)
		defer c.s.guard.Recover("connection", func() { u.fail(errBroken, b) })
		u.run(c, e, b)
	}()
	return u
}

// errBroken: a fault of ours.
var errBroken = errors.New("upload broke off")

func (u *upload) run(c *clientConn, e *exchange, b *backendConn) {
	defer c.s.watch.arm(c.watched, 0)
	for !e.body.done() {
		if len(c.src.unread()) == 0 {
			u.awaitClient(c, e, b)
			c.src.expect(&large)
			if err := c.src.fill(); err != nil {
				u.fail(err, b)
				return
			}
		}
		out, n, err := e.body.relay(c.src.unread())
		if err != nil {
			u.fail(err, b)
			return
		}
		u.awaitBackend(c, e, b)
		u.last.Store(e.body.done())
		if err := writeAny(b.conn, out); err != nil {
			// The backend takes no more; what it answers decides. What is unread is still
			// body, and no request.
			e.unsent = true
			return
		}
		c.src.take(n)
	}
	u.awaitBackend(c, e, b)
}

// writeAny writes p, if it is anything: a TLS connection makes a record of nothing.
func writeAny(conn net.Conn, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := conn.Write(p)
	return err
}

// awaitClient makes it the client's turn, unless it waits for a 100.
func (u *upload) awaitClient(c *clientConn, e *exchange, b *backendConn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.holds {
		u.clientsTurn(c, e, b)
	}
}

// goOn is for the backend's 100. A client that did not wait for it may have sent
// all by now.
func (u *upload) goOn(c *clientConn, e *exchange, b *backendConn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.holds {
		u.holds = false
		u.clientsTurn(c, e, b)
	}
}

func (u *upload) clientsTurn(c *clientConn, e *exchange, b *backendConn) {
	c.s.watch.arm(c.watched, c.set.client.body)
	u.expect(e, b, c.s.watch, 0)
}

// awaitBackend makes it the backend's turn: it has something to take.
func (u *upload) awaitBackend(c *clientConn, e *exchange, b *backendConn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.holds = false
	c.s.watch.arm(c.watched, 0) // a slow backend is not the client's fault
	u.expect(e, b, c.s.watch, c.set.backend.response)
}

// held says whether the client still waits for a 100.
func (u *upload) held() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.holds
}

// expect bounds the wait for the backend, as long as no response came.
func (u *upload) expect(e *exchange, b *backendConn, w *watcher, d time.Duration) {
	if e.responded.Load() {
		return
	}
	w.arm(b.watched, d)
	if e.responded.Load() { // in this moment
		w.arm(b.watched, 0)
	}
}

// fail ends the backend's connection, so that what it got is seen to be no
// complete request.
func (u *upload) fail(err error, b *backendConn) {
	if u.cancelled.Load() {
		return
	}
	u.fault = err
	_ = b.conn.SetDeadline(time.Unix(1, 0))
}

// stopUpload ends the upload and waits for it. The error is what of the client's
// body was wrong.
func (e *exchange) stopUpload(c *clientConn) error {
	u := e.up
	if u == nil {
		return nil
	}
	select {
	case <-u.done:
	default:
		u.cancelled.Store(true)
		_ = c.conn.SetReadDeadline(time.Unix(1, 0))
		c.mu.Lock()
		if c.backend != nil {
			_ = c.backend.conn.SetWriteDeadline(time.Unix(1, 0))
		}
		c.mu.Unlock()
		<-u.done
		e.unsent = true // even if the rest just went up: with these deadlines neither connection can go on
	}
	e.up = nil
	return u.fault
}

// lastBytes is how long the end of a body may still be on its way when the
// response is there: the two goroutines race.
const lastBytes = 20 * time.Millisecond

// uploaded says whether the whole body went up.
func (e *exchange) uploaded() bool {
	if e.up == nil {
		return !e.hasBody()
	}
	select {
	case <-e.up.done:
		return !e.hasBody()
	default:
	}
	if !e.up.last.Load() {
		return false
	}
	t := time.NewTimer(lastBytes)
	defer t.Stop()
	select {
	case <-e.up.done:
		return !e.hasBody()
	case <-t.C:
		return false
	}
}

// revive takes back a deadline that ended a request, for the sake of its answer.
func (c *clientConn) revive() {
	if c.watched.expired.Load() {
		c.s.watch.arm(c.watched, 0)
		c.watched.expired.Store(false)
	}
	_ = c.conn.SetDeadline(time.Time{})
}
