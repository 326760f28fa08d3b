package push

import (
	"bytes"
	"net"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/accesslog"
	"github.com/pushcart/pushcart/internal/requestid"
)

// logAccess writes the line of a request that was answered. The id of a caller that
// was let in is believed. Bytes are those of the bodies: fasthttp keeps the heads to
// itself.
func (a *API) logAccess(ctx *fasthttp.RequestCtx, set *Settings, in bool) {
	if set.access == nil {
		return
	}
	h := &ctx.Request.Header
	e := accesslog.Entry{
		Kind: accesslog.Push, Begin: ctx.Time(), Method: h.Method(), Host: h.Host(), Status: ctx.Response.StatusCode(),
		In: int64(len(ctx.Request.Body())), Out: int64(len(ctx.Response.Body())),
	}
	if e.ID = h.Peek(requestid.Header); !in || !requestid.Good(e.ID) {
		e.ID = requestid.Append(nil, e.Begin)
	}
	if tcp, ok := ctx.RemoteAddr().(*net.TCPAddr); ok {
		e.IP = tcp.AddrPort().Addr().Unmap()
	}
	e.Path, e.Query, e.HasQuery = bytes.Cut(h.RequestURI(), []byte("?"))
	set.access.Write(&e)
}
