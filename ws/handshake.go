package ws

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
	"unique"

	"golang.org/x/time/rate"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/webhook"
)

// registerWait is how long a handshake waits for the broker's confirmation that
// the user's pushes reach this node (SPEC §11 Handshake).
const registerWait = time.Second

// handshake is one request to become a WebSocket, in the order of SPEC §4.1.
type handshake struct {
	srv    *Server
	head   *http1.Request
	from   clientaddr.Origin
	member hub.Member
	offers []string // of Sec-WebSocket-Protocol

	cookies []string // Set-Cookie lines of auth.forward, for the client
}

// Serve takes over conn, on which head was read, and early after it: it answers
// the handshake and returns; what is let in lives on in the server. The memory of
// head and early is not kept.
//
// Where ctx ends while the handshake waits for an answer, the client has left or the
// node drains: nothing is waited for any longer.
func (s *Server) Serve(ctx context.Context, conn net.Conn, head *http1.Request, early []byte, from clientaddr.Origin) {
	entered := &entry{}
	defer s.guard.Recover("handshake", func() {
		entered.leave(s, from)
		_ = conn.Close()
	})
	from = from.AsRequest()
	h := &handshake{srv: s, head: head, from: from, offers: splitList(head.Joined("Sec-WebSocket-Protocol"))}
	if r := h.run(ctx, conn, early, entered); r != nil {
		entered.leave(s, from)
		if ctx.Err() != nil {
			r = s.interrupted()
		}
		s.metrics.Connects.WithLabelValues(r.result).Inc()
		h.report(r)
		r.header += string(appendCookies(nil, h.cookies))
		r.send(conn)
		return
	}
	s.metrics.Connects.WithLabelValues("ok").Inc()
}

// entry is what a handshake holds of the limits until its connection does.
type entry struct {
	total, ip bool
	user      string // among whose connections the member has a seat
	member    *hub.Member
}

func (e *entry) leave(s *Server, from clientaddr.Origin) {
	s.users.leave(e.user, e.member)
	switch {
	case e.ip:
		s.admission.release(from.IP)
	case e.total:
		s.admission.exit()
	}
	*e = entry{}
}

// interrupted is what a handshake comes to that gave up waiting.
func (s *Server) interrupted() *refusal {
	if s.draining.Load() {
		return goingAway()
	}
	return &refusal{result: resultLeft}
}

func (h *handshake) run(ctx context.Context, conn net.Conn, early []byte, entered *entry) *refusal {
	if r := h.checkRequest(); r != nil {
		return r
	}
	if r := h.enter(entered); r != nil {
		return r
	}
	if r := h.checkOrigin(); r != nil {
		return r
	}
	h.member = h.srv.hub.NewMember()
	id, r := h.identify(ctx)
	if r != nil {
		return r
	}
	return h.upgrade(ctx, conn, early, id, entered)
}

// checkRequest is step 1: RFC 6455 §4.2.1.
func (h *handshake) checkRequest() *refusal {
	bad := func(message string) *refusal { return refuse("bad_request", apierror.InvalidArgument, message) }
	r := h.head
	switch {
	case string(r.Method) != http.MethodGet:
		return bad("a WebSocket handshake is a GET")
	case r.Minor != 1:
		return bad("a WebSocket handshake is HTTP/1.1")
	case !r.HasToken("Upgrade", "websocket"):
		return bad("Upgrade must be websocket")
	case !r.HasToken("Connection", "upgrade"):
		return bad("Connection must be upgrade")
	case r.ContentLength > 0 || r.Chunked:
		return bad("a WebSocket handshake has no body")
	case r.Count("Sec-WebSocket-Version") != 1:
		return bad("one Sec-WebSocket-Version is wanted")
	case string(r.Get("Sec-WebSocket-Version")) != "13":
		v := bad("Sec-WebSocket-Version must be 13")
		v.status, v.header = http.StatusUpgradeRequired, "Sec-WebSocket-Version: 13\r\n"
		return v
	case r.Count("Sec-WebSocket-Key") != 1 || !goodKey(r.Get("Sec-WebSocket-Key")):
		return bad("one Sec-WebSocket-Key of 16 bytes in base64 is wanted")
	}
	return nil
}

