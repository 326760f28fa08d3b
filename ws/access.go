package ws

import (
	"time"

	"github.com/pushcart/pushcart/internal/accesslog"
)

// begin notes for the access log, if there is one, what came.
func (h *handshake) begin() {
	if h.set.access == nil {
		return
	}
	r, from := h.asks.Head, h.asks.From
	h.entry = accesslog.Entry{
		Kind: accesslog.Handshake, Begin: time.Now(), ID: []byte(from.RequestID), IP: from.IP,
		Method: r.Method, Host: []byte(from.PublicHost()), Path: r.Path, Query: r.Query, HasQuery: r.HasQuery,
		In: int64(r.HeadLen()),
	}
}
