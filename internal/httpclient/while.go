package httpclient

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/valyala/fasthttp"
)

// DoWhile is Do that also cuts the request off when ctx ends. req has a body.
func (c *Client) DoWhile(ctx context.Context, req *fasthttp.Request, resp *fasthttp.Response, timeout time.Duration) error {
	b := &watchedBody{ctx: ctx, resp: resp, whole: append([]byte(nil), req.Body()...)}
	defer b.release()
	deadline := time.Now().Add(timeout)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.release()
		b.rest.Reset(b.whole)
		req.SetBodyStream(b, len(b.whole))
		err := c.http.DoDeadline(req, resp, deadline)
		if errors.Is(err, errStale) { // nothing was sent, and that connection is gone
			continue
		}
		return inOurWords(err)
	}
}

// watchedBody is a request's body. The library has no way to say which connection a
// request got, but reads the body after it wrote the connection's addresses into the
// response, on the same goroutine.
type watchedBody struct {
	ctx   context.Context
	resp  *fasthttp.Response
	whole []byte
	rest  bytes.Reader
	stop  func() bool // nil until a connection is known
}

func (b *watchedBody) Read(p []byte) (int, error) {
	if a, ok := b.resp.LocalAddr().(address); ok && b.stop == nil {
		b.stop = context.AfterFunc(b.ctx, func() { _ = a.of.Conn.Close() })
	}
	return b.rest.Read(p)
}

// release lets the connection go on without ctx.
func (b *watchedBody) release() {
	if b.stop != nil {
		b.stop()
		b.stop = nil
	}
}
