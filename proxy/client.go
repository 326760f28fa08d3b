package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/internal/sockio"
	"github.com/pushcart/pushcart/internal/takeover"
)

// clientConn is one connection of the public listener, until it is parked or ends.
// Its goroutine runs serve.
type clientConn struct {
	s         *Server
	set       *Settings // of the request under way
	sock      net.Conn  // as accepted
	conn      net.Conn  // over sock: direct, or TLS
	peer      netip.Addr
	trusted   bool              // a proxy of ours
	suspected bool              // to be one that is not configured
	from      clientaddr.Origin // of the last request
	src       *source
	watched   *watched
	ready     *exchange // read by await, to be dispatched
	ending    ending
	parks     bool         // can be parked
	quiet     bool         // waited for parkAfter
	own       *backendConn // authenticated, for this client only; nil while in use
	outcome                // of the request under way

	idle    atomic.Bool // between two requests
	sending atomic.Bool // a request body is under way
	away    atomic.Bool // the client left while the backend worked
	onGone  func(reset bool)

	mu      sync.Mutex   // guards backend
	backend *backendConn // that works for it
}

// serve runs the connection until it ends or is parked.
func (c *clientConn) serve() {
	defer c.s.work.Done()
	defer c.s.guard.Recover("end of a connection", nil)
	for c.work() {
		if c.park() {
			return
		}
	}
	c.end()
}

// work takes requests; true: none came for a while.
func (c *clientConn) work() (quiet bool) {
	defer c.s.guard.Recover("connection", nil)
	if c.watched == nil && !c.begin() {
		return false
	}
	for c.await() && c.next() {
	}
	return c.quiet
}

// begin prepares a new connection; false: its TLS handshake failed.
func (c *clientConn) begin() bool {
	c.watched = c.s.watch.add(c.sock)
	c.onGone = c.gone
	c.adopt()
	c.conn = sockio.Wrap(c.sock)
	if c.set.tls != nil {
		t := tls.Server(takeover.Wrap(c.sock), c.set.tls)
		c.s.watch.arm(c.watched, c.set.client.head)
		if err := t.Handshake(); err != nil {
			c.refuseHandshake(err)
			return false
		}
		c.conn = t
	}
	c.src = newSource(c.conn, &small)
	c.parks = canPark && c.src.raw != nil
	return true
}

// parkAfter is how long a connection that waits keeps its goroutine.
const parkAfter = time.Second

// park leaves the wait for the next request to the lot; false: it goes on here.
func (c *clientConn) park() bool {
	c.quiet = false
	_ = c.conn.SetReadDeadline(time.Time{})
	if !c.s.lot.park(c.src, c.watched.deadline.Load()) {
		c.parks = false
		return false
	}
	c.s.watch.remove(c.watched)
	c.s.delist(c)
	_ = c.sock.Close()
	return true
}

// ending is how a connection ends.
type ending uint8

const (
	endPlain  ending = iota
	endFinish        // so that the client gets all of the last answer
	endReset         // so that it sees that the answer broke off
	endTaken         // not at all: Upgrade has it
)

// end gives everything back.
func (c *clientConn) end() {
	c.dropOwn()
	if c.ending == endTaken {
		return
	}
	switch c.ending {
	case endFinish:
		c.finish()
	case endReset:
		c.reset()
	}
	c.s.watch.remove(c.watched)
	c.s.delist(c)
	if c.src != nil {
		c.src.release()
	}
	_ = c.conn.Close()
	c.s.left()
}

// await waits until bytes of a request are there; false: the connection is over.
// Requests that are nothing but a head are answered in here, between two waits,
// which saves a system call each.
func (c *clientConn) await() bool {
	if len(c.src.unread()) > 0 {
		return true
	}
	if c.watched.expired.Load() || !c.rest() {
		return false
	}
	goOn := true
	err := c.src.stream(func() bool {
		c.wake()
		if !c.plain() {
			return false
		}
		if goOn = c.next(); !goOn || len(c.src.unread()) > 0 {
			return false
		}
		goOn = c.rest()
		return goOn
	})
	c.quiet = c.idle.Swap(false) && c.parks && errors.Is(err, os.ErrDeadlineExceeded) && !c.watched.expired.Load()
	return err == nil && goOn
}

// rest marks the time between two requests; false: there will be no other.
func (c *clientConn) rest() bool {
	c.s.watch.arm(c.watched, c.s.settings.Load().client.idle)
	if c.parks {
		c.s.watch.doze(c.watched, parkAfter)
	}
	c.src.expect(&small)
	c.idle.Store(true)
	return !c.s.stopping.Load()
}

// wake ends that time.
func (c *clientConn) wake() {
	c.idle.Store(false)
	if c.parks {
		c.s.watch.awake(c.watched)
	}
}

// plain says whether a whole request is there that is nothing but a head; then it
// is ready to be dispatched.
func (c *clientConn) plain() bool {
	head, _ := c.src.headNow(0)
	if head == nil {
		return false
	}
	e, err := parse(head)
	if err != nil {
		return false // next finds it again, and says so
	}
	c.ready = e
	return !e.req.HasBody() && asks(&e.req) == noUpgrade
}

