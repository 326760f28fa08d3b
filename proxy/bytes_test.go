package proxy_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
)

// forwarding is what the server adds to a request of a client on loopback.
func forwarding(host string) string {
	return "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: " + host + "\r\n"
}

func TestRequestTarget_ReachesBackendByteForByte(t *testing.T) {
	r := newRig(t)
	c := r.dial()
	var b *peer
	for _, target := range []string{
		"/", "/a//b", "//", "/a/../b", "/./a", "/a%2fb", "/a%2Fb", "/%77s", "//ws", "/x/../ws", "/ws;a", "/ws/",
		"/a;b=c", "/?", "/a?", "/a?b=c&d", "/a??", "/a?b=%zz", "/%zz", "/caf\xc3\xa9", "/\xff", "/a#b", "/a|b{c}\"<>^`\\",
		"/" + strings.Repeat("long", 2000),
	} {
		c.send("GET " + target + " HTTP/1.1\r\nHost: app\r\n\r\n")
		if b == nil {
			b = r.asked()
		}
		b.wants("GET " + target + " HTTP/1.1\r\nHost: app\r\n" + forwarding("app") + "\r\n")
		b.send(ok)
		c.wants(ok)
	}
}

func TestRequestTarget_OtherForms(t *testing.T) {
	f := func(line, host, wantLine, wantHost string) {
		t.Helper()
		r := newRig(t)
		r.sends(line + "\r\nHost: " + host + "\r\n\r\n")
		b := r.asked()
		b.wants(wantLine + "\r\nHost: " + wantHost + "\r\n" + forwarding(wantHost) + "\r\n")
	}
	f("GET http://other/a?b HTTP/1.1", "app", "GET /a?b HTTP/1.1", "other")
	f("GET HTTPS://other:81 HTTP/1.1", "app", "GET / HTTP/1.1", "other:81")
	f("GET http://other?x HTTP/1.1", "app", "GET /?x HTTP/1.1", "other")
	f("OPTIONS * HTTP/1.1", "app", "OPTIONS * HTTP/1.1", "app")
	f("OPTIONS http://other HTTP/1.1", "app", "OPTIONS * HTTP/1.1", "other")
}

// HTTP/1.0 knows no Host; HTTP/1.1 allows an empty one, which passes as it is.
func TestHost_ThatIsMissingOrEmpty(t *testing.T) {
	f := func(request, host string) {
		t.Helper()
		r := newRig(t)
		host = strings.ReplaceAll(host, "BACKEND", r.backend.Addr().String())
		r.sends(request)
		r.asked().wants("GET / HTTP/1.1\r\n" + host + "\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\r\n")
	}
	f("GET / HTTP/1.0\r\n\r\n", "Host: BACKEND")
	f("GET / HTTP/1.0\r\nHost:\r\n\r\n", "Host:")
	f("GET / HTTP/1.1\r\nHost:\r\n\r\n", "Host:")
	f("GET / HTTP/1.1\r\nHost: \t\r\n\r\n", "Host: \t")
}

func TestHeaders_KeepCaseOrderRepeatsAndEmptyValues(t *testing.T) {
	r := newRig(t)
	lines := "hOsT: app\r\nX-A: 1\r\nx-a:2\r\nCookie: a=b\r\nX-Empty:\r\nX-Wide:   v \t\r\nX-A: 3\r\nCookie: c=d\r\n" +
		"Forwarded: for=1.2.3.4\r\nX-Forwarded-Port: 99\r\nX-Utf: \xc3\xa9\r\nX-Real-IP: 9.9.9.9\r\nExpires: 0\r\n"
	c := r.sends("GET / HTTP/1.1\r\n" + lines + "\r\n")
	b := r.asked()
	b.wants("GET / HTTP/1.1\r\n" + lines + forwarding("app") + "\r\n")
	answer := "HTTP/1.1 200 Really Fine \xc3\xa9\r\nset-cookie: a=b\r\nX-Empty:\r\nSet-Cookie: c=d\r\nETag: \"1\"\r\n" +
		"SET-COOKIE: e=f\r\ncontent-length: 2\r\nServer: x\r\n\r\nok"
	b.send(answer)
	c.wants(answer)
	c.stays()
}

