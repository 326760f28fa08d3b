package proxy_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// next wants that a request of another client is answered rightly after whatever
// happened before.
func (r *rig) next() {
	r.t.Helper()
	c := r.sends("GET /next HTTP/1.1\r\nHost: app\r\n\r\n")
	b := r.asked()
	if head := b.head(); !strings.HasPrefix(head, "GET /next ") {
		r.t.Fatalf("head %q", head)
	}
	b.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
	c.wants(ok)
	c.stays()
}

func TestClientGone_CancelsTheBackendRequest(t *testing.T) {
	f := func(name string, leave func(*peer)) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c := r.sends(get)
			b := r.asked()
			b.head()
			leave(c)
			b.ends()

			c = r.sends(get)
			b = r.asked()
			b.head()
			stream := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
			b.send(stream)
			c.wants(stream)
			leave(c) // the stream is silent
			b.ends()
			r.next()
		})
	}
	f("by FIN", func(c *peer) { _ = c.conn.Close() })
	f("by RST", func(c *peer) {
		_ = c.conn.(*net.TCPConn).SetLinger(0)
		_ = c.conn.Close()
	})
}

func TestClientGone_InItsUpload(t *testing.T) {
	for _, head := range []string{
		"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		r := newRig(t)
		c := r.sends(head)
		b := r.asked()
		b.head()
		_ = c.conn.Close()
		got, _ := b.rest()
		if strings.Contains(got, "\r\n0\r\n") {
			t.Errorf("the broken upload was made whole: %q", got)
		}
		r.next()
	}
}

func TestClientGone_WhileTheBackendTakesNothing(t *testing.T) {
	r := newRig(t)
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 1000000000\r\n\r\n")
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	c.head()
	pour(c)
	_ = c.conn.(*net.TCPConn).SetLinger(0)
	_ = c.conn.Close()
	testkit.Eventually(t, "the exchange is over", func() bool { return r.gauge("pushcart_client_connections") == 0 })
}

func TestBackendGone_BeforeItsAnswer(t *testing.T) {
	f := func(answer string) {
		t.Helper()
		r := newRig(t)
		c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 2\r\n\r\nok")
		b := r.asked()
		b.head()
		b.wants("ok")
		b.send(answer)
		_ = b.conn.Close()
		c.wants("HTTP/1.1 502 Bad Gateway\r\n")
		r.next()
	}
	f("")
	f("HTTP/1.1 200 OK\r\nContent-")
	f("HTTP/1.1 100 Continue\r\n\r\n"[:10])
}

func TestBackendGone_InItsAnswer(t *testing.T) {
	f := func(head, part string) {
		t.Helper()
		r := newRig(t)
		c := r.sends(get)
		b := r.asked()
		b.head()
		b.send(head + part)
		c.wants(head + part)
		_ = b.conn.Close()
		if rest, err := c.rest(); rest != "" || err != nil { // a reset could destroy what came
			t.Errorf("the truncated answer ended with %q, %v", rest, err)
		}
		r.next()
	}
	f("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "hello")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n") // at a chunk boundary
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhe")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n")
}

// An HTTP/1.0 client gets no chunks, so that only the connection's end can tell it.
func TestBackendGone_InItsAnswerToHTTP10(t *testing.T) {
	r := newRig(t)
	c := r.sends("GET / HTTP/1.0\r\n\r\n")
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	c.head()
	c.wants("hello")
	_ = b.conn.Close()
	if rest, err := c.rest(); err == nil {
		t.Errorf("a broken answer ended like a whole one, %q", rest)
	}
}

func TestBackendReset_OfAnUnframedAnswerIsSeen(t *testing.T) {
	r := newRig(t)
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 200 OK\r\n\r\nhello")
	c.head()
	c.wants("hello")
	_ = b.conn.(*net.TCPConn).SetLinger(0)
	_ = b.conn.Close()
	if rest, err := c.rest(); err == nil {
		t.Errorf("a broken answer ended like a whole one, %q", rest)
	}
}

func TestBadChunkInAnAnswer_BreaksItOff(t *testing.T) {
	for _, bad := range badChunks {
		r := newRig(t)
		c := r.sends(get)
		b := r.asked()
		b.head()
		start := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
		b.send(start)
		c.wants(start)
		b.send(bad)
		if got, err := c.tryChunks(); err == nil {
			t.Errorf("%.40q: passed on as whole: %q", bad, got)
		}
		b.ends()
	}
}

