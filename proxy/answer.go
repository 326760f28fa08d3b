package proxy

import (
	"net/http"
	"net/netip"
	"strconv"

	"github.com/pushcart/pushcart/internal/apierror"
)

// errorAnswer is a response of our own (SPEC §7).
type errorAnswer struct {
	status  int // 0: the code's own
	code    apierror.Code
	message string
	close   bool
	head    bool // the request was HEAD

	setting string // the configuration key to look at
	backend error  // what went wrong at the backend, if it did
}

// overfull is what a connection past client.max_connections gets.
var overfull = (&errorAnswer{code: apierror.Unavailable, message: "too many connections", close: true}).bytes()

func (a *errorAnswer) bytes() []byte {
	if a.status == 0 {
		a.status = a.code.Status()
	}
	body := apierror.New(a.code, a.message).AsJSON()
	b := append(make([]byte, 0, 256), "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = append(append(b, ' '), http.StatusText(a.status)...)
	b = append(b, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	if a.close {
		b = append(b, "\r\nConnection: close"...)
	}
	if a.status == http.StatusMethodNotAllowed {
		b = append(b, "\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"...)
	}
	b = append(b, "\r\n\r\n"...)
	if !a.head {
		b = append(b, body...)
	}
	return b
}

// report logs it, once per cause and minute (SPEC §11 Process).
func (s *Server) report(a *errorAnswer, peer netip.Addr) {
	args := []any{"status", a.status, "reason", a.message, "ip", peer.String()}
	what := "request refused"
	if a.backend != nil {
		what = "request failed"
		args = append(args, "backend", s.backend.URL, "err", a.backend)
	}
	if a.setting != "" {
		args = append(args, "setting", a.setting)
	}
	s.quiet.Warn(a.message, what, args...)
}

// answer writes it and says whether the connection goes on.
func (c *clientConn) answer(a *errorAnswer) bool {
	a.close = a.close || c.s.isDraining()
	b := a.bytes()
	c.count(a.status)
	c.s.report(a, c.peer)
	// A deadline that ended the request must not end its answer.
	c.revive()
	if err := c.write(b); err != nil {
		c.brokeOff(errClientGone)
		return false
	}
	if a.close {
		c.ending = endFinish
	}
	return !a.close
}
