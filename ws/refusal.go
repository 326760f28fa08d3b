package ws

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/pushcart/pushcart/session"
)

const (
	refusalWait   = time.Second // for a client to take the answer
	refusalLinger = 64 << 10    // bytes of it that are read and thrown away
)

// sendRefusal writes a refusal and closes conn. What the client sent meanwhile is read
// first, as close(2) with unread input would destroy the answer.
func sendRefusal(conn net.Conn, r *session.Refusal) {
	defer conn.Close()
	if r.Result == session.ResultLeft {
		return
	}
	b := append(make([]byte, 0, 256+len(r.Body)), "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(append(b, ' '), http.StatusText(r.Status)...)
	b = append(b, "\r\n"...)
	if r.Status == http.StatusUpgradeRequired {
		b = append(b, "Sec-WebSocket-Version: 13\r\n"...)
	}
	if r.RetryAfter > 0 {
		b = append(strconv.AppendInt(append(b, "Retry-After: "...), int64(r.RetryAfter), 10), "\r\n"...)
	}
	b = appendCookies(b, r.SetCookie)
	if r.ContentType != "" {
		b = append(append(append(b, "Content-Type: "...), r.ContentType...), "\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(r.Body)), 10)
	b = append(append(b, "\r\nConnection: close\r\n\r\n"...), r.Body...)
	_ = conn.SetDeadline(time.Now().Add(refusalWait))
	if _, err := conn.Write(b); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		_, _ = io.CopyN(io.Discard, conn, refusalLinger)
	}
}
