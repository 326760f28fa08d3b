package ws

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// loglines keeps what is logged, as JSON.
type loglines struct{ testkit.Log }

// take returns the lines and forgets them.
func (l *loglines) take(t *testing.T) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(l.Take()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if m["msg"] != "webhook failed" { // which says the same of the webhook
			lines = append(lines, m)
		}
	}
	return lines
}

// newLoggedNode is a node whose refusals are read.
func newLoggedNode(t *testing.T, change func(*config.Config)) (*node, *loglines) {
	t.Helper()
	lines := &loglines{}
	return newNodeOf(t, roads[0], change, parts{log: lines}), lines
}

func TestRefusal_TheLogNamesTheSettingToLookAt(t *testing.T) {
	f := func(status int, setting, reason string, change func(*config.Config), header ...string) {
		t.Helper()
		n, log := newLoggedNode(t, change)
		for range 3 { // one line however often
			if resp, body := n.ask(t, header...); resp.StatusCode != status {
				t.Errorf("%q: got %d %s, want %d", header, resp.StatusCode, body, status)
			}
		}
		lines := log.take(t)
		if len(lines) != 1 {
			t.Errorf("%q: got %v, want one line", header, lines)
			return
		}
		l := lines[0]
		got, _ := l["reason"].(string)
		if l["level"] != "WARN" || l["msg"] != "handshake refused" || l["path"] != "/_push" || l["status"] != float64(status) ||
			l["setting"] != setting || !strings.Contains(got, reason) || l["ip"] != "127.0.0.1" {
			t.Errorf("%q: got %v, want %d, %q, %q", header, l, status, setting, reason)
		}
	}
	jwt := func(c *config.Config) {
		c.Auth.Anonymous, c.Auth.JWT.Secret = false, tokenSecret
		c.Auth.JWT.Issuer, c.Auth.JWT.Audience = "us", "them"
	}
	bearer := "+Authorization: Bearer " + annsToken(tokenSecret)
	f(401, "auth, websocket.paths", "nobody is let in", func(c *config.Config) { c.Auth.Anonymous = false })
	f(401, "auth.jwt.sources, websocket.paths", "no token", jwt)
	f(401, "auth.jwt.issuer", "wrong issuer", jwt, bearer)
	f(401, "auth.jwt", "signature", jwt, "+Authorization: Bearer "+annsToken("x"))
	f(401, "auth.jwt.audience", "wrong audience", func(c *config.Config) { jwt(c); c.Auth.JWT.Issuer = "" }, bearer)
	f(403, "websocket.allowed_origins", `Origin is "http://evil", Host is "app"`, nil, "+Origin: http://evil")
	f(403, "websocket.allowed_origins, trusted_proxies", "Host is", nil, "+Origin: https://public", "+X-Forwarded-Host: public")
	f(431, "webhook.forward_headers.message", "4 KiB", func(c *config.Config) {
		c.Webhook.ForwardHeaders.Message = []string{"X-Much"}
	}, "+X-Much: "+strings.Repeat("x", 4<<10))

	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) }))
	defer app.Close()
	f(403, "auth.forward.url, websocket.paths", "answered 403", func(c *config.Config) {
		c.Auth.Anonymous = false
		c.Auth.Forward.URL, c.Auth.Forward.User = app.URL, "/id"
	})
	f(503, "auth.forward.url", "connection refused", func(c *config.Config) {
		c.Auth.Forward.URL, c.Auth.Forward.User = "http://127.0.0.1:1", "/id"
	})
	f(403, "webhook.url, webhook.secrets", "the connect webhook answered 403: it knows nobody by this handshake, or the signature is wrong", func(c *config.Config) {
		c.Webhook.URL, c.Webhook.Events = app.URL, []string{"connect"}
	})
	f(503, "webhook.url, webhook.on_error.connect", "connection refused", func(c *config.Config) {
		c.Webhook.URL, c.Webhook.Events = "http://127.0.0.1:1", []string{"connect"}
	})
}

