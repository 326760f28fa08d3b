package proxy

import (
	"crypto/tls"
	"errors"
	"net/http"

	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/http1"
)

// What is said about a front or a client that is set up for something else than what
// is spoken here.

// refuseHandshake answers who does not speak TLS at all in what is spoken instead.
func (c *clientConn) refuseHandshake(err error) {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) || record.Conn == nil {
		return
	}
	reason := "this is plain HTTP, but TLS is spoken here: use https://"
	if f := http1.Foreign(record.RecordHeader[:]); f != nil {
		reason = f.Reason
	}
	c.answer(&errorAnswer{code: apierror.InvalidArgument, message: reason, close: true, setting: "tls"})
}

// foreignSetting is where to look when another protocol is spoken.
func foreignSetting(f *http1.Error) string {
	switch f {
	case http1.ErrTLS:
		return "tls"
	case http1.ErrHTTP2:
		return "listen"
	}
	return "trusted_proxies"
}

// lookAtFront logs what shows that a front is not set up as it should be.
func (c *clientConn) lookAtFront(r *http1.Request, wants upgrade) {
	if r.Forwarded && !c.trusted && !c.suspected { // once per connection: fronts keep theirs
		c.suspected = true
		c.suspectFront()
	}
	if r.WebSocketKey && wants == noUpgrade && c.s.routes.websocket(r.Path) {
		c.s.quiet.Warn("no upgrade", "a WebSocket request comes without Upgrade: the front must pass Upgrade and Connection on",
			"path", logged(r.Path), "ip", c.peer.String(), "setting", "websocket.paths")
	}
}

// suspectFront logs that a peer that may be a front of ours is not trusted.
func (c *clientConn) suspectFront() {
	if c.peer.IsLoopback() || c.peer.IsPrivate() || c.peer.IsLinkLocalUnicast() {
		c.s.quiet.Warn("forwarded", "X-Forwarded-* of a front are replaced: its address is not trusted",
			"ip", c.peer.String(), "setting", "trusted_proxies")
	}
}

// lookAtHandshake logs that the backend did not take a WebSocket handshake that
// went to it: often the client was meant to use one of websocket.paths. 401 and 403
// come from an app that knows the path.
func (c *clientConn) lookAtHandshake(e *exchange) {
	switch e.resp.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return
	}
	c.s.quiet.Warn("handshake for the backend", "the backend did not take a WebSocket handshake; its path is not in websocket.paths",
		"path", e.handshake, "status", e.resp.Status, "ip", c.peer.String(), "setting", "websocket.paths")
}

// loggedPath is how much of a path is logged.
const loggedPath = 200

func logged(path []byte) string { return string(path[:min(len(path), loggedPath)]) }
