package ws

import (
	"io"
	"net"
	"net/http"
	"strconv"
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
}

func refuse(result string, code apierror.Code, message string) *refusal {
	return &refusal{
		result: result, status: code.Status(), contentType: contentJSON,
		body: apierror.New(code, message).AsJSON(),
	}
}

// after adds Retry-After.
func (r *refusal) after(seconds int) *refusal {
	r.header += "Retry-After: " + strconv.Itoa(seconds) + "\r\n"
	return r
}

const (
	refusalWait   = time.Second // for a client to take the answer
	refusalLinger = 64 << 10    // bytes of it that are read and thrown away
)

// send writes the answer and closes conn. What the client sent meanwhile is read
// first, as close(2) with unread input would destroy the answer.
func (r *refusal) send(conn net.Conn) {
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
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(refusalWait))
	if _, err := conn.Write(b); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		_, _ = io.CopyN(io.Discard, conn, refusalLinger)
	}
}