func goodKey(key []byte) bool {
	var raw [18]byte
	if len(key) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Decode(raw[:], key) // unused bits may be set (RFC 6455 §4.1)
	return err == nil && n == 16
}

// checkOrigin is step 3.
func (h *handshake) checkOrigin() *refusal {
	origin := string(h.head.Get("Origin"))
	if h.head.Count("Origin") < 2 && h.srv.origins.allow(origin, h.from.PublicHost()) {
		return nil
	}
	r := refuse("origin", apierror.Forbidden, fmt.Sprintf("Origin %s is not allowed for Host %s", quote(origin), quote(h.from.PublicHost())))
	r.cause = "Origin is not allowed"
	r.detail = fmt.Sprintf("Origin is %s, Host is %s", quote(origin), quote(h.from.PublicHost()))
	return r.look(h.orProxies("websocket.allowed_origins"))
}

// quote is a client's value for messages.
func quote(s string) string { return strconv.Quote(s[:min(len(s), 256)]) }

// orProxies also names trusted_proxies where the request came through a proxy that
// is not trusted.
func (h *handshake) orProxies(keys string) string {
	through := h.head.Count("X-Forwarded-For")+h.head.Count("X-Forwarded-Host") > 0
	if through && h.from.ForwardedFor == h.from.IP.String() {
		return keys + ", trusted_proxies"
	}
	return keys
}

// enter is step 2: draining, and the limits that need no user.
func (h *handshake) enter(entered *entry) *refusal {
	s := h.srv
	if s.draining.Load() {
		return goingAway()
	}
	if entered.total = s.admission.enter(); !entered.total {
		return refuse("limit", apierror.Unavailable, "the node is full").look("limits.connections").after(5)
	}
	limit := s.admission.enterIP(h.from.IP)
	if entered.ip = limit == ""; !entered.ip {
		return refuse("rate", apierror.RateLimited, "too many connections from this address").
			look(h.orProxies(limit)).after(1)
	}
	return nil
}

func goingAway() *refusal {
	return refuse("draining", apierror.Unavailable, "the node is going away").after(1)
}

// upgrade is steps 5 and 6: the connection is registered, then the 101 goes out.
func (h *handshake) upgrade(ctx context.Context, conn net.Conn, early []byte, id *identity, entered *entry) *refusal {
	s := h.srv
	protocol, r := h.subprotocol(id)
	if r != nil {
		return r
	}
	more, r := h.extras(id)
	if r != nil {
		return r
	}
	_, overTLS := conn.(interface{ NetConn() net.Conn })
	c := &Conn{
		member: h.member, srv: s, remote: h.from.IP.As16(), host: unique.Make(hosts{asked: h.from.Host, sent: string(h.head.Host)}),
		tls: overTLS || h.from.Secure(), more: more, sequence: 1, // the first is connect
	}
	extension := h.extension(c)
	if !s.users.enter(id.user, &c.member) {
		return refuse("limit", apierror.RateLimited, "too many connections of this user").
			look("limits.connections_per_user").after(5)
	}
	entered.user, entered.member = id.user, &c.member
	if err := s.engine.attach(c, conn, s.opened.Add(1)); err != nil {
		return refuse("error", apierror.Internal, "the connection could not be taken over").because(err)
	}
	if s.wrap != nil {
		c.sock = s.wrap(c.sock)
	}
	if !id.expires.IsZero() {
		c.expires = c.loop.at(id.expires)
	}
	if !c.loop.add(c, never) {
		c.sock.close()
		return goingAway()
	}
	*entered = entry{} // from here on release gives it back
	defer s.guard.Recover("handshake of a registered connection", c.stillborn)
	ctx, cancel := context.WithTimeout(ctx, registerWait)
	if err := s.hub.Join(ctx, c, id.user, id.channels); err != nil {
		s.log.Debug("connection registered without the broker", "conn", c.member.ID(), "err", err)
	}
	cancel()
	switch {
	case s.users.arrived(&c.member):
		c.end(endReplaced)
	case s.draining.Load(): // perhaps Drain looked before the loop had it
		c.end(endDrain)
	}
	h.begin(c, id, early, switching(h.head.Get("Sec-WebSocket-Key"), protocol, extension, h.cookies))
	return nil
}

