package http1_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/http1"
)

// The reference is net/http's reader. What both it and this parser accept must mean
// the same, and what either rejects is not forwarded: so what the reference rejects
// must be rejected here too. The exceptions are named, each with its reason.

// rejectsTarget: net/http decodes the target to accept it. Here it goes on as it
// came, so nothing hangs on whether "%zz" can be decoded.
func rejectsTarget(err error) bool {
	var bad *url.Error
	return errors.As(err, &bad)
}

// rejectsTrailerNames: which trailers a message announces is for its reader. No
// trailer, announced or not, means anything to framing here.
func rejectsTrailerNames(err error) bool { return strings.Contains(err.Error(), "bad trailer key") }

// checkFields compares header lines, but for those that net/http rewrites or takes
// out of its map.
func checkFields(t *testing.T, in []byte, std http.Header, fields http1.Fields) {
	t.Helper()
	ours := http.Header{}
	for _, f := range fields {
		ours.Add(string(f.Name), string(f.Value))
	}
	for _, name := range []string{"Transfer-Encoding", "Trailer", "Host", "Pragma", "Cache-Control"} {
		ours.Del(name)
		std.Del(name)
	}
	for name := range ours {
		if !slices.Equal(ours[name], std[name]) {
			t.Errorf("%q: %s is %q, net/http has %q", in, name, ours[name], std[name])
		}
	}
	for name := range std {
		if ours[name] == nil {
			t.Errorf("%q: only net/http has %s: %q", in, name, std[name])
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: y\r\n\r\n",
		"POST http://x/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\n\r\n",
		"GET / HTTP/1.0\r\nX : y\r\n fold\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n",
		"CONNECT [::1]:80 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%zz HTTP/1.0\r\n\r\n",
		"CONNECT %82cl HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://%61/ HTTP/1.1\r\nHost: a\r\n\r\n",
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
		std, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(in[:n]), http1.MaxHead))
		switch {
		case err == nil:
		case rejectsTarget(err), rejectsTrailerNames(err):
			return
		default:
			t.Fatalf("%q is accepted, but not by net/http: %v", in[:n], err)
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
		checkFields(t, in[:n], std.Header, r.Fields)
	})
}

func FuzzParseResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200\r\n\r\n",
		"HTTP/1.0 304 Not Modified\r\nETag: x\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "HTTP/1.1 200  two\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
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
		std, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(in[:n]), http1.MaxHead), nil)
		switch {
		case err == nil:
		case rejectsTrailerNames(err):
			return
		default:
			t.Fatalf("%q is accepted, but not by net/http: %v", in[:n], err)
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
		checkFields(t, in[:n], std.Header, r.Fields)
	})
}

// rejectsWaste: net/http bounds what it buffers of trailers and how much of a body
// may be framing. Here nothing is buffered, and other bounds hold.
func rejectsWaste(err error) bool {
	return strings.Contains(err.Error(), "suspiciously long trailer") || strings.Contains(err.Error(), "too much non-data")
}

// A body that this scanner accepts as whole has the payload that net/http reads,
// and ends in the same place.
func FuzzChunks(f *testing.F) {
	for _, s := range []string{
		"5\r\nhello\r\n0\r\n\r\nnext", "5;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\n", "000\r\n\r\n", "a\r\n0123456789\r\n0\r\n\r\n",
		"5 \r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n", "1;a=\"\\\"\"\r\nx\r\n0\r\nContent-Length: 1\r\nX-Y:\r\n\r\n",
		"1;a=b ;c\r\nx\r\n0\r\nA: b\r\nX_Forwarded-For: 1\r\nHost:\r\nC:\r\n\r\nnext",
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
		checkRelayed(t, in[:n], cut, payload)
		head := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		from := bufio.NewReaderSize(io.MultiReader(strings.NewReader(head), bytes.NewReader(in)), 2*http1.MaxHead)
		std, err := http.ReadRequest(from)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(std.Body)
		switch {
		case err == nil:
		case rejectsWaste(err):
			return
		default:
			t.Fatalf("%q is accepted, but not by net/http: %v", in[:n], err)
		}
		if string(got) != payload {
			t.Fatalf("%q: payload %q, net/http %q", in, payload, got)
		}
		if rest, _ := io.ReadAll(from); len(rest) != len(in)-n {
			t.Fatalf("%q: %d bytes are left, net/http leaves %d", in, len(in)-n, len(rest))
		}
	})
}

// checkRelayed wants a whole body with the same payload, whose trailers steer nobody,
// wherever in was cut.
func checkRelayed(t *testing.T, in []byte, cut int, payload string) {
	t.Helper()
	var c http1.Chunks
	first, n, _, _ := c.Relay(in[:min(cut, len(in))])
	out := bytes.Clone(first)
	if !c.Done() {
		rest, _, _, _ := c.Relay(in[n:])
		out = append(out, rest...)
	}
	if n, done, err := scan(out); n != len(out) || !done || err != nil || dechunk(out) != payload {
		t.Fatalf("%q cut at %d is passed on as %q: %d %v %v", in, cut, out, n, done, err)
	}
	head := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	std, err := http.ReadRequest(bufio.NewReaderSize(io.MultiReader(strings.NewReader(head), bytes.NewReader(out)), 2*http1.MaxHead))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, std.Body)
	for name := range std.Trailer {
		switch strings.ReplaceAll(name, "_", "-") {
		case "Content-Length", "Transfer-Encoding", "Host", "Authorization", "Cookie", "X-Forwarded-For", "Connection":
			t.Fatalf("%q: trailer %s is passed on", in, name)
		}
	}
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