// next takes one request; false: it was the last.
func (c *clientConn) next() bool {
	e := c.ready
	c.ready = nil
	c.adopt()
	c.outcome, c.src.taken = outcome{}, 0
	if e == nil {
		c.s.watch.arm(c.watched, c.set.client.head)
		if !c.skipEmptyLines() {
			return false
		}
		head, err := c.src.head()
		if err == nil {
			e, err = parse(head)
		}
		if err != nil {
			c.refuseHead(err)
			c.logUnread()
			return false
		}
	}
	defer e.release()
	defer c.logRequest(e)
	c.s.watch.arm(c.watched, 0)
	return c.dispatch(e, c.src.lastHead())
}

// parse makes an exchange of a request's head.
func parse(head []byte) (*exchange, error) {
	e := exchanges.Get().(*exchange)
	e.begin = time.Now()
	if err := http1.ParseRequest(head, &e.req); err != nil {
		e.release()
		return nil, err
	}
	return e, nil
}

func (s *Server) isDraining() bool { return s.draining.Load() }

// skipEmptyLines ignores those before the request line (RFC 9112 §2.2).
func (c *clientConn) skipEmptyLines() bool {
	for {
		if n := http1.EmptyLines(c.src.unread()); n > 0 {
			c.src.take(n)
		}
		if len(c.src.unread()) > 0 && !bytes.Equal(c.src.unread(), []byte("\r")) {
			return true
		}
		if c.src.fill() != nil {
			return false
		}
	}
}

// refuseHead answers what is not a request; the connection ends.
func (c *clientConn) refuseHead(err error) {
	var bad *http1.Error
	switch f := http1.Foreign(c.src.unread()); {
	case f != nil:
		c.answer(&errorAnswer{status: f.Status, code: apierror.InvalidArgument, message: f.Reason, close: true, setting: foreignSetting(f)})
	case errors.As(err, &bad):
		c.answer(&errorAnswer{status: bad.Status, code: apierror.InvalidArgument, message: bad.Reason, close: true})
	case c.watched.expired.Load() && len(c.src.unread()) > 0:
		c.answer(&errorAnswer{status: http.StatusRequestTimeout, code: apierror.InvalidArgument,
			message: "the request head took too long", close: true, setting: "client.head_timeout"})
	}
}

// dispatch decides where a request goes.
func (c *clientConn) dispatch(e *exchange, head []byte) bool {
	r, s := &e.req, c.s
	origin := c.origin(r)
	c.identify(e, &origin)
	if refusedMethod(r.Method) {
		return c.answer(&errorAnswer{status: http.StatusMethodNotAllowed, code: apierror.MethodNotAllowed,
			message: "CONNECT and TRACE are not for this server", close: true})
	}
	wants := asks(r)
	if r.Forwarded || r.WebSocketKey {
		c.lookAtFront(r, wants)
	}
	if wants != noUpgrade && s.routes.terminates(r) {
		if r.Minor == 0 || !r.Fields.Has(http1.Connection, "upgrade") {
			return c.answer(&errorAnswer{code: apierror.InvalidArgument, message: "Upgrade wants HTTP/1.1 and Connection: upgrade", close: true})
		}
		e.entry.Reset() // it is logged where it is answered
		c.upgrade(r, head, origin)
		return false
	}
	e.describe(r, wants)
	if r.WebSocketKey && wants == toWebSocket {
		e.handshake = logged(r.Path)
	}
	if c.set.wall.hides(r.Path) {
		c.src.take(len(head))
		return c.answer(&errorAnswer{code: apierror.NotFound, message: "no such path", close: e.ends(), head: e.isHead,
			setting: "webhook.url, webhook.public_path"})
	}
	rewritten := requestHead{req: r, head: head, from: origin, tunnel: e.tunnel, via: s.backend.Via}
	if s.backend.RequestID {
		rewritten.id = e.id
	}
	if !s.backend.PreserveHost || r.Host == nil {
		rewritten.host = s.up.at.Host
	}
	e.out = rewritten.append(e.out[:0])
	r.Fields = emptied(r.Fields)
	c.src.take(len(head))
	return c.exchange(e)
}

// origin says who asks. Most connections ask for one host, and without proxies
// nothing else varies: what was found out last is kept.
func (c *clientConn) origin(r *http1.Request) clientaddr.Origin {
	if !c.trusted && c.from.ForwardedFor != "" && c.from.Host == string(r.Host) {
		return c.from
	}
	proto := "http"
	if c.set.tls != nil {
		proto = "https"
	}
	var came clientaddr.Forwarded
	if c.trusted {
		came = clientaddr.Forwarded{
			For: r.Joined("X-Forwarded-For"), Proto: r.Joined("X-Forwarded-Proto"), Host: r.Joined("X-Forwarded-Host"),
		}
	}
	c.from = c.set.trusted.Resolve(c.peer, proto, string(r.Host), came)
	return c.from
}

// Much shorter than the idle_timeout that the connection could have had instead.
const (
	lingerSilence = time.Second
	lingerInAll   = 10 * time.Second
)
