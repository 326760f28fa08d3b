package proxy_test

import (
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
)

func TestBody_LengthStaysALength(t *testing.T) {
	r := newRig(t)
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nhello")
	b := r.asked()
	b.wants("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n" + forwarding("app") + "\r\nhello")
	b.stays()
	c.send("world")
	b.wants("world")
	b.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
	c.wants("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
	b.send("cd")
	c.wants("cd")
	c.stays()
}

func TestBody_ChunkedStaysChunkedWithTrailersBothWays(t *testing.T) {
	r := newRig(t)
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5;a=\"b;c\"\r\nhel")
	b := r.asked()
	b.head()
	b.wants("5;a=\"b;c\"\r\nhel")
	c.send("lo\r\n000A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nX-Two: \xc3\xa9\r\n\r\n")
	b.wants("lo\r\n000A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nX-Two: \xc3\xa9\r\n\r\n")
	answer := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n"
	b.send(answer)
	c.wants(answer)
	b.send("0\r\nX-Sum: 2\r\n\r\n")
	c.wants("0\r\nX-Sum: 2\r\n\r\n")
	c.send(get) // both connections go on
	b.head()
	b.send(ok)
	c.wants(ok)
}

func TestBody_EventsAreFlushedOneByOne(t *testing.T) {
	r := newRig(t)
	c := r.sends(get)
	b := r.asked()
	b.head()
	var took []time.Duration
	for _, part := range []string{
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
		"9\r\ndata: 1\n\n\r\n", "9\r\ndata: 2\n\n\r\n", "1", "\r\nx", "\r\n", "0\r\n\r\n",
	} {
		began := time.Now()
		b.send(part)
		c.wants(part)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	// Of the median, as the machine may be busy elsewhere for a moment.
	if m := took[len(took)/2]; m > 20*time.Millisecond || took[len(took)-1] > time.Second {
		t.Errorf("events took %v", took)
	}
}

func TestBodyless_ResponsesEndWithTheirHead(t *testing.T) {
	f := func(method, answer string) {
		t.Helper()
		r := newRig(t)
		c := r.sends(method + " / HTTP/1.1\r\nHost: app\r\n\r\n")
		b := r.asked()
		b.head()
		b.send(answer)
		c.wants(answer)
		c.send(get)
		b.head() // on the same connection
		b.send(ok)
		c.wants(ok)
	}
	f("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
	f("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	f("HEAD", "HTTP/1.1 200 OK\r\n\r\n")
	f("GET", "HTTP/1.1 204 No Content\r\n\r\n")
	f("GET", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n")
	f("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"1\"\r\n\r\n")
	f("GET", "HTTP/1.1 304 Not Modified\r\n\r\n")
	f("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	f("GET", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n")
	f("GET", "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok") // wrong, but clear
	f("GET", "HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	f("HEAD", "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n")
	f("HEAD", "HTTP/1.1 200 OK\r\n\r\n")
	f("OPTIONS", "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n")
}

// RFC 9112 §6.1 forbids it there: a client that believed it would wait for chunks.
func TestBodyless_AnswersCarryNoTransferEncoding(t *testing.T) {
	r := newRig(t)
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\nLink: a\r\n\r\n" +
		"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n")
	c.wants("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\nX: 1\r\n\r\n")
	c.stays()
}

func TestBody_UntilTheBackendCloses(t *testing.T) {
	r := newRig(t)
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send("HTTP/1.0 200 OK\r\nA: 1\r\n\r\nabc")
	got := c.head()
	if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got, "Connection: close\r\n") ||
		!strings.Contains(got, "A: 1\r\n") {
		t.Errorf("head %q", got)
	}
	c.wants("abc")
	b.send("def")
	c.wants("def")
	_ = b.conn.Close()
	if rest, err := c.rest(); rest != "" || err != nil {
		t.Errorf("end: %q, %v", rest, err)
	}
}

func TestExpect_IsPassedEndToEnd(t *testing.T) {
	r := newRig(t)
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	b := r.asked()
	if head := b.head(); !strings.Contains(head, "\r\nExpect: 100-continue\r\n") {
		t.Errorf("head %q", head)
	}
	c.stays()
	b.send("HTTP/1.1 100 Continue\r\n\r\n")
	c.wants("HTTP/1.1 100 Continue\r\n\r\n")
	c.send("hello")
	b.wants("hello")
	b.send(ok)
	c.wants(ok)
	c.stays()
}

func TestExpect_RefusedUploadIsNotSent(t *testing.T) {
	r := newRig(t)
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
	got := c.head()
	if !strings.HasPrefix(got, "HTTP/1.1 417 ") || !strings.Contains(got, "\r\nConnection: close\r\n") {
		t.Errorf("head %q", got)
	}
	c.ends()
	b.ends()
}

func TestExpect_RefusedUploadIsNotSentEvenIfItComes(t *testing.T) {
	for _, head := range []string{"Content-Length: 40\r\n", "Transfer-Encoding: chunked\r\n"} {
		r := newRig(t)
		c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\n" + head + "\r\n")
		b := r.asked()
		b.head()
		b.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
		if got := c.head(); !strings.Contains(got, "\r\nConnection: close\r\n") {
			t.Errorf("head %q", got)
		}
		c.send("GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n")
		if got, _ := c.rest(); got != "no" {
			t.Errorf("then came %q", got)
		}
		b.ends()
		r.untouched()
	}
}

func TestExpect_OfAClientThatDoesNotWait(t *testing.T) {
	f := func(request, interim, want string) {
		t.Helper()
		r := newRig(t)
		c := r.sends(request)
		b := r.asked()
		b.head()
		b.wants("hello") // nobody waits for a 100
		b.send("HTTP/1.1 100 Continue\r\n\r\n" + ok)
		c.wants(interim + want)
		_ = c.conn.Close()
	}
	f("POST / HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 100 Continue\r\n\r\n", ok)
	f("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", "",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}

func TestExpect_OfARequestWithoutBody(t *testing.T) {
	r := newRig(t)
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n")
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 100 Continue\r\n\r\n" + ok)
	c.wants("HTTP/1.1 100 Continue\r\n\r\n" + ok)
	c.stays()
}

func TestInterimResponses_ArePassedOn(t *testing.T) {
	r := newRig(t)
	c := r.sends(get)
	b := r.asked()
	b.head()
	hints := "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
	b.send(hints)
	c.wants(hints)
	b.send("HTTP/1.1 102 Processing\r\n\r\n" + hints + ok)
	c.wants("HTTP/1.1 102 Processing\r\n\r\n" + hints + ok)
	c.stays()
	for range 3 { // answers never shift
		c.send(get)
		b.head()
		b.send(hints + ok)
		c.wants(hints + ok)
	}
}

func TestInterimResponses_AreNotForHTTP10(t *testing.T) {
	r := newRig(t)
	c := r.sends("GET / HTTP/1.0\r\n\r\n")
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + ok)
	got, err := c.rest()
	if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, "\r\n\r\nok") || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestHTTP10_Client(t *testing.T) {
	f := func(request, answer, want string, staysOpen bool) {
		t.Helper()
		r := newRig(t)
		c := r.sends(request)
		b := r.asked()
		if head := b.head(); !strings.HasPrefix(head, "GET / HTTP/1.1\r\n") || strings.Count(head, "\r\nHost: ") != 1 {
			t.Errorf("head at the backend %q", head)
		}
		b.send(answer)
		c.wants(want)
		if staysOpen {
			c.stays()
		} else {
			c.ends()
		}
	}
	f("GET / HTTP/1.0\r\n\r\n", ok, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", false)
	f("GET / HTTP/1.0\r\nHost: app\r\nConnection: keep-alive\r\n\r\n", ok,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", true)
	f("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3;a=b\r\nyes\r\n0\r\nX: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nokyes", false)
	f("GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", ok,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", false)
}

func TestConnectionClose_IsHonoured(t *testing.T) {
	r := newRig(t)
	c := r.sends("GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
	b := r.asked()
	b.head()
	b.send(ok)
	c.wants("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	c.ends()
	b.stays() // the backend's connection is kept
}

func TestHTTP10_GetsNoTransferEncoding(t *testing.T) {
	f := func(request, answer string) {
		t.Helper()
		r := newRig(t)
		c := r.sends(request)
		b := r.asked()
		b.head()
		b.send(answer)
		if got, _ := c.rest(); strings.Contains(got, "Transfer-Encoding") {
			t.Errorf("%.30q: got %q", request, got)
		}
	}
	f("HEAD / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	f("GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n")
	f("GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
}

func TestConnectionClose_WinsOverKeepAlive(t *testing.T) {
	r := newRig(t)
	c := r.sends("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n")
	b := r.asked()
	b.head()
	b.send("HTTP/1.0 200 OK\r\nConnection: close, keep-alive\r\nContent-Length: 2\r\n\r\nok")
	c.wants("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	c.ends()
	b.ends()
}

func TestPipelining_NothingIsTakenBehindConnectionClose(t *testing.T) {
	f := func(first, answer string) {
		t.Helper()
		r := newRig(t)
		c := r.sends(first + "GET /second HTTP/1.1\r\nHost: app\r\n\r\n")
		b := r.asked()
		if _, err := b.tryMessage(); err != nil {
			t.Fatal(err)
		}
		b.send(answer)
		if strings.HasPrefix(answer, "HTTP/1.0 ") { // ends with the connection
			_ = b.conn.(*net.TCPConn).CloseWrite()
		}
		got, _ := c.rest()
		if strings.Count(got, "HTTP/1.1 ") != 1 || !strings.Contains(got, "\r\nConnection: close\r\n") {
			t.Errorf("%.40q: got %q", first, got)
		}
		_ = b.conn.SetReadDeadline(time.Now().Add(quiet))
		if head, err := b.tryHead(); err == nil {
			t.Errorf("%.40q: the backend got %q", first, head)
		}
		r.untouched()
	}
	f("GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n", ok)
	f("GET / HTTP/1.1\r\nHost: app\r\nconnection: x, CLOSE\r\n\r\n", ok)
	f("POST / HTTP/1.1\r\nHost: app\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab", ok)
	f("GET / HTTP/1.0\r\nHost: app\r\n\r\n", ok)
	f("GET / HTTP/1.1\r\nHost: app\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nGET /x")
}

func TestPipelinedRequests_AreAnsweredInOrder(t *testing.T) {
	r := newRig(t)
	post := "POST /2 HTTP/1.1\r\nHost: app\r\nContent-Length: 3\r\n\r\nabc"
	c := r.sends("GET /1 HTTP/1.1\r\nHost: app\r\n\r\n" + post + "\r\nGET /3 HTTP/1.1\r\nHost: app\r\n\r\nGET /4 HT")
	b := r.asked()
	for _, path := range []string{"GET /1 ", "POST /2 ", "GET /3 "} {
		if head := b.head(); !strings.HasPrefix(head, path) {
			t.Fatalf("got %q, want %q", head, path)
		}
		if path == "POST /2 " {
			b.wants("abc")
		}
		b.send(ok)
		c.wants(ok)
	}
	c.send("TP/1.1\r\nHost: app\r\n\r\n")
	b.head()
	b.send(ok)
	c.wants(ok)
}

func TestEmptyLines_BeforeARequestAreIgnored(t *testing.T) {
	r := newRig(t)
	c := r.dial()
	r.answering()
	for _, before := range []string{"\r\n", "\r\n\r\n\r\n", "\r"} {
		c.send(before)
		c.stays()
		if before == "\r" {
			c.send("\n")
		}
		c.send(get)
		c.wants(ok)
	}
	c.send("\n" + get)
	c.wants("HTTP/1.1 400 ")
}

func TestLargeBodies_TakeNoMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("moves much")
	}
	const size = 256 << 20
	r := newRig(t)
	block := strings.Repeat("x", 1<<20)
	before := heap()
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 268435456\r\n\r\n")
	b := r.asked()
	b.head()
	go func() {
		for range size / len(block) {
			if _, err := io.WriteString(c.conn, block); err != nil {
				return
			}
		}
	}()
	_ = b.conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.CopyN(io.Discard, b.in, size); err != nil {
		t.Fatal(err)
	}
	b.send("HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n")
	go func() {
		for range size / len(block) {
			if _, err := io.WriteString(b.conn, block); err != nil {
				return
			}
		}
	}()
	c.head()
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.CopyN(io.Discard, c.in, size); err != nil {
		t.Fatal(err)
	}
	c.stays()
	if grown := heap() - before; grown > 32<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}

// pour writes without end until the connection takes no more for a while, and
// returns how much it took.
func pour(p *peer) int {
	block := []byte(strings.Repeat("x", 64<<10))
	sum := 0
	for {
		_ = p.conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := p.conn.Write(block)
		sum += n
		if os.IsTimeout(err) || err != nil {
			return sum
		}
	}
}

func TestSlowPeer_HoldsTheOtherBack(t *testing.T) {
	const few = 12 << 20 // what the kernel's buffers of two connections hold
	r := newRig(t, func(c *config.Config) { c.Client.SendTimeout = time.Minute })
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
	c.head()
	if got := pour(b); got > few {
		t.Errorf("a client that does not read took %d MiB out of the backend", got>>20)
	}
	c = r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 1000000000\r\n\r\n")
	r.asked().head()
	if got := pour(c); got > few {
		t.Errorf("a backend that does not read took %d MiB out of the client", got>>20)
	}
}
