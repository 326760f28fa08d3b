package http1_test

import (
	"errors"
	"fmt"
	"slices"
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

func TestItems_AreWhatStandsBetweenCommas(t *testing.T) {
	for list, want := range map[string][]string{
		"": nil, " , ,": nil, "a": {"a"}, "a,b": {"a", "b"}, "\ta , ,b; c=\"d\" ,": {"a", `b; c="d"`},
	} {
		if got := slices.Collect(http1.Items(list)); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", list, got, want)
		}
	}
}
