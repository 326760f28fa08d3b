package proxy

import (
	"errors"
	"io"
	"net/http"

	"github.com/pushcart/pushcart/internal/http1"
)

// respond passes a final response on. False: the client's connection ends.
func (c *clientConn) respond(e *exchange, b *backendConn) bool {
	r := &e.resp
	if r.Status == http.StatusSwitchingProtocols {
		return c.tunnel(e, b)
	}
	if e.handshake != "" {
		c.lookAtHandshake(e)
	}
	down := responseBody(e, r)
	backendKeep := !down.toClose && persists(r.Minor, r.Fields)
	// Whether a client goes on with a body that was answered already is not known.
	keep := e.keep && !down.toClose && e.uploaded() && !c.s.isDraining()
	dechunk := down.chunked && e.minor == 0
	keep = keep && !dechunk

	if e.up != nil && e.up.held() {
		_ = e.stopUpload(c) // what the client sends now that it is told is not wanted
	}
	err := e.prepare(b, &down, keep, dechunk)
	if err == nil && !down.done() && !down.short() {
		err = e.counts.stream(c.s.up)
		boundUnsent(c.conn)
	}
	if err != nil {
		_ = e.stopUpload(c)
		c.detach()
		c.s.up.discard(b)
		return c.fail(e, err)
	}
	c.count(r.Status)
	if c.write(e.out) != nil {
		err = errClientGone
	}
	if err == nil {
		err = c.relay(e, b, &down, dechunk)
	}
	if err != nil && (down.toClose || dechunk) {
		// Where the body's own end tells nothing. Elsewhere a reset would be at the cost
		// of what the client has not read yet.
		c.ending = endReset
	}
	return c.settle(e, b, err, keep, backendKeep)
}

// responseBody says how the response's body ends (RFC 9112 §6.3).
func responseBody(e *exchange, r *http1.Response) body {
	switch {
	case e.isHead || r.Status == http.StatusNoContent || r.Status == http.StatusNotModified:
		return body{}
	case r.Chunked || r.ContentLength >= 0:
		return newBody(r.ContentLength, r.Chunked)
	}
	return body{toClose: true}
}

// prepare puts the head and what of the body is there into e.out, for one write.
// An error is a chunk that is malformed.
func (e *exchange) prepare(b *backendConn, down *body, keep, dechunk bool) error {
	connection := ""
	switch {
	case !keep:
		connection = "close"
	case e.minor == 0:
		connection = "keep-alive"
	}
	e.out = appendResponse(e.out[:0], b.src.lastHead(), &e.resp, connection, e.minor == 1)
	b.src.takeHead()
	return e.moreBody(b.src, down, dechunk)
}

// moreBody appends the unread bytes of the body to e.out. An error is a chunk that
// is malformed.
func (e *exchange) moreBody(src *source, down *body, dechunk bool) error {
	p := src.unread()
	if len(p) == 0 || down.done() {
		return nil
	}
	if dechunk {
		return e.dechunk(src, down)
	}
	out, n, err := down.relay(p)
	e.out = append(e.out, out...)
	src.take(n)
	return err
}

// dechunk appends the payload of the unread chunks, for a client of HTTP/1.0.
func (e *exchange) dechunk(src *source, down *body) error {
	p := src.unread()
	for used := 0; used < len(p) && !down.done(); {
		n, isData, err := down.chunks.Step(p[used:])
		if err != nil {
			return err
		}
		if isData {
			e.out = append(e.out, p[used:used+n]...)
		}
		used += n
		if used == len(p) || down.done() {
			src.take(used)
			return nil
		}
	}
	return nil
}

// relay passes the rest of the body, as it comes.
func (c *clientConn) relay(e *exchange, b *backendConn, down *body, dechunk bool) error {
	for !down.done() {
		if len(b.src.unread()) == 0 {
			err := b.src.fill()
			if errors.Is(err, io.EOF) && down.toClose {
				return b.ended()
			}
			if err != nil {
				return err
			}
		}
		if dechunk {
			e.out = e.out[:0]
			if err := e.moreBody(b.src, down, true); err != nil {
				return err
			}
			if err := c.write(e.out); err != nil {
				return errClientGone
			}
			continue
		}
		out, n, err := down.relay(b.src.unread())
		if err != nil {
			return err
		}
		if c.write(out) != nil {
			return errClientGone
		}
		b.src.take(n)
	}
	return nil
}

// settle decides what becomes of both connections.
func (c *clientConn) settle(e *exchange, b *backendConn, err error, keep, backendKeep bool) bool {
	whole := e.uploaded()
	if !whole {
		_ = e.stopUpload(c)
	}
	c.detach()
	if err == nil && whole && backendKeep && !c.away.Load() && len(b.src.unread()) == 0 && !b.watched.expired.Load() {
		c.giveBack(b)
	} else {
		c.s.up.discard(b)
	}
	switch {
	case errors.Is(err, errClientGone), c.away.Load():
		c.brokeOff(errClientGone)
		return false
	case err != nil:
		c.brokeOff(err)
		c.s.quiet.Warn("response broke off", "response broke off", "backend", c.s.backend.URL, "err", err, "setting", "backend.url")
		return false
	case !whole || !keep:
		c.revive()
		c.ending = endFinish
		return false
	}
	return true
}
