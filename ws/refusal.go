package ws

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pushcart/pushcart/internal/apierror"
)

// refusal is the plain HTTP answer to a handshake that is not let in.
type refusal struct {
	result      string // of the connects metric
	status      int
	header      string // further lines, each with its CRLF
	contentType string
	body        []byte

	// For the log; nothing of it may be a token's or a payload's value.
	cause  string // why, in one of a bounded set of sentences
	detail string // what cause leaves out
	key    string // of the configuration, to look at
}

func refuse(result string, code apierror.Code, message string) *refusal {
	return &refusal{
		result: result, status: code.Status(), contentType: contentJSON,
		body: apierror.New(code, message).AsJSON(), cause: message,
	}
}

// look names the configuration keys that decide.
func (r *refusal) look(keys string) *refusal {
	r.key = keys
	return r
}

// because tells the log more.
func (r *refusal) because(err error) *refusal {
	r.detail = err.Error()
	return r
}

// perhapsTheApps tells those who find the sidecar where the app's own WebSocket
// was.
func (r *refusal) perhapsTheApps() *refusal {
	const hint = "; if this path is a WebSocket of the app, take it out of websocket.paths"
	r.key = strings.TrimPrefix(r.key+", websocket.paths", ", ")
	if r.status == http.StatusUnauthorized {
		r.body = apierror.New(apierror.Unauthenticated, r.cause+hint).AsJSON()
	}
	return r
}

// report logs it, once per cause and minute (SPEC §11 Process). The end of the
// process is no surprise and not worth a line.
func (h *handshake) report(r *refusal) {
	if r.result == "draining" || r.result == resultLeft {
		return
	}
	reason, args := r.cause, []any{"path", string(h.head.Path), "status", r.status}
	if r.detail != "" {
		reason += ": " + r.detail
	}
	args = append(args, "reason", reason, "ip", h.from.IP.String())
	if r.key != "" {
		args = append(args, "setting", r.key)
	}
	h.srv.quiet.Warn("refused: "+r.cause, "handshake refused", args...)
}

// after adds Retry-After.
func (r *refusal) after(seconds int) *refusal {
	r.header += "Retry-After: " + strconv.Itoa(seconds) + "\r\n"
	return r
}

// resultLeft is a handshake whose client is not there any more.
const resultLeft = "left"

const (
	refusalWait   = time.Second // for a client to take the answer
	refusalLinger = 64 << 10    // bytes of it that are read and thrown away
)

// send writes the answer and closes conn. What the client sent meanwhile is read
// first, as close(2) with unread input would destroy the answer.
func (r *refusal) send(conn net.Conn) {
	defer conn.Close()
	if r.result == resultLeft {
		return
	}
	b := append(make([]byte, 0, 256+len(r.body)), "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.status), 10)
	b = append(append(b, ' '), http.StatusText(r.status)...)
	b = append(append(b, "\r\n"...), r.header...)
	if r.contentType != "" {
		b = append(append(append(b, "Content-Type: "...), r.contentType...), "\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(r.body)), 10)
	b = append(append(b, "\r\nConnection: close\r\n\r\n"...), r.body...)
	_ = conn.SetDeadline(time.Now().Add(refusalWait))
	if _, err := conn.Write(b); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		_, _ = io.CopyN(io.Discard, conn, refusalLinger)
	}
}
