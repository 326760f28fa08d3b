package proxy_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

const (
	askTunnel = "GET /other HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n"
	switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\n"
)

// tunnel opens one.
func (r *rig) tunnel() (client, backend *peer) {
	r.t.Helper()
	c := r.sends(askTunnel)
	b := r.asked()
	head := b.head()
	if !strings.Contains(head, "\r\nUpgrade: websocket\r\n") || !strings.Contains(head, "\r\nConnection: Upgrade\r\n") {
		r.t.Fatalf("head at the backend %q", head)
	}
	b.send(switching)
	c.wants(switching)
	return c, b
}

func TestTunnel_PassesBytesBothWays(t *testing.T) {
	r := newRig(t)
	c, b := r.tunnel()
	for _, part := range []string{"\x81\x00", "hello", strings.Repeat("x", 100_000)} {
		go c.send(part)
		b.wants(part)
		go b.send(part)
		c.wants(part)
	}
}

func TestTunnel_BytesThatComeWithTheHeadsAreNotLost(t *testing.T) {
	r := newRig(t)
	c := r.sends(askTunnel + "early")
	b := r.asked()
	b.head()
	b.send(switching + "prompt")
	c.wants(switching + "prompt")
	b.wants("early")
}

func TestTunnel_HalfCloseIsPassedOn(t *testing.T) {
	f := func(name string, pick func(c, b *peer) (ends, goesOn *peer)) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			ends, goesOn := pick(r.tunnel())
			ends.send("bye")
			_ = ends.conn.(*net.TCPConn).CloseWrite()
			if got, err := goesOn.rest(); got != "bye" || err != nil {
				t.Fatalf("got %q, %v", got, err)
			}
			for range 3 { // much later
				ends.stays()
			}
			goesOn.send("last words")
			ends.wants("last words")
			_ = goesOn.conn.Close()
			ends.ends()
		})
	}
	f("by the client", func(c, b *peer) (*peer, *peer) { return c, b })
	f("by the backend", func(c, b *peer) (*peer, *peer) { return b, c })
}

func TestTunnel_IsCountedUntilBothDirectionsEnded(t *testing.T) {
	r := newRig(t)
	counted := func(n float64) {
		t.Helper()
		testkit.Eventually(t, "the number of tunnels", func() bool { return r.gauge("pushcart_backend_streams") == n })
	}
	c, b := r.tunnel()
	counted(1)
	c2, _ := r.tunnel()
	counted(2)
	_ = c2.conn.Close() // a tunnel of which only one side is gone goes on
	counted(2)
	_ = b.conn.(*net.TCPConn).CloseWrite()
	if got, err := c.rest(); got != "" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	counted(2)
	_ = c.conn.Close()
	counted(1)
	if got := r.gauge(`pushcart_requests_total{code="101"}`); got != 2 {
		t.Errorf("%v requests with 101 are counted", got)
	}
}

func TestTunnel_OfAnyProtocolAndMethod(t *testing.T) {
	r := newRig(t)
	c := r.sends("POST /up HTTP/1.1\r\nHost: app\r\nConnection: upgrade\r\nUpgrade: IRC/6.9, RTA/x11\r\nContent-Length: 0\r\n\r\n")
	b := r.asked()
	if head := b.head(); !strings.Contains(head, "\r\nUpgrade: IRC/6.9, RTA/x11\r\n") {
		t.Errorf("head %q", head)
	}
	answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: IRC/6.9\r\n\r\n"
	b.send("HTTP/1.1 103 Early Hints\r\n\r\n" + answer + "NOTICE")
	c.wants("HTTP/1.1 103 Early Hints\r\n\r\n" + answer + "NOTICE")
	c.send("NICK")
	b.wants("NICK")
}

func TestTunnel_ResetEndsBothSides(t *testing.T) {
	r := newRig(t)
	c, b := r.tunnel()
	_ = c.conn.(*net.TCPConn).SetLinger(0)
	_ = c.conn.Close()
	b.ends()
	c, b = r.tunnel()
	_ = b.conn.(*net.TCPConn).SetLinger(0)
	_ = b.conn.Close()
	c.ends()
}

func TestTunnel_HasNoTimeout(t *testing.T) {
	r := newRig(t, func(c *config.Config) {
		c.Client.IdleTimeout, c.Client.HeadTimeout, c.Client.SendTimeout = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
		c.Backend.ResponseTimeout, c.Backend.IdleTimeout = 100*time.Millisecond, 100*time.Millisecond
	})
	c, b := r.tunnel()
	for range 5 {
		c.stays()
	}
	c.send("a")
	b.wants("a")
	b.send("b")
	c.wants("b")
}

func TestUpgrade_ThatTheBackendDeclinesIsAnOrdinaryAnswer(t *testing.T) {
	r := newRig(t)
	c := r.sends(askTunnel)
	b := r.asked()
	b.head()
	b.send(ok)
	c.wants(ok)
	c.send(get)
	b.head()
	b.send(ok)
	c.wants(ok)
}

func TestUpgrade_ToH2CIsAnsweredInHTTP11(t *testing.T) {
	r := newRig(t)
	for _, ask := range [][2]string{{"/", "h2c"}, {"/_push", "h2c"}, {"/", "websocket, H2C"}} {
		c := r.sends("GET " + ask[0] + " HTTP/1.1\r\nHost: app\r\nUpgrade: " + ask[1] + "\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n\r\n")
		b := r.asked()
		if head := b.head(); strings.Contains(head, "Upgrade") || strings.Contains(head, "HTTP2") {
			t.Errorf("head at the backend %q", head)
		}
		b.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
		c.wants(ok)
	}
}

func TestUpgrade_WithABodyInvisibleToNobody(t *testing.T) {
	r := newRig(t)
	c := r.sends("POST /other HTTP/1.1\r\nHost: app\r\nUpgrade: x\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nab" + get)
	b := r.asked()
	b.head()
	b.wants("ab")
	b.stays() // what follows is another request
	b.send(ok)
	c.wants(ok)
}