// extension negotiates compression; "" is none.
func (h *handshake) extension(c *Conn) string {
	if !h.srv.cfg.WebSocket.Compression {
		return ""
	}
	offer, ok := chooseDeflate(h.head.Joined("Sec-WebSocket-Extensions"))
	if !ok {
		return ""
	}
	c.window = offer.window
	return offer.answer()
}

// begin lets the registered connection live; response is the 101.
func (h *handshake) begin(c *Conn, id *identity, early, response []byte) {
	for _, m := range id.messages {
		c.reply(c.encode(opText, m))
	}
	if len(early) > 0 {
		c.keep(early)
		c.mu.Lock()
		c.rest = true
		c.mu.Unlock()
	}
	if h.srv.wants(webhook.Connected) {
		c.mu.Lock()
		ev := c.eventLocked(webhook.Connected)
		c.mu.Unlock()
		ev.ContentType, ev.Body = contentJSON, []byte(`{"connection_id":"`+c.member.ID()+`"}`)
		h.srv.hooks.Tell(ev)
	} else {
		c.sequence++
	}
	c.open(response)
}

// extras is what this connection has beyond others.
func (h *handshake) extras(id *identity) (*extras, *refusal) {
	s := h.srv
	m := &extras{state: id.state}
	if h.from.ForwardedFor != h.from.IP.String() {
		m.forwardedFor = h.from.ForwardedFor
	}
	var size int
	m.header, size = h.forwardHeaders(s.cfg.Webhook.ForwardHeaders.Message)
	if size > maxKeptHeaders {
		r := refuse("bad_request", apierror.TooLarge, "the headers to keep for the backend are larger than 4 KiB").
			look("webhook.forward_headers.message")
		r.status = http.StatusRequestHeaderFieldsTooLarge
		return nil, r
	}
	if r := s.cfg.Limits.MessageRate; r > 0 {
		m.limiter = rate.NewLimiter(rate.Limit(r), burst(r, 2))
	}
	if m.forwardedFor == "" && m.header == nil && m.limiter == nil && m.state == nil {
		return nil, nil
	}
	return m, nil
}

// maxKeptHeaders bounds webhook.forward_headers.message per connection (SPEC §3).
const maxKeptHeaders = 4 << 10

func (h *handshake) forwardHeaders(wanted []string) (fields []webhook.Field, size int) {
	for _, name := range wanted {
		for _, f := range h.head.Fields {
			if http1.EqualFold(f.Name, name) {
				fields = append(fields, webhook.Field{Name: name, Value: string(f.Value)})
				size += len(name) + len(f.Value)
			}
		}
	}
	return fields, size
}

// acceptGUID is RFC 6455 §1.3's.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

func switching(key []byte, protocol, extension string, cookies []string) []byte {
	var in [24 + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(in[:0], key...), acceptGUID...))
	b := make([]byte, 0, 320)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = base64.StdEncoding.AppendEncode(b, sum[:])
	if protocol != "" {
		b = append(append(b, "\r\nSec-WebSocket-Protocol: "...), protocol...)
	}
	if extension != "" {
		b = append(append(b, "\r\nSec-WebSocket-Extensions: "...), extension...)
	}
	b = append(b, "\r\n"...)
	return append(appendCookies(b, cookies), "\r\n"...)
}

func appendCookies(b []byte, lines []string) []byte {
	for _, line := range lines {
		b = append(append(append(b, "Set-Cookie: "...), line...), "\r\n"...)
	}
	return b
}
