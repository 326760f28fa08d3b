package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
)

// clientConn is one connection of the public listener. Its goroutine runs serve.
type clientConn struct {
	s       *Server
	sock    net.Conn // as accepted
	conn    net.Conn // sock, or TLS over it
	peer    netip.Addr
	trusted bool              // a proxy of ours
	from    clientaddr.Origin // of the last request
	src     *source
	watched *watched
	taken   bool // by Upgrade

	idle    atomic.Bool // between two requests
	sending atomic.Bool // a request body is under way
	away    atomic.Bool // the client left while the backend worked
	onGone  func()

	mu      sync.Mutex   // guards backend
	backend *backendConn // that works for it
}

func (c *clientConn) serve() {
	defer c.s.work.Done()
	c.watched = c.s.watch.add(c.conn)
	c.onGone = c.gone
	defer c.end()
	defer func() {
		if r := recover(); r != nil {
			c.s.o.Log.Error("panic on a connection", "err", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	if c.s.tls != nil {
		t := tls.Server(c.conn, c.s.tls)
		c.s.watch.arm(c.watched, c.s.cfg.Client.HeadTimeout)
		if err := t.Handshake(); err != nil {
			return
		}
		c.conn = t
	}
	c.src = newSource(c.conn, &small)
	for c.next() {
	}
}

// end gives everything back; a connection that Upgrade took is no longer ours.
func (c *clientConn) end() {
	c.s.watch.remove(c.watched)
	if c.taken {
		return
	}
	c.s.forget(c)
	if c.src != nil {
		c.src.release()
	}
	_ = c.conn.Close()
}

// next takes one request; false: it was the last.
func (c *clientConn) next() bool {
	w, cfg := c.s.watch, &c.s.cfg.Client
	if len(c.src.unread()) == 0 {
		w.arm(c.watched, cfg.IdleTimeout)
		c.src.expect(&small)
		c.idle.Store(true)
		if c.s.stopping.Load() {
			return false
		}
		err := c.src.fill()
		c.idle.Store(false)
		if err != nil {
			return false
		}
	}
	w.arm(c.watched, cfg.HeadTimeout)
	if !c.skipEmptyLine() {
		return false
	}
	head, err := c.src.head()
	if err != nil {
		return c.refuseHead(err)
	}
	e := exchanges.Get().(*exchange)
	defer e.release()
	e.begin = time.Now()
	if err := http1.ParseRequest(head, &e.req); err != nil {
		return c.refuseHead(err)
	}
	w.arm(c.watched, 0)
	return c.dispatch(e, head)
}

func (s *Server) isDraining() bool { return s.draining.Load() }

// skipEmptyLine ignores one before the request line (RFC 9112 §2.2).
func (c *clientConn) skipEmptyLine() bool {
	for bytes.Equal(c.src.unread(), []byte("\r")) {
		if c.src.fill() != nil {
			return false
		}
	}
	if bytes.HasPrefix(c.src.unread(), []byte("\r\n")) {
		c.src.take(2)
	}
	return true
}

// refuseHead answers what is no request; the connection ends.
func (c *clientConn) refuseHead(err error) bool {
	var bad *http1.Error
	switch {
	case errors.As(err, &bad):
		c.answer(&errorAnswer{status: bad.Status, code: apierror.InvalidArgument, message: bad.Reason, close: true})
	case c.watched.expired.Load() && len(c.src.unread()) > 0:
		c.answer(&errorAnswer{status: http.StatusRequestTimeout, code: apierror.InvalidArgument,
			message: "the request head took too long", close: true})
	}
	return false
}

// dispatch decides where a request goes.
func (c *clientConn) dispatch(e *exchange, head []byte) bool {
	r, s := &e.req, c.s
	if refusedMethod(r.Method) {
		return c.answer(&errorAnswer{status: http.StatusMethodNotAllowed, code: apierror.MethodNotAllowed,
			message: "CONNECT and TRACE are not for this server", close: true})
	}
	wants := asks(r)
	origin := c.origin(r)
	if wants != noUpgrade && s.routes.websocket(r.Path) && (wants == toWebSocket || !r.HasToken("Upgrade", "h2c")) {
		if r.Minor == 0 || !r.Fields.Has(http1.Connection, "upgrade") {
			return c.answer(&errorAnswer{code: apierror.InvalidArgument, message: "Upgrade wants HTTP/1.1 and Connection: upgrade", close: true})
		}
		c.upgrade(r, head, origin)
		return false
	}
	e.describe(r, wants)
	if s.routes.wall.hides(r.Path) {
		c.src.take(len(head))
		return c.answer(&errorAnswer{code: apierror.NotFound, message: "no such path", close: !e.keep || e.hasBody(), head: e.isHead})
	}
	rewritten := requestHead{req: r, head: head, from: origin, tunnel: e.tunnel}
	if !s.cfg.Backend.PreserveHost {
		rewritten.host = s.up.host
	}
	e.out = rewritten.append(e.out[:0])
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
	if c.s.tls != nil {
		proto = "https"
	}
	var came clientaddr.Forwarded
	if c.trusted {
		came = clientaddr.Forwarded{
			For: r.Joined("X-Forwarded-For"), Proto: string(r.Get("X-Forwarded-Proto")), Host: string(r.Get("X-Forwarded-Host")),
		}
	}
	c.from = c.s.trusted.Resolve(c.peer, proto, string(r.Host), came)
	return c.from
}

// upgrade hands the connection over for good.
func (c *clientConn) upgrade(r *http1.Request, head []byte, from clientaddr.Origin) {
	early := c.src.unread()[len(head):]
	c.taken = true
	c.s.forget(c)
	c.s.watch.remove(c.watched)
	_ = c.conn.SetDeadline(time.Time{})
	c.s.o.Upgrade(c.conn, r, early, from)
	c.src.release()
}

// gone is called by the watcher when the client left while the backend works.
func (c *clientConn) gone() {
	if c.sending.Load() {
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
		_ = c.sock.SetDeadline(time.Unix(1, 0))
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
	c.s.watch.armSend(c.watched, c.s.cfg.Client.SendTimeout)
	_, err := c.conn.Write(b)
	c.s.watch.armSend(c.watched, 0)
	return err
}

// finish ends the sending side so that the client gets all of a last answer: what
// it still sends is read for a moment, as close(2) with unread input would destroy
// what was written.
func (c *clientConn) finish() {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = c.conn.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, c.conn, lingerBytes)
	}
}

const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// reset makes the end of a connection look like what it is: a response that broke
// off (RFC 9112 §8).
func (c *clientConn) reset() {
	if tcp, ok := c.sock.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	}
}
