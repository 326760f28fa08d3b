package proxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
)

const handshake = " HTTP/1.1\r\nHost: app\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"

// takes wants that a request ends at the sidecar.
func (r *rig) takes(request, path string) {
	r.t.Helper()
	r.sends(request + "early")
	select {
	case u := <-r.taken:
		if u.path != path || u.early != "early" || u.from.IP.String() != "127.0.0.1" || u.from.Host != "app" {
			r.t.Errorf("taken: %+v", u)
		}
	case <-r.peers:
		r.t.Errorf("%.60q went to the backend", request)
	case <-time.After(patience):
		r.t.Errorf("%.60q is neither here nor there", request)
	}
}

// passes wants that a request goes to the backend.
func (r *rig) passes(request string) {
	r.t.Helper()
	c := r.sends(request)
	select {
	case u := <-r.taken:
		r.t.Errorf("%.60q was taken: %+v", request, u)
	case b := <-r.peers:
		b.head()
		b.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
		c.wants("HTTP/1.1 200 ")
	case <-time.After(patience):
		r.t.Errorf("%.60q is neither here nor there", request)
	}
}

func TestWebSocketPath_IsDecidedOnTheBytesThatWouldBeForwarded(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.WebSocket.Paths = []string{"/ws", "/rt/*"} })
	r.takes("GET /ws"+handshake, "/ws")
	r.takes("GET /ws?a=b"+handshake, "/ws")
	r.takes("GET http://app/ws"+handshake, "/ws")
	r.takes("GET /rt/"+handshake, "/rt/")
	r.takes("GET /rt/a/../b"+handshake, "/rt/a/../b")
	for _, path := range []string{"/%77s", "//ws", "/x/../ws", "/ws;a", "/ws/", "/WS", "/rt", "/ws#a", "/", "/./ws"} {
		r.passes("GET " + path + handshake)
	}
	for _, path := range []string{"/%77s", "//ws", "/x/../ws", "/ws;a", "/ws/", "/WS", "", "?/ws"} {
		r.passes("GET http://app" + path + handshake)
	}
	r.passes("GET /_push HTTP/1.1\r\nHost: app\r\n\r\n") // no upgrade: an ordinary request
	r.passes("GET /_push HTTP/1.1\r\nHost: app\r\nConnection: upgrade\r\n\r\n")
}

func TestWebSocketPath_AListThatOffersWebSocketIsAHandshake(t *testing.T) {
	r := newRig(t, func(*config.Config) {})
	f := func(lines string) string {
		return "GET /_push HTTP/1.1\r\nHost: app\r\n" + lines +
			"Connection: Upgrade, HTTP2-Settings\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
	}
	for _, lines := range []string{
		"Upgrade: websocket, h2c\r\n", "Upgrade: h2c,WebSocket\r\n", "Upgrade: foo/1 , websocket\r\n",
		"Upgrade: h2c\r\nUpgrade: websocket\r\n", "upgrade: websocket\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: h2c\r\n",
	} {
		r.takes(f(lines), "/_push")
	}
	r.passes(f("Upgrade: h2c\r\n"))
	r.passes(f("Upgrade: h2c, websocket2\r\n"))
}

func TestWebSocketPath_BadUpgradesDoNotReachTheBackend(t *testing.T) {
	f := func(request string) {
		t.Helper()
		refused(t, "400", request)
	}
	f("GET /_push HTTP/1.0\r\nHost: app\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
	f("GET /_push HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\n\r\n")
	f("GET /_push HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n")
}

func TestWebhookWall_HidesTheRouteInEverySpelling(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Webhook.URL = "http://app:3000/hooks/push" })
	spellings := []string{
		"/hooks/push", "/hooks/push/", "/hooks/push/a", "/hooks/push?a", "/HOOKS/Push", "/hooks//push", "//hooks/push",
		"/hooks/./push", "/a/../hooks/push", "/hooks/a/../push", "/hooks/%70ush", "/hooks%2fpush", "/hooks%2Fpush",
		"/hooks/%2570ush", "/hooks/%252570ush", "/hooks\\push", "/hooks%5cpush", "/hooks;a=b/push", "/hooks/push;v=1",
		"/hooks/push%3ba", "/%2e/hooks/push", "/a/%2e%2e/hooks/push", "/a/..;/hooks/push", "/hooks/push/../push",
		"/hooks/push#a", "/hooks/push%23a", "/hooks/push%3fa", "/hooks/push%00", "/x%23/../hooks/push",
		"/hooks/push%2f", "/../hooks/push", "/hooks/push/%2e",
		// To those that resolve no dots, or only some.
		"/hooks/push/..", "/hooks/push/../x", "/hooks/push/%2e%2e", "/hooks/push/x/../..", "/HOOKS/push/..;/..", "/hooks/push/%252e%252e/%252e%252e",
		// Ends that some ignore.
		"/hooks/push.", "/hooks/push..", "/hooks/push%2e", "/hooks/push%20", "/hooks/push%0a", "/hooks/push%0A", "/hooks/push%0d%0a", "/hooks/push%250a",
		"/hooks/push%00.html", "/hooks/push\xa0", "/hooks/push%0ax",
		// Case, beyond ASCII.
		"/hook\u017f/push", "/hoo\u212as/pu\u017fh", "/hook%C5%BF/push", "/hook%25C5%25BF/push",
		// Parameters that hold a slash, cut before they are decoded or never.
		"/hooks;a%2f..%2fb/push", "/hooks/..;/../push", "/hooks//../push", "/hooks/%2e%2e/../push", "/ho%6fks/x%2fy/../push",
		// A host, to those that read the path as a URL.
		"//x/hooks/push", "/\\x/hooks/push", "///x:1/hooks/push", "//x%2fy/ho%6fks/push",
	}
	for _, path := range spellings {
		for _, target := range []string{path, "http://app" + path, "HTTPS://other:1" + path} {
			c := r.sends("POST " + target + " HTTP/1.1\r\nHost: app\r\nce-type: pushcart.message\r\nContent-Length: 2\r\n\r\n{}")
			if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 404 ") {
				t.Errorf("%s: %q", target, head)
			}
		}
	}
	for _, request := range []string{
		"HEAD /hooks/push HTTP/1.1\r\nHost: app\r\n\r\n", "POST /hooks/push HTTP/1.0\r\n\r\n",
		"POST /hooks/push" + handshake, // nor by a tunnel
		"POST /hooks/push HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
		"POST /hooks/push HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		r.sends(request).wants("HTTP/1.1 404 ")
	}
	r.untouched()
	for _, path := range []string{"/hooks", "/hooks/pusher", "/hooks/pus", "/", "/a/hooks/push", "/hooks/../push", "/a/../b/hooks/push",
		"/API/hooks/push", "/api//hooks/push", "/shop/hooks;a=b/push", "/hooks/x/../pusher", "/hooks/pushe\u0301", "/hooks;/a/push"} {
		r.passes("GET " + path + " HTTP/1.1\r\nHost: app\r\nce-type: a\r\nwebhook-id: b\r\n\r\n")
	}
}

