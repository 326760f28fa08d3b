package http1_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/http1"
)

func TestHeadLen(t *testing.T) {
	f := func(in string, want int, wantErr error) {
		t.Helper()
		n, err := http1.HeadLen([]byte(in), 0)
		if n != want || !errors.Is(err, wantErr) {
			t.Errorf("%.40q: got %d, %v; want %d, %v", in, n, err, want, wantErr)
		}
	}
	f("", 0, nil)
	f("GET / HTTP/1.1\r\nHost: a\r\n", 0, nil)
	f("GET / HTTP/1.1\r\n\r\nrest\n", 18, nil)
	f("GET / HTTP/1.1\n\n", 0, http1.ErrLineEnd)
	f("GET / HTTP/1.1\rX", 0, http1.ErrLineEnd)
	f("GET / HTTP/1.1\r", 0, nil)
	f("GET /\x00", 0, http1.ErrControlByte)
	f(strings.Repeat("a", http1.MaxHead-4)+"\r\n\r\n", http1.MaxHead, nil)
	f(strings.Repeat("a", http1.MaxHead-3)+"\r\n\r\n", 0, http1.ErrHeadTooLong)
	f(strings.Repeat("a", http1.MaxHead), 0, http1.ErrHeadTooLong)
}

func TestHeadLen_InPieces(t *testing.T) {
	head := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for seen := range len(head) {
		if n, err := http1.HeadLen([]byte(head[:seen]), 0); n != 0 || err != nil {
			t.Errorf("%d bytes: got %d, %v", seen, n, err)
		}
		if n, err := http1.HeadLen([]byte(head), seen); n != len(head) || err != nil {
			t.Errorf("after %d bytes: got %d, %v", seen, n, err)
		}
	}
}

func TestParseRequest_TakesTheTargetApart(t *testing.T) {
	f := func(line, path, query, host string, hasQuery bool) {
		t.Helper()
		var r http1.Request
		if err := http1.ParseRequest([]byte(line+"\r\nHost: h\r\n\r\n"), &r); err != nil {
			t.Errorf("%s: %v", line, err)
			return
		}
		if string(r.Path) != path || string(r.Query) != query || string(r.Host) != host || r.HasQuery != hasQuery {
			t.Errorf("%s: path %q query %q host %q %v", line, r.Path, r.Query, r.Host, r.HasQuery)
		}
	}
	f("GET / HTTP/1.1", "/", "", "h", false)
	f("GET /a%2f//b?c?d HTTP/1.1", "/a%2f//b", "c?d", "h", true)
	f("GET /? HTTP/1.1", "/", "", "h", true)
	f("GET http://x:8/a?b HTTP/1.1", "/a", "b", "x:8", true)
	f("GET https://[::1]:8 HTTP/1.1", "/", "", "[::1]:8", false)
	f("OPTIONS * HTTP/1.0", "*", "", "h", false)
	f("CONNECT x:443 HTTP/1.1", "", "", "x:443", false)
}

func TestParseResponse(t *testing.T) {
	f := func(head string, status int, length int64, chunked, fails bool) {
		t.Helper()
		var r http1.Response
		err := http1.ParseResponse([]byte(head), &r)
		if (err != nil) != fails {
			t.Errorf("%q: %v", head, err)
		}
		if err == nil && (r.Status != status || r.ContentLength != length || r.Chunked != chunked) {
			t.Errorf("%q: %+v", head, r)
		}
	}
	f("HTTP/1.1 200 OK\r\n\r\n", 200, -1, false, false)
	f("HTTP/1.1 200\r\n\r\n", 200, -1, false, false)
	f("HTTP/1.0 404 \r\nContent-Length: 7\r\n\r\n", 404, 7, false, false)
	f("HTTP/1.1 999 x y\r\nTransfer-Encoding: Chunked\r\n\r\n", 999, -1, true, false)
	f("HTTP/1.1 200OK\r\n\r\n", 0, 0, false, true)
	f("HTTP/1.1 099 x\r\n\r\n", 0, 0, false, true)
	f("HTTP/1.2 200 x\r\n\r\n", 0, 0, false, true)
	f("HTTP/1.1  200 x\r\n\r\n", 0, 0, false, true)
	f("\r\n\r\n", 0, 0, false, true)
}

func TestChunks_AnyCutsMeanTheSame(t *testing.T) {
	body := "5;a=\"\\\"x\"\r\nhello\r\n0a\r\n0123456789\r\n000\r\nX-Sum: 1\r\nY:\r\n\r\nnext"
	want := len(body) - len("next")
	for cut := range len(body) {
		var c http1.Chunks
		n, done, err := c.Scan([]byte(body[:cut]))
		if err != nil || done != (cut >= want) {
			t.Fatalf("cut at %d: %d %v %v", cut, n, done, err)
		}
		m, done, err := c.Scan([]byte(body[n:]))
		if err != nil || !done || n+m != want {
			t.Fatalf("cut at %d: %d+%d %v %v", cut, n, m, done, err)
		}
	}
}