// A newcomer's messages went nowhere, and the log did not say so.
func TestConn_LogsOnceThatNobodyIsAskedAboutMessages(t *testing.T) {
	f := func(want int, change func(*config.Config)) {
		t.Helper()
		n, log := newLoggedNode(t, change)
		for range 2 {
			c, _ := n.connect(t, "", nil)
			c.run(send(oneWrite, append(say("SECRET"), ping("p")...)))
			for {
				r, err := c.next()
				if err != nil {
					t.Fatal(err)
				}
				if r == aPong("p") {
					break
				}
			}
		}
		lines := log.take(t)
		if len(lines) != want || want > 0 && (lines[0]["level"] != "WARN" || lines[0]["setting"] != "webhook.url, webhook.events") {
			t.Errorf("got %v, want %d lines", lines, want)
		}
	}
	f(0, nil) // the test's backend is asked
	f(1, func(c *config.Config) { c.Webhook.URL = "" })
	f(1, func(c *config.Config) { c.Webhook.Events = []string{"disconnected"} })
}

func TestRefusal_TheLogNamesTheLimit(t *testing.T) {
	f := func(status int, setting string, change func(*config.Config), header ...string) {
		t.Helper()
		n, log := newLoggedNode(t, change)
		c, _ := n.connect(t, "", nil)
		resp, body := n.ask(t, header...)
		lines := log.take(t)
		if resp.StatusCode != status || len(lines) != 1 || lines[0]["setting"] != setting {
			t.Errorf("%s: got %d %s and %v", setting, resp.StatusCode, body, lines)
		}
		_ = c.conn.Close()
	}
	f(503, "limits.connections", func(c *config.Config) { c.Limits.Connections = 1 })
	f(429, "limits.connections_per_ip", func(c *config.Config) { c.Limits.ConnectionsPerIP = 1 })
	f(429, "limits.connections_per_ip, trusted_proxies", func(c *config.Config) { c.Limits.ConnectionsPerIP = 1 }, "+X-Forwarded-For: 192.0.2.1")
	f(429, "limits.connect_rate_per_ip", func(c *config.Config) { c.Limits.ConnectRatePerIP = 0.1 })
	f(429, "limits.connections_per_user", func(c *config.Config) {
		c.Limits.ConnectionsPerUser = 1
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-User", "ann") }))
		t.Cleanup(app.Close)
		c.Auth.Forward.URL, c.Auth.Forward.User = app.URL, "header:X-User"
	})
}

// A client can tell what to ask its operator for.
func TestRefusal_TellsTheClientWhatToLookAt(t *testing.T) {
	n, _ := newLoggedNode(t, func(c *config.Config) { c.Auth.Anonymous = false })
	f := func(want string, header ...string) {
		t.Helper()
		if _, body := n.ask(t, header...); !strings.Contains(string(body), want) {
			t.Errorf("%q: got %s, want %q", header, body, want)
		}
	}
	f("websocket.paths")
	f(`Origin \"http://evil\" is not allowed for Host \"app\"`, "+Origin: http://evil")
}

func TestRefusal_TokensAreNeverLogged(t *testing.T) {
	n, log := newLoggedNode(t, func(c *config.Config) {
		c.Auth.Anonymous, c.Auth.JWT.Secret = false, tokenSecret
		c.Auth.JWT.Sources = []string{"header", "query:access_token", "cookie:sid", "protocol"}
	})
	for _, with := range []string{
		"+Authorization: Bearer S3CRET", "GET /_push?access_token=S3CRET HTTP/1.1", "+Cookie: sid=S3CRET", "+Sec-WebSocket-Protocol: x, bearer.S3CRET",
	} {
		if resp, _ := n.ask(t, with); resp.StatusCode != 401 {
			t.Errorf("%q: got %d", with, resp.StatusCode)
		}
	}
	if lines := log.take(t); len(lines) != 1 || strings.Contains(lines[0]["reason"].(string)+lines[0]["path"].(string), "S3CRET") {
		t.Errorf("got %v", lines)
	}
}

// A browser fails a handshake that selects none of what it offered, and the server
// said nothing.
func TestHandshake_UnknownSubprotocolsAreLogged(t *testing.T) {
	n, log := newLoggedNode(t, nil)
	n.ask(t, "+Sec-WebSocket-Protocol: chat, bearer.S3CRET")
	n.ask(t, "+Sec-WebSocket-Protocol: chat2")
	lines := log.take(t)
	if len(lines) != 1 || lines[0]["setting"] != "websocket.subprotocols" || lines[0]["offered"] != `"chat"` {
		t.Errorf("got %v", lines)
	}
}
