package ws

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"net"
	"net/http"

	"github.com/pushcart/pushcart/internal/accesslog"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/session"
)

// handshake is one request to become a WebSocket, in the order of SPEC §4.1.
type handshake struct {
	srv       *Server
	set       *Settings
	conn      net.Conn
	asks      session.Handshake
	admission *session.Admission // nil until it is let in
	entry     accesslog.Entry
}

// Serve takes over conn, from which head and then early were read: it answers the
// handshake and returns; an admitted connection lives on in the server. The memory of
// head and early is not retained.
//
// If ctx ends while the handshake waits for an answer (the client left or the node
// drains), Serve stops waiting.
func (s *Server) Serve(ctx context.Context, conn net.Conn, head *http1.Request, early []byte, from clientaddr.Origin) {
	s.By(s.settings.Load())(ctx, conn, head, early, from)
}

// By is Serve with the given settings instead of the newest, so the caller and the server
// judge a request by the same configuration.
func (s *Server) By(set *Settings) func(ctx context.Context, conn net.Conn, head *http1.Request, early []byte, from clientaddr.Origin) {
	return func(ctx context.Context, conn net.Conn, head *http1.Request, early []byte, from clientaddr.Origin) {
		h := &handshake{srv: s, set: set, conn: conn}
		h.asks = session.Handshake{Head: head, From: from, Timeout: set.handshake, Settings: set.sessions}
		h.serve(ctx, early)
	}
}

func (h *handshake) serve(ctx context.Context, early []byte) {
	defer h.srv.guard.Recover("handshake", func() {
		h.admission.Cancel()
		_ = h.conn.Close()
	})
	h.begin()
	r := h.run(ctx, early)
	if r == nil {
		h.entry.Backend = h.admission.Asked
		h.entry.Connection, h.entry.User = h.admission.Who()
		h.set.access.Write(&h.entry)
		return
	}
	defer h.conn.Close()
	h.admission.Cancel()
	h.srv.sessions.Refused(&h.asks, r)
	h.refuse(r)
	h.set.access.Write(&h.entry)
	h.linger()
}

func (h *handshake) run(ctx context.Context, early []byte) (r *session.Refusal) {
	if r = h.checkRequest(); r != nil {
		return r
	}
	if h.admission, r = h.srv.sessions.Admit(ctx, h.asks); r != nil {
		return r
	}
	return h.upgrade(ctx, early)
}

// checkRequest is step 1: RFC 6455 §4.2.1.
func (h *handshake) checkRequest() *session.Refusal {
	bad := func(message string) *session.Refusal {
		return session.Refuse("bad_request", apierror.InvalidArgument, message)
	}
	r := h.asks.Head
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
		return bad("exactly one Sec-WebSocket-Version is required")
	case string(r.Get("Sec-WebSocket-Version")) != "13":
		v := bad("Sec-WebSocket-Version must be 13")
		v.Status = http.StatusUpgradeRequired // refuse adds the version
		return v
	case r.Count("Sec-WebSocket-Key") != 1 || !goodKey(r.Get("Sec-WebSocket-Key")):
		return bad("exactly one Sec-WebSocket-Key of 16 bytes in base64 is required")
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

// upgrade is step 6: the connection is registered, then the 101 goes out.
func (h *handshake) upgrade(ctx context.Context, early []byte) *session.Refusal {
	s, a := h.srv, h.admission
	c := &Conn{srv: s}
	_, overTLS := h.conn.(interface{ NetConn() net.Conn })
	a.Begin(&c.session, overTLS)
	extension := h.extension(c)
	if err := s.engine.attach(c, h.conn, s.opened.Add(1)); err != nil {
		return session.Refuse("error", apierror.Internal, "the connection could not be taken over").Because(err)
	}
	if s.wrap != nil {
		c.sock = s.wrap(c.sock)
	}
	if !c.loop.add(c, never) {
		c.sock.close()
		return a.GoingAway()
	}
	a.Keep() // from here on release gives it back
	defer s.guard.Recover("handshake of a registered connection", c.stillborn)
	if cause := a.Join(ctx, c); cause != nil {
		c.end(cause)
	}
	first := a.Open(&c.session, c)
	c.readLater(early)
	answer := switching(h.asks.Head.Get("Sec-WebSocket-Key"), extension, a)
	h.entry.Status, h.entry.Out = http.StatusSwitchingProtocols, int64(len(answer))
	c.open(answer, first)
	return nil
}

// readLater keeps what came behind the handshake.
func (c *Conn) readLater(early []byte) {
	if len(early) == 0 {
		return
	}
	c.keep(early)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = true
}

// extension negotiates compression; "" is none.
func (h *handshake) extension(c *Conn) string {
	if !h.srv.cfg.Compression {
		return ""
	}
	offer, ok := chooseDeflate(h.asks.Head.Joined("Sec-WebSocket-Extensions"))
	if !ok {
		return ""
	}
	c.window = offer.window
	return offer.answer()
}

// acceptGUID is RFC 6455 §1.3's.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

func switching(key []byte, extension string, a *session.Admission) []byte {
	var in [24 + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(in[:0], key...), acceptGUID...))
	b := make([]byte, 0, 320)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = base64.StdEncoding.AppendEncode(b, sum[:])
	if a.Subprotocol != "" {
		b = append(append(b, "\r\nSec-WebSocket-Protocol: "...), a.Subprotocol...)
	}
	if extension != "" {
		b = append(append(b, "\r\nSec-WebSocket-Extensions: "...), extension...)
	}
	b = append(b, "\r\n"...)
	return append(appendCookies(b, a.SetCookie), "\r\n"...)
}

func appendCookies(b []byte, lines []string) []byte {
	for _, line := range lines {
		b = append(append(append(b, "Set-Cookie: "...), line...), "\r\n"...)
	}
	return b
}
