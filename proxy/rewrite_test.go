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
		"upgrade", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}, name)
}
