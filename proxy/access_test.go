package proxy_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// accessLine is what a line of the access log says.
type accessLine struct {
	Msg, Node, IP, Method, Host, Path, Query, End string
	RequestID                                     string   `json:"request_id"`
	Status                                        int      `json:"status"`
	In                                            int      `json:"bytes_in"`
	Out                                           int      `json:"bytes_out"`
	Duration                                      float64  `json:"duration_ms"`
	Backend                                       *float64 `json:"backend_ms"`
}

func logsAccess(mode string) func(*config.Config) {
	return func(c *config.Config) { c.Log.Access, c.Log.Format = mode, "json" }
}

func trusting(c *config.Config) {
	c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// logged waits for the next line.
func (r *rig) logged() (l accessLine) {
	r.t.Helper()
	testkit.Eventually(r.t, "a line of the access log", func() bool { return r.access.Lines() > 0 })
	text := r.access.Take()
	if strings.Count(text, "\n") != 1 {
		r.t.Fatalf("want one line, got\n%s", text)
	}
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		r.t.Fatalf("%v in %s", err, text)
	}
	return l
}

func TestAccess_OneLineForEachRequest(t *testing.T) {
	r := newRig(t, logsAccess("all"))
	const asks = "POST /a/b?access_token=secret HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer secret\r\nCookie: s=secret\r\n" +
		"Referer: http://x/secret\r\nX-Request-Id: mine\r\nX-Forwarded-For: 9.9.9.9\r\nContent-Length: 5\r\n\r\n"
	c := r.sends(asks + "hel")
	b := r.asked()
	b.head()
	b.wants("hel")
	c.send("lo")
	b.wants("lo")
	b.send(ok)
	c.wants(ok)
	got := r.logged()
	if got.Msg != "request" || got.Node != "n1" || got.IP != "127.0.0.1" || got.Method != "POST" || got.Host != "app.example" ||
		got.Path != "/a/b" || got.Query != "" || got.Status != 200 || got.End != "" {
		t.Errorf("got %+v", got)
	}
	if got.In != len(asks)+5 || got.Out != len(ok) {
		t.Errorf("%d bytes in and %d out, want %d and %d", got.In, got.Out, len(asks)+5, len(ok))
	}
	if got.Backend == nil || *got.Backend <= 0 || *got.Backend > got.Duration {
		t.Errorf("backend %v of %v ms", got.Backend, got.Duration)
	}
	if id, err := uuid.Parse(got.RequestID); err != nil || id.Version() != 7 {
		t.Errorf("id %q: %v", got.RequestID, err)
	}
	c.send(get) // the next one of the connection counts for itself
	b.head()
	b.send(ok)
	c.wants(ok)
	if next := r.logged(); next.In != len(get) || next.Out != len(ok) || next.Method != "GET" || next.RequestID == got.RequestID {
		t.Errorf("the next: %+v", next)
	}
}

func TestAccess_ATrustedFrontNamesClientHostAndRequest(t *testing.T) {
	const asks = "GET / HTTP/1.1\r\nHost: inner\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: app.example\r\nX-Request-Id: from-the-front\r\n\r\n"
	f := func(who func(*config.Config), asks, ip, host, id string) {
		t.Helper()
		r := newRig(t, logsAccess("all"), who)
		c := r.sends(asks)
		b := r.asked()
		if head := b.head(); strings.Contains(asks, "X-Request-Id: ") != strings.Contains(head, "X-Request-Id: ") {
			t.Errorf("the backend got %q", head)
		}
		b.send(ok)
		c.wants(ok)
		if got := r.logged(); got.IP != ip || got.Host != host || (got.RequestID == "from-the-front") != (id != "") {
			t.Errorf("got %+v", got)
		}
	}
	f(trusting, asks, "192.0.2.7", "app.example", "from-the-front")
	f(func(*config.Config) {}, asks, "127.0.0.1", "inner", "")
	f(trusting, strings.Replace(asks, "from-the-front", "from the front", 1), "192.0.2.7", "app.example", "")
}

func TestRequestID_GoesToTheBackendWhereConfigured(t *testing.T) {
	asks := func(line string) string { return "GET / HTTP/1.1\r\nHost: app\r\n" + line + "\r\n" }
	f := func(sends string, want func(id string) bool, change ...func(*config.Config)) {
		t.Helper()
		r := newRig(t, append(change, func(c *config.Config) { c.Backend.RequestID = true })...)
		c := r.sends(sends)
		b := r.asked()
		head := b.head()
		b.send(ok)
		c.wants(ok)
		_, id, _ := strings.Cut(head, "\r\nX-Request-Id: ")
		id, _, _ = strings.Cut(id, "\r\n")
		if strings.Count(strings.ToLower(strings.ReplaceAll(head, "_", "-")), "x-request-id") != 1 || !want(id) {
			t.Errorf("%q: the backend got %q", sends, head)
		}
	}
	made := func(id string) bool { _, err := uuid.Parse(id); return err == nil }
	kept := func(id string) bool { return id == "front-1" }
	f(asks(""), made)
	f(asks("X-Request-Id: front-1\r\n"), made)
	f(asks("x-request-id: front-1\r\nX_Request_ID: other\r\n"), made)
	f(asks("X-Request-Id: front-1\r\n"), kept, trusting)
	f(asks("X-Request-Id: front-1\r\nX-Request-Id: other\r\n"), kept, trusting)
	f(asks("X-Request-Id: no good id\r\n"), made, trusting)
	f(asks(""), made, logsAccess("all"))
}

