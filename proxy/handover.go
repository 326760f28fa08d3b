package proxy

import (
	"context"
	"net"
	"time"

	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/internal/sockio"
)

// upgrade hands the connection over for good.
func (c *clientConn) upgrade(r *http1.Request, head []byte, from clientaddr.Origin) {
	c.dropOwn()
	early := c.src.unread()[len(head):]
	c.ending = endTaken
	c.s.delist(c)
	c.s.open.Add(-1)
	_ = c.conn.SetDeadline(time.Time{})
	conn := c.sock
	if c.set.tls != nil {
		conn = c.conn
	}
	defer c.s.o.Descriptors.Give() // Upgrade counts for itself
	ctx, cancel := context.WithCancel(c.s.upgrades)
	defer cancel()
	defer c.s.guard.Recover("upgrade", func() {
		c.s.watch.remove(c.watched)
		_ = c.sock.Close()
	})
	left := func(reset bool) {
		if reset || len(early) == 0 && c.silent() { // else it has said something first, and may wait for the answer
			cancel()
		}
	}
	c.s.watch.guard(c.watched, &left)
	c.set.upgrade(ctx, conn, r, early, from)
	c.s.watch.remove(c.watched)
	c.src.release()
}

// gone is called by the watcher when the client left while the backend works.
func (c *clientConn) gone(reset bool) {
	defer c.s.guard.Recover("client that left", nil)
	if c.sending.Load() && !reset {
		return // the upload reads the client's end itself, behind the body
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.backend != nil {
		c.away.Store(true)
		_ = c.backend.conn.SetDeadline(time.Unix(1, 0))
	}
}

// endIdle ends a connection that waits for a request.
func (c *clientConn) endIdle() {
	if c.idle.Load() {
		_ = c.sock.SetReadDeadline(time.Unix(1, 0))
	}
}

// cut ends it whatever it does.
func (c *clientConn) cut() {
	_ = c.sock.SetDeadline(time.Unix(1, 0))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.backend != nil {
		_ = c.backend.conn.SetDeadline(time.Unix(1, 0))
	}
}

// write sends to the client within send_timeout.
func (c *clientConn) write(b []byte) error {
	if len(b) == 0 { // a TLS connection makes a record of nothing
		return nil
	}
	c.s.watch.armSend(c.watched, c.set.client.send)
	n, err := c.conn.Write(b)
	c.s.watch.armSend(c.watched, 0)
	c.sent += int64(n)
	return err
}

// finish ends the sending side so that the client gets all of a last answer: what
// it still sends is read for a while, as close(2) with unread input would destroy
// what was written.
func (c *clientConn) finish() {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	buf := small.Get().(*[]byte)
	defer small.Put(buf)
	for end := time.Now().Add(lingerInAll); time.Now().Before(end); {
		_ = c.conn.SetReadDeadline(time.Now().Add(lingerSilence))
		if _, err := c.conn.Read(*buf); err != nil {
			return
		}
	}
}

// reset makes the end of a connection look like what it is: a response that broke
// off (RFC 9112 §8).
func (c *clientConn) reset() {
	if tcp, ok := c.sock.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	}
}

// silent says whether the client sent nothing that is not read, as far as can be
// seen: over TLS its goodbye is something, too.
func (c *clientConn) silent() bool {
	raw := plainConn(c.conn)
	if raw == nil {
		return true
	}
	silent := true
	_ = raw.Control(func(fd uintptr) {
		var one [1]byte
		n, err := sockio.Peek(int(fd), one[:])
		silent = err != nil || n <= 0
	})
	return silent
}
