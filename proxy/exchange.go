package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/internal/accesslog"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/http1"
)

// exchange is one request and its response. What is needed of the request's head
// is copied out, as its bytes give way to the body.
type exchange struct {
	req   http1.Request
	resp  http1.Response
	out   []byte // bytes of the next write
	begin time.Time

	isHead     bool
	minor      int
	keep       bool // the client's connection may go on
	idempotent bool
	expects    bool // Expect: 100-continue
	tunnel     bool
	fromClient bool   // the request's body was found malformed before it was sent
	body       body   // of the request
	unsent     bool   // what of the body was seen did not all reach the backend
	handshake  string // its path, if it is a WebSocket handshake for the backend
	responded  atomic.Bool
	counts     share
	id         []byte          // of the request; empty where nobody asks
	entry      accesslog.Entry // of the access log; without a kind where there is none

	up *upload // nil unless the body is still coming
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func (e *exchange) release() {
	fields, respFields, out := emptied(e.req.Fields), emptied(e.resp.Fields), e.out
	e.req, e.resp = http1.Request{}, http1.Response{}
	e.out, e.up, e.body, e.handshake = nil, nil, body{}, ""
	e.fromClient, e.expects, e.tunnel, e.unsent = false, false, false, false
	e.responded.Store(false)
	e.id = e.id[:0]
	if e.entry.Kind != "" {
		e.entry.Reset()
	}
	if cap(out) <= copyBuffer {
		e.out = out[:0]
	}
	e.req.Fields, e.resp.Fields = fields, respFields
	exchanges.Put(e)
}

// manyFields is more header lines than messages have. Room for them is not kept: 64
// KiB of them take more than a MiB.
const manyFields = 256

func emptied(f http1.Fields) http1.Fields {
	if cap(f) > manyFields {
		return nil
	}
	clear(f)
	return f[:0]
}

// describe copies what is needed later.
func (e *exchange) describe(r *http1.Request, wants upgrade) {
	e.minor = r.Minor
	e.isHead = string(r.Method) == http.MethodHead
	e.keep = persists(r.Minor, r.Fields)
	e.body = newBody(r.ContentLength, r.Chunked)
	switch string(r.Method) {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		e.idempotent = true
	default:
		e.idempotent = false
	}
	e.expects = r.Minor == 1 && r.Fields.Has(http1.Expect, "100-continue")
	upgrading := wants == toWebSocket || wants == toOther
	e.tunnel = upgrading && r.Minor == 1 && e.body.done() && r.Fields.Has(http1.Connection, "upgrade")
}

// persists says whether a connection goes on after a message (RFC 9112 §9.3).
func persists(minor int, fields http1.Fields) bool {
	return !fields.Has(http1.Connection, "close") && (minor == 1 || fields.Has(http1.Connection, "keep-alive"))
}

// hasBody says that not all of the request's body went up.
func (e *exchange) hasBody() bool { return e.unsent || !e.body.done() }

// ends says that an answer of our own is the connection's last. None tells a client
// of HTTP/1.0 that it persists.
func (e *exchange) ends() bool { return !e.keep || e.minor == 0 || e.hasBody() }

var errClientGone = errors.New("client went away")

// exchange sends the request, whose head is in e.out, and passes the response
// back. False: the client's connection ends.
func (c *clientConn) exchange(e *exchange) bool {
	up := c.s.up
	if err := e.counts.enter(up, c.set.backend.connect); err != nil {
		return c.fail(e, err)
	}
	defer e.counts.leave(up)
	bodyless := !e.hasBody()
	b, err := c.send(e)
	if err != nil {
		c.detach()
		return c.fail(e, err)
	}
	defer c.detach()
	if e.up != nil {
		// It may take as long as the client likes. Where there is room for no stream it
		// stays what it is: a request with a body is just as welcome.
		_ = e.counts.stream(up)
	}
	err = c.readResponse(e, b)
	if err != nil && b.reused && bodyless && e.idempotent && isStale(err) && !c.away.Load() {
		// The kept-alive connection closed before any byte of the answer: the one case
		// in which a request is sent twice (SPEC §7).
		c.detach()
		up.discard(b)
		if b, err = up.get(true, c.set.backend.connect); err != nil {
			return c.fail(e, err)
		}
		c.attach(e, b)
		if _, err = b.conn.Write(e.out); err == nil {
			err = c.readResponse(e, b)
		}
	}
	if err != nil {
		return c.broken(e, b, err)
	}
	if e.counts == waiting {
		e.counts.leave(up)
	}
	c.waited = time.Since(e.begin)
	c.s.o.Metrics.RequestSeconds.Observe(c.waited.Seconds())
	return c.respond(e, b)
}

// send gets a connection and writes the head with what of the body is there; the
// rest goes up beside the response.
func (c *clientConn) send(e *exchange) (*backendConn, error) {
	if err := e.firstBody(c.src); err != nil {
		return nil, err
	}
	b, err := c.borrow()
	if err != nil {
		return nil, err
	}
	c.attach(e, b)
	c.s.watch.arm(b.watched, c.set.backend.response)
	if e.hasBody() {
		_, err = b.conn.Write(e.out)
	} else {
		err = b.src.ask(e.out)
	}
	// A backend may have answered and closed before it took all: what comes of it is
	// seen when its answer is read.
	if err == nil && e.hasBody() {
		e.up = newUpload(c, e, b)
	}
	return b, nil
}

// attach makes b the connection that works for this client.
func (c *clientConn) attach(e *exchange, b *backendConn) {
	b.private = b.private || e.req.BindsConnection
	c.away.Store(false)
	c.mu.Lock()
	c.backend = b
	c.mu.Unlock()
	c.s.watch.guard(c.watched, &c.onGone)
}

func (c *clientConn) detach() {
	c.s.watch.unguard(c.watched)
	c.mu.Lock()
	c.backend = nil
	c.mu.Unlock()
}

// isStale: the peer closed the connection before any byte came. A deadline is none
// of its doing: the backend may be at work on the request.
func isStale(err error) bool {
	var malformed *http1.Error
	return !errors.As(err, &malformed) && !errors.Is(err, errPartial) && !errors.Is(err, os.ErrDeadlineExceeded)
}

var errPartial = errors.New("backend broke off")

// readResponse reads the final response's head, passing 1xx on.
func (c *clientConn) readResponse(e *exchange, b *backendConn) error {
	for interim := false; ; interim = true {
		if e.up == nil { // else the upload says from when on the backend is waited for
			c.s.watch.arm(b.watched, c.set.backend.response)
		}
		head, err := b.src.head()
		if err != nil {
			if interim || len(b.src.unread()) > 0 {
				return fmt.Errorf("%w: %w", errPartial, err)
			}
			return err
		}
		if err := http1.ParseResponse(head, &e.resp); err != nil {
			return err
		}
		r := &e.resp
		b.private = b.private || r.BindsConnection
		if r.Status == http.StatusSwitchingProtocols && !e.tunnel {
			return &http1.Error{Status: http.StatusBadGateway, Reason: "101 that nobody asked for"}
		}
		if r.Status >= 200 || r.Status == http.StatusSwitchingProtocols {
			e.responded.Store(true)
			c.s.watch.arm(b.watched, 0)
			return nil
		}
		if r.Status == http.StatusContinue && e.up != nil {
			e.up.goOn(c, e, b)
		}
		if e.minor == 1 {
			if err := c.write(appendResponse(nil, head, r, "", true)); err != nil {
				return fmt.Errorf("%w: %w", errPartial, errClientGone)
			}
		}
		b.src.take(len(head))
	}
}

// broken answers for a backend that gave no response. b is given up.
func (c *clientConn) broken(e *exchange, b *backendConn, err error) bool {
	timedOut := b.watched.expired.Load()
	fault := e.stopUpload(c)
	c.detach()
	c.s.up.discard(b)
	switch {
	case c.away.Load(), errors.Is(err, errClientGone):
		c.brokeOff(errClientGone)
		return false
	case fault != nil:
		return c.refuseBody(fault)
	case timedOut:
		return c.fail(e, errTimeout)
	}
	return c.fail(e, err)
}

var errTimeout = errors.New("backend took too long")

// fail answers in place of the backend.
func (c *clientConn) fail(e *exchange, err error) bool {
	a := &errorAnswer{code: apierror.BackendError, message: "the backend cannot be reached", head: e.isHead, close: e.ends(),
		setting: "backend.url", backend: err}
	var malformed *http1.Error
	switch {
	case errors.Is(err, errNoConnection), errors.Is(err, errStreams):
		a.code, a.message, a.setting = apierror.Unavailable, "too many requests wait for the backend", "backend.max_connections, backend.max_streams"
	case errors.Is(err, errTimeout):
		a.code, a.message, a.setting = apierror.BackendTimeout, "the backend did not answer in time", "backend.response_timeout"
	case errors.As(err, &malformed) && e.up == nil && e.fromClient:
		return c.refuseBody(err)
	case errors.As(err, &malformed):
		a.message = "the backend's answer cannot be read"
	}
	return c.answer(a)
}

// refuseBody answers a request whose body is malformed, or came too slowly, or
// stopped.
func (c *clientConn) refuseBody(err error) bool {
	var malformed *http1.Error
	switch {
	case errors.As(err, &malformed):
		return c.answer(&errorAnswer{status: malformed.Status, code: apierror.InvalidArgument, message: malformed.Reason, close: true})
	case c.watched.expired.Load():
		return c.answer(&errorAnswer{status: http.StatusRequestTimeout, code: apierror.InvalidArgument,
			message: "the request body took too long", close: true, setting: "client.body_timeout"})
	}
	c.brokeOff(errClientGone)
	return false
}