// What both this parser and net/http accept must mean the same.
func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: y\r\n\r\n",
		"POST http://x/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\n\r\n",
		"GET / HTTP/1.0\r\nX : y\r\n fold\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := http1.HeadLen(in, 0)
		if err != nil || n == 0 {
			return
		}
		var r http1.Request
		if http1.ParseRequest(in[:n], &r) != nil {
			return
		}
		if bytes.Contains(in[:n], []byte("\n ")) || bytes.IndexByte(in[:n], 0) >= 0 {
			t.Fatalf("accepted %q", in[:n])
		}
		std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(in[:n])))
		if err != nil {
			return
		}
		if std.Method != string(r.Method) || std.RequestURI != string(r.Target) || std.ProtoMinor != r.Minor {
			t.Errorf("%q: %s %s %d", in[:n], r.Method, r.Target, r.Minor)
		}
		if std.Host != string(r.Host) {
			t.Errorf("%q: host %q, net/http %q", in[:n], r.Host, std.Host)
		}
		if chunked := len(std.TransferEncoding) == 1; chunked != r.Chunked || !chunked && std.ContentLength != max(0, r.ContentLength) {
			t.Errorf("%q: body %d %v, net/http %d %v", in[:n], r.ContentLength, r.Chunked, std.ContentLength, std.TransferEncoding)
		}
		for name, values := range std.Header {
			if name == "Transfer-Encoding" || name == "Pragma" || name == "Cache-Control" {
				continue
			}
			if got := r.Joined(name); got != strings.Join(values, ", ") {
				t.Errorf("%q: %s is %q, net/http %q", in[:n], name, got, values)
			}
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200\r\n\r\n",
		"HTTP/1.0 304 Not Modified\r\nETag: x\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := http1.HeadLen(in, 0)
		if err != nil || n == 0 {
			return
		}
		var r http1.Response
		if http1.ParseResponse(in[:n], &r) != nil {
			return
		}
		std, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in[:n])), nil)
		if err != nil {
			return
		}
		if std.StatusCode != r.Status || std.ProtoMinor != r.Minor {
			t.Errorf("%q: %d 1.%d, net/http %d %s", in[:n], r.Status, r.Minor, std.StatusCode, std.Proto)
		}
		if r.Bodyless() {
			return
		}
		if chunked := len(std.TransferEncoding) == 1; chunked != r.Chunked || !chunked && std.ContentLength != r.ContentLength {
			t.Errorf("%q: body %d %v, net/http %d %v", in[:n], r.ContentLength, r.Chunked, std.ContentLength, std.TransferEncoding)
		}
	})
}

// A body that this scanner accepts as whole has the payload that net/http reads,
// and ends in the same place.
func FuzzChunks(f *testing.F) {
	for _, s := range []string{
		"5\r\nhello\r\n0\r\n\r\nnext", "5;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\n", "000\r\n\r\n", "a\r\n0123456789\r\n0\r\n\r\n",
		"5 \r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n",
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		whole, wantDone, wantErr := scan(in)
		cut = min(max(cut, 0), len(in))
		var c http1.Chunks
		n, done, err := c.Scan(in[:cut])
		if err == nil && !done {
			var m int
			m, done, err = c.Scan(in[n:])
			n += m
		}
		if n != whole || done != wantDone || err != wantErr {
			t.Fatalf("%q cut at %d: %d %v %v, uncut %d %v %v", in, cut, n, done, err, whole, wantDone, wantErr)
		}
		if !done {
			return
		}
		payload := dechunk(in[:n])
		head := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		from := bufio.NewReader(io.MultiReader(strings.NewReader(head), bytes.NewReader(in)))
		std, err := http.ReadRequest(from)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(std.Body)
		if err != nil {
			return // stricter than we are
		}
		if string(got) != payload {
			t.Fatalf("%q: payload %q, net/http %q", in, payload, got)
		}
		if rest, _ := io.ReadAll(from); len(rest) != len(in)-n {
			t.Fatalf("%q: %d bytes are left, net/http leaves %d", in, len(in)-n, len(rest))
		}
	})
}

func scan(in []byte) (int, bool, error) {
	var c http1.Chunks
	return c.Scan(in)
}

func dechunk(in []byte) string {
	var c http1.Chunks
	var b strings.Builder
	for at := 0; at < len(in); {
		n, data, _ := c.Step(in[at:])
		if data {
			b.Write(in[at : at+n])
		}
		at += n
	}
	return b.String()
}

func BenchmarkParseRequest(b *testing.B) {
	head := []byte("GET /a/b?c=d HTTP/1.1\r\nHost: app.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n" +
		"Cookie: session=0123456789abcdef\r\nAccept-Language: en\r\n\r\n")
	var r http1.Request
	b.ReportAllocs()
	for b.Loop() {
		n, _ := http1.HeadLen(head, 0)
		if err := http1.ParseRequest(head[:n], &r); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleParseRequest() {
	var r http1.Request
	err := http1.ParseRequest([]byte("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"), &r)
	fmt.Println(err)
	// Output: http1: more than one Content-Length
}