func TestTooManyBytes_EndTheBackendConnectionOnly(t *testing.T) {
	f := func(request, answer string) {
		t.Helper()
		r := newRig(t)
		c := r.sends(request)
		b := r.asked()
		b.head()
		b.send(answer + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
		c.wants(answer)
		c.stays()
		b.ends()
		c.send("GET /next HTTP/1.1\r\nHost: app\r\n\r\n")
		b = r.asked()
		b.head()
		b.send(ok)
		c.wants(ok)
	}
	f(get, ok)
	f(get, "HTTP/1.1 204 No Content\r\n\r\n")
	f(get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")
	f("HEAD / HTTP/1.1\r\nHost: app\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
	f(get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
}

func TestSurplusBytesThatComeLater_AreNobodysAnswer(t *testing.T) {
	r := newRig(t)
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send(ok)
	c.wants(ok)
	b.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
	r.next()
}

func TestEarlyResponse_ToAnUnfinishedUpload(t *testing.T) {
	r := newRig(t)
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 100\r\n\r\nhello")
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
	head := c.head()
	if !strings.HasPrefix(head, "HTTP/1.1 413 ") || !strings.Contains(head, "\r\nConnection: close\r\n") {
		t.Errorf("head %q", head)
	}
	c.wants("no")
	c.ends()
	if got, _ := b.rest(); got != "hello" {
		t.Errorf("the backend got %q", got)
	}
	r.next()
}

func TestEarlyResponse_GoesBothWaysAtOnce(t *testing.T) {
	r := newRig(t)
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n")
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	c.head()
	for _, part := range []string{"1\r\na\r\n", "2\r\nbc\r\n", "0\r\n\r\n"} {
		c.send(part)
		b.wants(part)
		b.send(part)
		c.wants(part)
	}
}

func TestEarlyResponse_BackendThatClosesWithoutReading(t *testing.T) {
	r := newRig(t)
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat("x", 10000))
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
	_ = b.conn.Close()
	go pour(c)
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 401 ") {
		t.Errorf("head %q", head)
	}
	c.wants("no")
}

// Browsers send an upload to its end before they look at the answer; a connection
// that was closed meanwhile takes the answer with it.
func TestEarlyResponse_IsReadByAClientThatFirstSendsAll(t *testing.T) {
	const piece, pieces = 128 << 10, 16
	r := newRig(t)
	c := r.sends(fmt.Sprintf("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: %d\r\n\r\n", piece*pieces))
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
	_ = b.conn.Close()
	for range pieces {
		<-time.After(quiet / 2)
		c.send(strings.Repeat("x", piece))
	}
	if got, err := c.rest(); !strings.HasPrefix(got, "HTTP/1.1 413 ") || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestStaleKeepAlive(t *testing.T) {
	f := func(name, request string, answered int) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *config.Config) { c.Backend.MaxConnections = 10 })
			seen := map[string]int{}
			got200 := 0
			for i := range 40 {
				path := "/" + string(rune('A'+i%26)) + string(rune('a'+i/26))
				c := r.sends(strings.Replace(request, "/", path, 1))
				b := r.asked()
				_, _ = b.tryMessage()
				seen[path]++
				b.send(ok)
				head := c.head()
				if strings.HasPrefix(head, "HTTP/1.1 200") {
					got200++
				}
				_ = b.conn.Close() // idle: under the next request
			}
			if got200 < answered {
				t.Errorf("%d of 40 were answered, want %d", got200, answered)
			}
			for path, n := range seen {
				if n > 1 {
					t.Errorf("%s was delivered %d times", path, n)
				}
			}
		})
	}
	f("GET", get, 40)
	f("POST", "POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 2\r\n\r\nab", 38)
}

// A backend that closes in the very moment when the next request arrives.
func TestRetry_OnlyWhereItIsSafe(t *testing.T) {
	f := func(request string, again bool) {
		t.Helper()
		r := newRig(t)
		c := r.sends(get)
		b := r.asked()
		b.head()
		b.send(ok)
		c.wants(ok)
		c.send(request)
		_, _ = b.tryMessage()
		_ = b.conn.Close()
		if !again {
			c.wants("HTTP/1.1 502 ")
			return
		}
		b = r.asked()
		if got, err := b.tryMessage(); err != nil || !strings.HasPrefix(got, request[:4]) {
			t.Fatalf("second attempt %q, %v", got, err)
		}
		b.send("HTTP/1.1 204 No Content\r\n\r\n")
		c.wants("HTTP/1.1 204 No Content\r\n\r\n")
	}
	f(get, true)
	f("HEAD / HTTP/1.1\r\nHost: app\r\n\r\n", true)
	f("DELETE / HTTP/1.1\r\nHost: app\r\n\r\n", true)
	f("POST / HTTP/1.1\r\nHost: app\r\n\r\n", false)
	f("PATCH / HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\n\r\n", false)
	f("PUT / HTTP/1.1\r\nHost: app\r\nContent-Length: 2\r\n\r\nab", false)
	f("GET / HTTP/1.1\r\nHost: app\r\nContent-Length: 2\r\n\r\nab", false)
}

func TestRetry_NotOnAFreshConnectionAndNotTwice(t *testing.T) {
	r := newRig(t)
	c := r.sends(get)
	b := r.asked()
	b.head()
	_ = b.conn.Close()
	c.wants("HTTP/1.1 502 ")
	c = r.sends(get)
	b = r.asked()
	b.head()
	b.send(ok)
	c.wants(ok)
	c.send(get)
	b.head()
	_ = b.conn.Close()
	b = r.asked()
	b.head()
	_ = b.conn.Close()
	c.wants("HTTP/1.1 502 ")
}

// A 103 is a byte of the answer: the backend has begun to work on the request.
func TestRetry_NotOfABodyThatCouldNotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	r := newRigAt(t, ln, "unix:"+path)
	c, b := r.kept()
	_ = b.conn.(*net.UnixConn).CloseRead() // it looks alive, and takes nothing
	c.send("PUT / HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\nhello")
	c.stays()
	_ = b.conn.Close()
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 502 ") {
		t.Errorf("head %q", head)
	}
	r.untouched()
}

func TestRetry_NotAfterAnInterimResponse(t *testing.T) {
	r := newRig(t)
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send(ok)
	c.wants(ok)
	c.send(get)
	b.head()
	b.send("HTTP/1.1 103 Early Hints\r\n\r\n")
	c.wants("HTTP/1.1 103 Early Hints\r\n\r\n")
	_ = b.conn.Close()
	c.wants("HTTP/1.1 502 ")
	r.untouched()
}

// A timeout is not a close: the backend may have begun to work on the request.
func TestRetry_NotAfterATimeout(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Backend.ResponseTimeout = 200 * time.Millisecond })
	c, b := r.kept()
	c.send(get)
	b.head()
	c.wants("HTTP/1.1 504 ")
	b.ends()
	r.untouched()
}