func TestHeaders_NothingIsAdded(t *testing.T) {
	r := newRig(t)
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send(ok)
	c.wants(ok)
	c.stays()
}

func TestHeaders_UpTo64KiB(t *testing.T) {
	r := newRig(t)
	start := "GET / HTTP/1.1\r\nHost: app\r\nX: "
	c := r.sends(start + strings.Repeat("a", 64<<10-len(start)-4) + "\r\n\r\n")
	b := r.asked()
	if got := b.head(); len(got) != 64<<10+len(forwarding("app")) {
		t.Errorf("head of %d bytes at the backend", len(got))
	}
	start = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: "
	answer := start + strings.Repeat("b", 64<<10-len(start)-4) + "\r\n\r\nok"
	b.send(answer)
	c.wants(answer)
}

func TestHeaders_Past64KiB(t *testing.T) {
	r := newRig(t)
	c := r.sends("GET / HTTP/1.1\r\nHost: app\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n")
	c.wants("HTTP/1.1 431 ")
	r.untouched()

	c = r.sends(get)
	b := r.asked()
	b.head()
	go func() {
		_, _ = b.conn.Write([]byte("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("b", 64<<10) + "\r\n\r\n"))
	}()
	c.wants("HTTP/1.1 502 ")
}

func TestHopByHopHeaders_StayBehind(t *testing.T) {
	f := func(sent, want string) {
		t.Helper()
		r := newRig(t)
		r.sends("GET / HTTP/1.1\r\nHost: app\r\n" + sent + "\r\n")
		r.asked().wants("GET / HTTP/1.1\r\nHost: app\r\n" + want + forwarding("app") + "\r\n")
	}
	f("Connection: close\r\nX: 1\r\n", "X: 1\r\n")
	f("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nX: 1\r\n", "X: 1\r\n")
	f("Connection: X-Drop, x-two\r\nX-Drop: 1\r\nX: 1\r\nX-TWO: 2\r\n", "X: 1\r\n")
	f("X-Drop: 1\r\nConnection: a\r\nConnection: x-drop\r\nA: 1\r\n", "")
	f("Connection: Host, Content-Length\r\nContent-Length: 0\r\n", "Content-Length: 0\r\n")
	f("Connection: X-Forwarded-For, Via\r\nVia: 1.0 first\r\n", "")
	f("Via: 1.0 first\r\n", "Via: 1.0 first\r\n")
	f("Proxy-Authorization: Basic x\r\nProxy-Authenticate: Basic\r\n", "")
	f("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAA\r\n", "")
	f("Upgrade: websocket\r\n", "")
	f("TE: gzip\r\n", "")
	f("Trailer: X-Sum\r\n", "Trailer: X-Sum\r\n")
}

func TestHopByHopHeaders_TEKeepsTrailers(t *testing.T) {
	r := newRig(t)
	r.sends("GET / HTTP/1.1\r\nHost: app\r\nTE: gzip, trailers\r\nConnection: TE\r\n\r\n")
	head := r.asked().head()
	if !strings.Contains(head, "\r\nTE: trailers\r\n") || strings.Contains(head, "gzip") {
		t.Errorf("head at the backend: %q", head)
	}
}

func TestHopByHopHeaders_OfResponsesStayBehind(t *testing.T) {
	f := func(sent, want string) {
		t.Helper()
		r := newRig(t)
		c := r.sends(get)
		b := r.asked()
		b.head()
		b.send("HTTP/1.1 200 OK\r\n" + sent + "Content-Length: 2\r\n\r\nok")
		c.wants("HTTP/1.1 200 OK\r\n" + want + "Content-Length: 2\r\n\r\nok")
		c.stays() // the backend's Connection is not the client's
	}
	f("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", "")
	f("Connection: close\r\n", "")
	f("Connection: X-Drop\r\nX-Drop: 1\r\nX: 2\r\n", "X: 2\r\n")
	f("Proxy-Authenticate: Basic\r\nUpgrade: h2\r\n", "")
	f("Via: 1.1 cdn\r\nDate: now\r\n", "Via: 1.1 cdn\r\nDate: now\r\n")
}

func TestForwardingHeaders_OfStrangersAreReplaced(t *testing.T) {
	r := newRig(t)
	r.sends("GET / HTTP/1.1\r\nHost: app\r\nX-Forwarded-For: 1.1.1.1\r\nx-forwarded-proto: https\r\nX-Forwarded-Host: evil\r\n\r\n")
	r.asked().wants("GET / HTTP/1.1\r\nHost: app\r\n" + forwarding("app") + "\r\n")
}

// CGI and its heirs read "_" and "-" as the same: a stranger's X_Forwarded_For would
// stand beside ours, or in its place.
func TestForwardingHeaders_WithUnderscoresAreNotForwarded(t *testing.T) {
	f := func(change ...func(*config.Config)) {
		t.Helper()
		r := newRig(t, change...)
		r.sends("GET / HTTP/1.1\r\nHost: app\r\nX_Forwarded_For: 1.1.1.1\r\nx-forwarded_proto: https\r\nX_FORWARDED-HOST: evil\r\nX_Other: 1\r\n\r\n")
		r.asked().wants("GET / HTTP/1.1\r\nHost: app\r\nX_Other: 1\r\n" + forwarding("app") + "\r\n")
	}
	f()
	f(func(c *config.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
}

func TestForwardingHeaders_OfTrustedProxiesAreKeptAndAppendedTo(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	r.sends("GET / HTTP/1.1\r\nHost: app\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n" +
		"X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n\r\n")
	r.asked().wants("GET / HTTP/1.1\r\nHost: app\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.1\r\n" +
		"X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n\r\n")
	r.next()
	r.sends("GET / HTTP/1.1\r\nHost: app\r\nX-Forwarded-Proto: https, http\r\nX-Forwarded-Host: shop.example\r\nX-Forwarded-Host: inner\r\n\r\n")
	r.asked().wants("GET / HTTP/1.1\r\nHost: app\r\nX-Forwarded-For: 127.0.0.1\r\n" +
		"X-Forwarded-Proto: https, http\r\nX-Forwarded-Host: shop.example, inner\r\n\r\n")
}

func TestHost_IsTheBackendsWithoutPreserveHost(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Backend.PreserveHost = false })
	r.sends("GET / HTTP/1.1\r\nA: 1\r\nHost: app\r\n\r\n")
	r.asked().wants("GET / HTTP/1.1\r\nA: 1\r\nHost: " + r.backend.Addr().String() + "\r\n" + forwarding("app") + "\r\n")
}

// padded is get with a head of exactly size bytes.
func padded(size int) string {
	const before = "GET / HTTP/1.1\r\nHost: app\r\nX: "
	return before + strings.Repeat("x", size-len(before)-4) + "\r\n\r\n"
}

func TestRequest_IsReadAtOnceBehindOneThatFillsTheBuffer(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Client.IdleTimeout = 900 * time.Millisecond })
	got := r.answering()
	for _, size := range []int{8<<10 - 1, 8 << 10, 8<<10 + 1, 16 << 10} {
		c := r.sends(get)
		c.wants(ok)
		c.stays() // it waits for the next by now
		c.send(padded(size) + get)
		c.wants(ok + ok)
		for range 3 {
			<-got
		}
		_ = c.conn.Close()
	}
}

func TestClient_ThatSendsItsEndWithItsRequestIsLetGoAtOnce(t *testing.T) {
	r := newRig(t)
	r.answering()
	for range 3 {
		c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 1\r\n\r\nx")
		c.wants(ok)
		c.stays() // it waits for the next by now
		c.send(get)
		_ = c.conn.(*net.TCPConn).CloseWrite()
		c.wants(ok)
		answered := time.Now()
		c.ends()
		if took := time.Since(answered); took > 850*time.Millisecond { // it would be parked after a second, and found out then
			t.Errorf("it ended %v after its answer", took)
		}
	}
}