// The app may receive other people's webhooks.
func TestForgedWebhookHeaders_PassOnOtherPaths(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Webhook.URL = "http://app:3000/hooks" })
	lines := "ce-type: pushcart.message\r\nCE-ID: 1\r\nwebhook-id: 2\r\nwebhook-signature: v1,x\r\nWebhook-Timestamp: 3\r\n"
	r.sends("POST /other HTTP/1.1\r\nHost: app\r\n" + lines + "Content-Length: 0\r\n\r\n")
	if head := r.asked().head(); !strings.Contains(head, "\r\n"+lines) {
		t.Errorf("head %q", head)
	}
}

func TestWebhookWall_OfAURLWithEvent(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Webhook.URL = "http://app:3000/hooks/{event}" })
	r.sends("POST /hooks/connect HTTP/1.1\r\nHost: app\r\n\r\n").wants("HTTP/1.1 404 ")
	r.sends("POST /hooks HTTP/1.1\r\nHost: app\r\n\r\n").wants("HTTP/1.1 404 ")
	r.passes("GET /hooksx HTTP/1.1\r\nHost: app\r\n\r\n")

	r = newRig(t, func(c *config.Config) { c.Webhook.URL = "http://app:3000/on-{event}" })
	r.sends("POST /on-connect HTTP/1.1\r\nHost: app\r\n\r\n").wants("HTTP/1.1 404 ")
	r.sends("POST /ON-%63onnect/x HTTP/1.1\r\nHost: app\r\n\r\n").wants("HTTP/1.1 404 ")
	r.passes("GET /on HTTP/1.1\r\nHost: app\r\n\r\n")
}

func TestWebhookWall_IsAbsentWithPublicPath(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Webhook.URL, c.Webhook.PublicPath = "http://app:3000/hooks", true })
	r.passes("POST /hooks HTTP/1.1\r\nHost: app\r\n\r\n")
}

// Its head used to stay unread: one request was answered for ever.
func TestWebhookWall_AnswersOnceAndTheConnectionGoesOn(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Webhook.URL = "http://app:3000/hooks" })
	c := r.sends("POST /hooks HTTP/1.1\r\nHost: app\r\n\r\n")
	if _, body, _ := strings.Cut(c.head(), "\r\n\r\n"); body != "" {
		t.Fatal(body)
	}
	c.wants(`{"error":{"code":"not_found","message":"no such path"}}`)
	c.stays()
	c.send(get)
	b := r.asked()
	b.head()
	b.send(ok)
	c.wants(ok)
}

// A client of HTTP/1.0 that wants its connection kept would wait for its end: our
// own answers do not say that it is.
func TestOwnAnswers_EndConnectionsOfHTTP10(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Webhook.URL = "http://app/hooks" })
	for _, path := range []string{"/hooks", "/"} {
		c := r.sends("GET " + path + " HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		if path == "/" {
			b := r.asked()
			b.head()
			_ = b.conn.Close()
		}
		if got, err := c.rest(); err != nil || !strings.Contains(got, "\r\nConnection: close\r\n") {
			t.Errorf("%s: got %q and %v", path, got, err)
		}
	}
}

// A fault of whoever takes an upgrade ends that connection and no other.
func TestWebSocketPath_APanicOfTheHandshakeEndsItsConnectionOnly(t *testing.T) {
	r := newRig(t, func(*config.Config) {})
	r.panics.Store(true)
	c := r.sends("GET /_push" + handshake)
	c.ends()
	r.panics.Store(false)
	r.takes("GET /_push"+handshake, "/_push")
	r.passes("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
}
