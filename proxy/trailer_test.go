package proxy_test

import (
	"strings"
	"testing"
)

// A reader that merges trailers into the header takes a client's for the sidecar's
// own, or for framing.
func TestTrailers_ThatSteerTheReaderAreDroppedBothWays(t *testing.T) {
	const bad = "Content-Length: 9\r\nHost: evil\r\nX-Forwarded-For: 1.1.1.1\r\nX_Forwarded_Proto: https\r\nAuthorization: Bearer x\r\n"
	r := newRig(t)
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + bad + "X-Sum: 1\r\nCook")
	b := r.asked()
	b.head()
	b.wants("1\r\na\r\n0\r\n")
	c.send("ie: a=b\r\n\r\n")
	b.wants("X-Sum: 1\r\n\r\n")
	answer := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
	b.send(answer + bad)
	c.wants(answer)
	b.send("Set-Cookie: a\r\nX-Sum: 2\r\n\r\n")
	c.wants("X-Sum: 2\r\n\r\n")
	// With the head, and nothing left: both connections go on.
	c.send("POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + bad + "\r\n")
	b.head()
	b.wants("0\r\n\r\n")
	b.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + bad + "\r\n")
	if head := c.head(); !strings.Contains(head, "chunked") {
		t.Error(head)
	}
	c.wants("0\r\n\r\n")
	c.stays()
	c.send(get)
	b.head()
	b.send(ok)
	c.wants(ok)
}

func TestFramingTwins_DoNotPass(t *testing.T) {
	r := newRig(t)
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent_Length: 5\r\nTRANSFER_ENCODING: chunked\r\nTransfer_encoding: x\r\nX_Y: 1\r\nContent-Length: 1\r\n\r\na")
	b := r.asked()
	b.wants("POST / HTTP/1.1\r\nHost: app\r\nX_Y: 1\r\nContent-Length: 1\r\n" + forwarding("app") + "\r\na")
	b.send("HTTP/1.1 200 OK\r\nTransfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\nok")
	c.wants(ok)
}

func TestInterimAnd204_CarryNoContentLength(t *testing.T) {
	r := newRig(t)
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX: 1\r\n\r\n")
	c.wants("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\nX: 1\r\n\r\n")
	c.stays()

	c = r.sends("GET /chat" + handshake)
	b.head()
	b.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\n")
	c.wants("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
}

// RFC 9110 §15.5.22: without Upgrade a 426 does not say what is wanted.
func TestUpgradeRequired_SaysWhatTo(t *testing.T) {
	r := newRig(t)
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno")
	c.wants("HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.0\r\nContent-Length: 2\r\nConnection: Upgrade\r\n\r\nno")
	c.stays()
	c = r.sends("GET / HTTP/1.0\r\n\r\n")
	b.head()
	b.send("HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno")
	c.wants("HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.0\r\nContent-Length: 2\r\nConnection: close, Upgrade\r\n\r\nno")
}
