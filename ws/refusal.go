package ws

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/pushcart/pushcart/internal/accesslog"
	"github.com/pushcart/pushcart/session"
)

const (
	refusalWait   = time.Second // for a client to take the answer
	refusalLinger = 64 << 10    // bytes of it that are read and thrown away
)

// refuse writes a refusal.
func (h *handshake) refuse(r *session.Refusal) {
	h.entry.Backend = r.Asked
	if r.Result == session.ResultLeft {
		h.entry.End = accesslog.ClientGone
		return
	}
	h.entry.Status = r.Status
	_ = h.conn.SetDeadline(time.Now().Add(refusalWait))
	n, err := h.conn.Write(refusalBytes(r))
	if h.entry.Out = int64(n); err != nil {
		h.entry.End = accesslog.ClientGone
	}
}

func refusalBytes(r *session.Refusal) []byte {
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
	return append(append(b, "\r\nConnection: close\r\n\r\n"...), r.Body...)
}

// linger reads what the client sent meanwhile, as close(2) with unread input would
// destroy the answer.
func (h *handshake) linger() {
	if h.entry.End != "" {
		return
	}
	if half, ok := h.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		_, _ = io.CopyN(io.Discard, h.conn, refusalLinger)
	}
}
