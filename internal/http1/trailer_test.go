package http1_test

import (
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/http1"
)

// relayed passes body on in pieces of size and returns what comes out.
func relayed(t *testing.T, body string, size int) string {
	t.Helper()
	var c http1.Chunks
	var out strings.Builder
	for at := 0; at < len(body); {
		piece := body[at:min(at+size, len(body))]
		sent, n, done, err := c.Relay([]byte(piece))
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		out.Write(sent)
		if at += n; done {
			return out.String() + "|" + body[at:]
		}
	}
	t.Fatalf("%q does not end", body)
	return ""
}

func TestRelay_DropsTrailersThatSteerTheNextReader(t *testing.T) {
	f := func(trailers, want string) {
		t.Helper()
		body := "5;a=b\r\nhello\r\n0\r\n"
		for size := 1; size <= len(body+trailers)+6; size++ {
			if got := relayed(t, body+trailers+"\r\nnext", size); !strings.HasPrefix(got, body+want+"\r\n|") {
				t.Fatalf("%q in pieces of %d: got %q", trailers, size, got)
			}
		}
	}
	f("", "")
	f("X-Sum: 1\r\nServer-Timing: a\r\n", "X-Sum: 1\r\nServer-Timing: a\r\n")
	f("Content-Length: 9\r\n", "")
	f("X: 1\r\ncontent_length: 9\r\nY:\r\n", "X: 1\r\nY:\r\n")
	for _, name := range []string{
		"Transfer-Encoding", "Transfer_Encoding", "HOST", "X-Forwarded-For", "x_forwarded_proto", "X-Forwarded-Anything", "Forwarded",
		"X-Real-IP", "Via", "Authorization", "Proxy-Authorization", "WWW-Authenticate", "Cookie", "Set-Cookie", "Connection",
		"Keep-Alive", "Proxy-Connection", "Upgrade", "Trailer", "TE", "Expect", "Content-Encoding", "Content-Range", "Content-Type",
	} {
		f(name+": evil\r\nGrpc-Status: 0\r\n", "Grpc-Status: 0\r\n")
	}
	f("Contents-Length: 1\r\nHosts: 2\r\nX-Forward: 3\r\n", "Contents-Length: 1\r\nHosts: 2\r\nX-Forward: 3\r\n")
}
