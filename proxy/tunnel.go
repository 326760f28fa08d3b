package proxy

import (
	"errors"
	"io"
	"net"
	"time"
)

// tunnel passes bytes both ways after a 101, each direction until its own end.
func (c *clientConn) tunnel(e *exchange, b *backendConn) bool {
	up := c.s.up
	if err := e.counts.stream(up); err != nil {
		c.detach()
		up.discard(b)
		return c.fail(e, err)
	}
	c.count(e.resp.Status)
	// From here on the end of one direction is not the end of the client.
	c.s.watch.unguard(c.watched)
	e.out = appendResponse(e.out[:0], b.src.lastHead(), &e.resp, "", true)
	b.src.takeHead()
	if c.write(e.out) != nil {
		c.brokeOff(errClientGone)
	} else {
		before := b.src.taken
		uphill := make(chan struct{})
		go func() {
			defer close(uphill)
			defer c.s.guard.Recover("connection", func() { cutBoth(b.conn, c.conn) })
			pipe(b.conn, c.src, c.conn)
		}()
		pipe(c.conn, b.src, b.conn)
		<-uphill
		c.sent += b.src.taken - before
	}
	c.detach()
	up.discard(b)
	return false
}

// pipe copies src to dst until src ends, and passes the end on. A fault of either
// ends both directions.
func pipe(dst net.Conn, src *source, from net.Conn) {
	for {
		if p := src.unread(); len(p) > 0 {
			if _, err := dst.Write(p); err != nil {
				break
			}
			src.take(len(p))
		}
		err := src.fill()
		if errors.Is(err, io.EOF) {
			if half, ok := dst.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
				return
			}
		}
		if err != nil {
			break
		}
	}
	cutBoth(dst, from)
}

// cutBoth ends what is read from and written to either.
func cutBoth(a, b net.Conn) {
	_ = a.SetDeadline(time.Unix(1, 0))
	_ = b.SetDeadline(time.Unix(1, 0))
}
