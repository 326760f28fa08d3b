package proxy

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
)

// FuzzRewrittenHead: what the backend is sent is a good head for net/http too, and
// means what came but for what an intermediary changes.
func FuzzRewrittenHead(f *testing.F) {
	for _, s := range []string{
		"GET /a?b#c HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\nX: 1\r\nX: 2\r\n\r\n",
		"POST http://h:1?q HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: content-length, host\r\n\r\n",
		"POST / HTTP/1.1\r\nhost:\r\nTransfer-Encoding: chunked\r\nConnection: transfer-encoding, te\r\nTE: trailers\r\n\r\n",
		"GET / HTTP/1.0\r\nX-Forwarded-For: 1.1.1.1\r\nVia: 1.0 x\r\nKeep-Alive: 5\r\n\r\n", "OPTIONS http://h HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := http1.HeadLen(in, 0)
		if err != nil || n == 0 {
			return
		}
		head := in[:n]
		var came, goes http1.Request
		if http1.ParseRequest(head, &came) != nil || refusedMethod(came.Method) {
			return
		}
		e := new(exchange)
		e.describe(&came, asks(&came))
		h := requestHead{req: &came, head: head, tunnel: e.tunnel,
			from: clientaddr.Origin{ForwardedFor: "192.0.2.1", Proto: "http", Host: string(came.Host)}}
		if came.Host == nil {
			h.host = "backend"
		}
		out := h.append(nil)
		if err := http1.ParseRequest(out, &goes); err != nil {
			t.Fatalf("%q becomes %q: %v", head, out, err)
		}
		if string(goes.Method) != string(came.Method) || string(goes.Path) != string(came.Path) || string(goes.Query) != string(came.Query) ||
			goes.HasQuery != came.HasQuery || goes.Absolute || goes.Minor != 1 {
			t.Errorf("%q becomes %q", head, out)
		}
		if string(goes.Host) != string(came.Host) && came.Host != nil {
			t.Errorf("%q becomes %q: another host", head, out)
		}
		if goes.ContentLength != came.ContentLength || goes.Chunked != came.Chunked {
			t.Errorf("%q becomes %q: another body", head, out)
		}
		std, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(out), 2*http1.MaxHead))
		if err == nil && (len(std.TransferEncoding) == 1) != came.Chunked {
			t.Errorf("%q becomes %q: another body for net/http", head, out)
		}
		checkKept(t, &came, &goes, e.tunnel)
	})
}

// checkKept wants every header that is for the backend, in order, and no other.
func checkKept(t *testing.T, came, goes *http1.Request, tunnel bool) {
	t.Helper()
	list := strings.Split(strings.ToLower(came.Joined("Connection")), ",")
	for i := range list {
		list[i] = strings.Trim(list[i], " \t")
	}
	var want, got []string
	for _, f := range came.Fields {
		name := strings.ToLower(string(f.Name))
		framing := name == "content-length" || name == "transfer-encoding"
		if !ownOrHop(name) && (framing || !slices.Contains(list, name)) {
			want = append(want, string(f.Name)+":"+string(f.Value))
		}
	}
	for _, f := range goes.Fields {
		name := strings.ToLower(string(f.Name))
		if !ownOrHop(name) && !(name == "via" && string(f.Value) == "1.1 pushcart") {
			got = append(got, string(f.Name)+":"+string(f.Value))
		}
		if slices.Contains([]string{"keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate"}, name) ||
			!tunnel && (name == "connection" || name == "upgrade") {
			t.Errorf("%s reaches the backend", name)
		}
	}
	want = slices.DeleteFunc(want, func(s string) bool { return strings.EqualFold(s, "via:1.1 pushcart") })
	if !slices.Equal(got, want) {
		t.Errorf("headers %q reach the backend, want %q", got, want)
	}
}

// ownOrHop are the headers that are not compared line by line.
func ownOrHop(name string) bool {
	return slices.Contains([]string{"host", "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te",
		"upgrade"}, name) || isTwin(name) || slices.Contains([]string{"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}, strings.ReplaceAll(name, "_", "-"))
}

// isTwin says that CGI reads name as one of framing's.
func isTwin(name string) bool {
	dashed := strings.ReplaceAll(name, "_", "-")
	return name != dashed && (dashed == "content-length" || dashed == "transfer-encoding")
}

// FuzzRewrittenAnswer: what a client is sent is a good answer for net/http too, with
// the status, the body's framing and the headers that came.
func FuzzRewrittenAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: X, content-length\r\nX: 1\r\n\r\n",
		"HTTP/1.0 200\r\nTransfer-Encoding: x\r\n\r\n", "HTTP/1.1 204 \r\nTransfer-Encoding: chunked\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
		"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "HTTP/1.1 304 Not\r\nTransfer-Encoding: chunked\r\nKeep-Alive: 5\r\n\r\n",
	} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, chunks bool) {
		n, err := http1.HeadLen(in, 0)
		if err != nil || n == 0 {
			return
		}
		head := in[:n]
		var came, goes http1.Response
		if http1.ParseResponse(head, &came) != nil {
			return
		}
		out := appendResponse(nil, head, &came, "close", chunks)
		if err := http1.ParseResponse(out, &goes); err != nil {
			t.Fatalf("%q becomes %q: %v", head, out, err)
		}
		bodyless := came.Status < 200 || came.Status == http.StatusNoContent
		length := came.ContentLength
		if bodyless {
			length = -1
		}
		if goes.Status != came.Status || goes.Minor != 1 || goes.ContentLength != length ||
			goes.Chunked != (came.Chunked && chunks && !bodyless) {
			t.Errorf("%q becomes %q", head, out)
		}
		if _, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(out), 2*http1.MaxHead), nil); err != nil &&
			!strings.Contains(err.Error(), "bad trailer key") {
			t.Errorf("%q becomes %q: net/http: %v", head, out, err)
		}
		for _, name := range []string{"Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "TE"} {
			if goes.Fields.Get(name) != nil {
				t.Errorf("%q: %s reaches the client", head, name)
			}
		}
		if a, b := came.Fields.Get("Set-Cookie"), goes.Fields.Get("Set-Cookie"); !bytes.Equal(a, b) && !came.Fields.HasToken("Connection", "set-cookie") {
			t.Errorf("%q: Set-Cookie %q becomes %q", head, a, b)
		}
	})
}
