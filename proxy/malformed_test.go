package proxy_test

import (
	"strings"
	"testing"
)

// refused sends a request that must be answered with status and closed without
// reaching the backend.
func refused(t *testing.T, status, request string) {
	t.Helper()
	r := newRig(t)
	c := r.sends(request)
	got, _ := c.rest()
	if !strings.HasPrefix(got, "HTTP/1.1 "+status+" ") {
		t.Errorf("%.80q: got %.200q, want %s", request, got, status)
	}
	if strings.Count(got, "\r\n\r\n") != 1 || !strings.Contains(got, "\r\nConnection: close\r\n") ||
		!strings.Contains(got, "\r\nContent-Type: application/json\r\n") || !strings.Contains(got, `{"error":{"code":"`) {
		t.Errorf("%.80q: answer %q", request, got)
	}
	r.untouched()
}

func TestMalformedHead_IsRefused(t *testing.T) {
	f := func(status, request string) { t.Helper(); refused(t, status, request) }
	// Request line.
	f("400", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n")
	f("400", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", " GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", "GET / HTTP/1.1\nHost: a\n\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\n\r\n")
	f("400", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", "GET / http/1.1\r\nHost: a\r\n\r\n")
	f("400", "GET / HTTP/1.10\r\nHost: a\r\n\r\n")
	f("400", "GET /\r\n\r\n")
	f("400", "GET\r\n\r\n")
	f("505", "GET / HTTP/2.0\r\nHost: a\r\n\r\n")
	f("400", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	f("400", "GET * HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", "GET a HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n")
	f("400", "GET http://%61pp/ HTTP/1.1\r\nHost: a\r\n\r\n")
	// Host.
	f("400", "GET / HTTP/1.1\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n")
	// Header lines.
	f("400", "GET / HTTP/1.1\r\nHost : a\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX\t: 1\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\n X: 1\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\tfolded\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\n Host: a\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX(: 1\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX\xe9: 1\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x0bb\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\n")
	f("400", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\r\n\r\n")
}

func TestAmbiguousFraming_IsRefused(t *testing.T) {
	f := func(status, lines, body string) {
		t.Helper()
		refused(t, status, "POST / HTTP/1.1\r\nHost: a\r\n"+lines+"\r\n"+body)
	}
	chunked := "0\r\n\r\n"
	f("400", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunked)
	f("400", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", chunked)
	f("400", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello")
	f("400", "Content-Length: 5\r\nContent-Length: 5\r\n", "hello")
	f("400", "Content-Length: 5, 5\r\n", "hello")
	f("400", "Content-Length: +5\r\n", "hello")
	f("400", "Content-Length: -5\r\n", "hello")
	f("400", "Content-Length: 0x5\r\n", "hello")
	f("400", "Content-Length: 5 5\r\n", "hello")
	f("400", "Content-Length:\r\n", "")
	f("400", "Content-Length: 99999999999999999999\r\n", "")
	f("400", "Content-Length : 5\r\n", "hello")
	f("400", "Content_Length : 5\r\n", "hello")
	f("400", "Transfer-Encoding : chunked\r\n", chunked)
	f("400", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunked)
	f("400", "Transfer-Encoding: chunked, chunked\r\n", chunked)
	f("400", "Transfer-Encoding: chunked, identity\r\n", chunked)
	f("501", "Transfer-Encoding: identity\r\n", chunked)
	f("501", "Transfer-Encoding: gzip, chunked\r\n", chunked)
	f("501", "Transfer-Encoding: xchunked\r\n", chunked)
	f("400", "Transfer-Encoding: \"chunked\"\r\n", chunked)
	f("400", "Transfer-Encoding: chunked;a=b\r\n", chunked)
	f("400", "Transfer-Encoding: \x0bchunked\r\n", chunked)
	f("400", "Transfer-Encoding:\r\n", chunked)
	refused(t, "400", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"+chunked)
}

// badChunks are bodies that are at fault after a good head.
var badChunks = []string{
	"5 \r\nhello\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n",
	"-5\r\nhello\r\n0\r\n\r\n", "\r\nhello\r\n0\r\n\r\n", ";a\r\nhello\r\n0\r\n\r\n", "g\r\n", " 5\r\nhello\r\n0\r\n\r\n",
	"5\r\nhelloX0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n",
	"5;a\rb\r\nhello\r\n0\r\n\r\n", "ffffffffffffffff\r\n", "10000000000000005\r\nhello\r\n0\r\n\r\n",
	"0\r\nX: 1\n\r\n", "0\r\nX : 1\r\n\r\n", "0\r\nX: 1\r\n fold\r\n\r\n", "0\r\n\n", "0\r\nX\r\n\r\n", "0\r\nX: \x00\r\n\r\n",
	"5;" + strings.Repeat("a", 5000) + "\r\nhello\r\n0\r\n\r\n",
}

func TestBadChunks_AreRefusedBeforeAnythingIsSent(t *testing.T) {
	for _, body := range badChunks {
		refused(t, "400", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+body)
	}
}

func TestBadChunks_AfterAGoodHead_EndTheBackendConnection(t *testing.T) {
	for _, body := range badChunks {
		r := newRig(t)
		c := r.sends("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
		b := r.asked()
		b.head()
		b.wants("1\r\na\r\n")
		c.send(body)
		if got, _ := c.rest(); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%.40q: got %q", body, got)
		}
		if got, err := b.tryChunks(); err == nil {
			t.Errorf("%.40q: a whole body reached the backend: %q", body, got)
		}
	}
}

func TestBadResponse_Becomes502AndItsConnectionIsNotUsedAgain(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nX: 1\r\n fold\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
		"nonsense\r\n\r\n",
	} {
		r := newRig(t)
		c := r.sends(get)
		b := r.asked()
		b.head()
		b.send(answer)
		c.wants("HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\n")
		c.head()
		b.ends()
		c2 := r.sends(get)
		b2 := r.asked()
		b2.head()
		b2.send(ok)
		c2.wants(ok)
	}
}

func TestConnectAndTrace_AreRefused(t *testing.T) {
	refused(t, "405", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n")
	refused(t, "405", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n")
}