func TestAccess_WhatIsRefusedIsLogged(t *testing.T) {
	f := func(sends string, status int, method, path string) {
		t.Helper()
		r := newRig(t, logsAccess("errors"), func(c *config.Config) { c.Webhook.URL = "http://app/hooks" })
		c := r.sends(sends)
		c.head()
		got := r.logged()
		if got.Status != status || got.Method != method || got.Path != path || got.Out == 0 || got.IP != "127.0.0.1" || got.RequestID == "" {
			t.Errorf("%q: got %+v", sends, got)
		}
	}
	f("GET /hooks/x HTTP/1.1\r\nHost: app\r\n\r\n", 404, "GET", "/hooks/x")
	f("TRACE / HTTP/1.1\r\nHost: app\r\n\r\n", 405, "TRACE", "/")
	f("GET /_push HTTP/1.0\r\nHost: app\r\nUpgrade: websocket\r\n\r\n", 400, "GET", "/_push")
	f("GET / HTTP/1.1\r\n\r\n", 400, "", "")
	f("\x16\x03\x01\x00\x00", 400, "", "")
}

func TestAccess_ErrorsAreStatusesAndWhatBrokeOff(t *testing.T) {
	r := newRig(t, logsAccess("errors"))
	answer := func(text string) (c, b *peer) {
		t.Helper()
		c = r.sends(get)
		b = r.asked()
		b.head()
		b.send(text)
		return c, b
	}
	c, b := answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	c.head()
	if got := r.logged(); got.Status != 404 || got.End != "" {
		t.Errorf("404: got %+v", got)
	}
	_ = b.conn.Close()
	c, b = answer(ok) // is not logged
	c.wants(ok)
	_ = b.conn.Close()
	c, b = answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
	c.wants("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
	_ = b.conn.Close()
	if got := r.logged(); got.Status != 200 || got.End != "backend_broke" {
		t.Errorf("half an answer: got %+v", got)
	}
	c = r.sends(get)
	b = r.asked()
	b.head()
	_ = c.conn.Close()
	if got := r.logged(); got.Status != 0 || got.End != "client_gone" || got.Out != 0 || got.Backend != nil {
		t.Errorf("a client that leaves before the answer: got %+v", got)
	}
	c, b = answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
	c.head()
	_ = c.conn.Close()
	if got := r.logged(); got.Status != 200 || got.End != "client_gone" || got.Out == 0 {
		t.Errorf("a client that leaves within it: got %+v", got)
	}
	_ = b.conn.Close()
	_ = r.backend.Close()
	r.sends(get).head()
	if got := r.logged(); got.Status != 502 || got.Backend != nil {
		t.Errorf("without a backend: got %+v", got)
	}
}

func TestAccess_WhatTheEndOfTheProcessCutsSaysSo(t *testing.T) {
	r := newRig(t, logsAccess("errors"))
	c := r.sends(get)
	b := r.asked()
	b.head()
	const part = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
	b.send(part)
	c.wants(part)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.server.Shutdown(ctx); err == nil {
		t.Error("nothing was cut")
	}
	if got := r.logged(); got.Status != 200 || got.End != "cut" || got.Out != len(part) {
		t.Errorf("got %+v", got)
	}
}

func TestAccess_ATunnelIsLoggedAtItsEndWithItsBytes(t *testing.T) {
	const asks = "GET /other HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	const switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	r := newRig(t, logsAccess("all"))
	c := r.sends(asks)
	b := r.asked()
	b.head()
	b.send(switched)
	c.wants(switched)
	c.send("12345")
	b.wants("12345")
	b.send("123")
	c.wants("123")
	if r.access.Lines() > 0 {
		t.Error("it is logged before its end")
	}
	_ = c.conn.Close()
	_ = b.conn.Close()
	if got := r.logged(); got.Status != 101 || got.End != "" || got.In != len(asks)+5 || got.Out != len(switched)+3 {
		t.Errorf("got %+v, want %d bytes in and %d out", got, len(asks)+5, len(switched)+3)
	}
}

func TestAccess_QueryStringsHaveNoTokens(t *testing.T) {
	r := newRig(t, logsAccess("all"), func(c *config.Config) { c.Log.Query = true })
	c := r.sends("GET /x?a=1&access_token=secret&b=%22 HTTP/1.1\r\nHost: app\r\n\r\n")
	b := r.asked()
	if head := b.head(); !strings.Contains(head, "access_token=secret") {
		t.Errorf("the backend got %q", head)
	}
	b.send(ok)
	c.wants(ok)
	if got := r.logged(); got.Query != "a=1&access_token=[redacted]&b=%22" {
		t.Errorf("got %q", got.Query)
	}
}

// A handshake is logged by who answers it; here it only gets its name.
func TestAccess_AHandshakeThatIsHandedOverHasAnID(t *testing.T) {
	r := newRig(t, logsAccess("all"), trusting)
	r.sends("GET /_push HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Request-Id: front-1\r\n\r\n")
	if got := <-r.taken; got.from.RequestID != "front-1" {
		t.Errorf("got %q", got.from.RequestID)
	}
	if r.access.Lines() > 0 {
		t.Errorf("it is logged here too: %s", r.access.String())
	}
}

func TestAccess_ARequestUnderWayKeepsItsFormat(t *testing.T) {
	r := newRig(t, logsAccess("all"))
	c := r.sends(get)
	b := r.asked()
	b.head()
	r.apply(func(*config.Config) {})
	b.send(ok)
	c.wants(ok)
	r.logged()
	c.send(get)
	b.head()
	b.send(ok)
	c.wants(ok)
	c.send(get)
	b.head() // so that the one before is over
	if r.access.Lines() > 0 {
		t.Errorf("it is logged although access is off: %s", r.access.String())
	}
}
