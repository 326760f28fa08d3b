package proxy

import (
	"sync/atomic"
	"time"
)

// upload sends the rest of a request's body while the response may come already.
type upload struct {
	done      chan struct{}
	fault     error // the client's: malformed, too slow, gone
	cancelled atomic.Bool
}

// firstBody takes what of the body came with the head, to go out with it. An
// error is an *http1.Error: nothing was sent yet.
func (e *exchange) firstBody(src *source) error {
	for !e.body.done() && len(src.unread()) > 0 {
		p := src.unread()
		n, err := e.body.scan(p)
		if err != nil {
			e.fromClient = true
			return err
		}
		e.out = append(e.out, p[:n]...)
		src.take(n)
	}
	return nil
}

func newUpload(c *clientConn, e *exchange, b *backendConn) *upload {
	u := &upload{done: make(chan struct{})}
	go func() {
		defer close(u.done)
		u.run(c, e, b)
	}()
	return u
}

func (u *upload) run(c *clientConn, e *exchange, b *backendConn) {
	w, cfg := c.s.watch, &c.s.cfg
	defer w.arm(c.watched, 0)
	for !e.body.done() {
		if len(c.src.unread()) == 0 {
			w.arm(c.watched, cfg.Client.BodyTimeout)
			if err := c.src.fill(); err != nil {
				u.fail(err, b)
				return
			}
		}
		p := c.src.unread()
		n, err := e.body.scan(p)
		if err != nil {
			u.fail(err, b)
			return
		}
		w.arm(c.watched, 0) // a slow backend is not the client's fault
		if _, err := b.conn.Write(p[:n]); err != nil {
			return // the backend takes no more; what it answers decides
		}
		c.src.take(n)
		if !e.responded.Load() {
			w.arm(b.watched, cfg.Backend.ResponseTimeout)
			if e.responded.Load() {
				w.arm(b.watched, 0)
			}
		}
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
		if b := c.backend.Load(); b != nil {
			_ = b.conn.SetWriteDeadline(time.Unix(1, 0))
		}
		<-u.done
	}
	e.up = nil
	return u.fault
}

// uploaded says whether the whole body went up. It must not wait.
func (e *exchange) uploaded() bool {
	if e.up == nil {
		return !e.hasBody()
	}
	select {
	case <-e.up.done:
		return !e.hasBody()
	default:
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
