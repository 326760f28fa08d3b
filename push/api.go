package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/gate"
	"github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/internal/plainjson"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/sockio"
)

// APIOptions are what an API is built from.
type APIOptions struct {
	Settings *Settings
	// MaxBody bounds a request body.
	MaxBody config.Size
	Hub     *hub.Hub
	Letters Letters
	Log     *slog.Logger
}

// API is the push API (SPEC §6) on its own listener.
type API struct {
	settings atomic.Pointer[Settings]
	hub      *hub.Hub
	letters  Letters
	server   *fasthttp.Server
	log      *slog.Logger
	quiet    *ratelog.Logger // for what repeats
	panics   *guard.Guard
	callers  *callers
	routes   []route
	// ctx ends with Shutdown's patience, and with it whatever a request waits for.
	ctx    context.Context
	cancel context.CancelFunc
}

const (
	// idleTimeout is how long a kept-alive connection of a backend stays unused.
	idleTimeout = 2 * time.Minute
	// readTimeout bounds a request, head and body, writeTimeout its answer.
	readTimeout  = time.Minute
	writeTimeout = time.Minute
	// maxHead bounds a request's head: two names of 255 bytes, each percent-encoded,
	// fit in its first line.
	maxHead = 16 << 10
)

// NewAPI returns the API; Serve makes it listen.
func NewAPI(o APIOptions) *API {
	a := &API{hub: o.Hub, letters: o.Letters, log: o.Log, quiet: ratelog.New(o.Log), panics: o.Hub.Guard(), callers: newCallers()}
	a.settings.Store(o.Settings)
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.routes = a.table()
	a.server = &fasthttp.Server{
		Handler:                      a.handle,
		ErrorHandler:                 a.broken,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		MaxRequestBodySize:           int(o.MaxBody),
		ReadBufferSize:               maxHead,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		CloseOnShutdown:              true,
		ConnState:                    a.callers.state,
		Logger:                       ratelog.ForLibrary("fasthttp", o.Log),
	}
	return a
}

// Serve takes requests from ln until Shutdown.
func (a *API) Serve(ln net.Listener) error {
	if err := a.server.Serve(sockio.Listener{Listener: ln}); err != nil {
		return fmt.Errorf("push listener: %w", err)
	}
	return nil
}

// Shutdown lets requests in flight finish until ctx ends; those that still wait are then
// answered with what is known.
func (a *API) Shutdown(ctx context.Context) error {
	a.callers.close(false)
	err := a.server.ShutdownWithContext(ctx)
	a.cancel()
	if err != nil {
		a.callers.close(true)
		return fmt.Errorf("push listener: requests cut: %w", err)
	}
	return nil
}

// broken answers what never became a request.
func (a *API) broken(ctx *fasthttp.RequestCtx, err error) {
	defer a.logAccess(ctx, a.settings.Load(), false)
	defer a.panics.Recover("push API", ctx.SetConnectionClose)
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		drainBody(ctx.Conn())
		fail(ctx, tooLarge())
	case errors.As(err, &small):
		fail(ctx, apierror.New(apierror.TooLarge, "request head too large"))
		ctx.SetStatusCode(fasthttp.StatusRequestHeaderFieldsTooLarge)
	default:
		fail(ctx, apierror.New(apierror.InvalidArgument, "not an HTTP request that can be read"))
	}
	ctx.SetConnectionClose()
}

func tooLarge() *apierror.Error {
	return apierror.New(apierror.TooLarge, "body: larger than push.max_body")
}

const (
	discardTime  = 5 * time.Second
	discardPause = 200 * time.Millisecond
	discardBytes = 64 << 20
)

// drainBody reads what a caller still sends of a body that is too large: closing
// with unread input would destroy the answer that says so.
func drainBody(conn net.Conn) {
	buf := make([]byte, 16<<10)
	end := time.Now().Add(discardTime)
	for total := 0; total < discardBytes && time.Now().Before(end); {
		_ = conn.SetReadDeadline(time.Now().Add(discardPause))
		n, err := conn.Read(buf)
		if total += n; err != nil {
			return
		}
	}
}

func (a *API) handle(ctx *fasthttp.RequestCtx) {
	set, in := a.settings.Load(), false
	defer func() { a.logAccess(ctx, set, in) }()
	defer a.panics.Recover("push API", func() { fail(ctx, apierror.New(apierror.Internal, "internal error")) })
	err := rules.Check(set.gate, asked(ctx))
	if in = err == nil; in {
		err = a.route(ctx)
	}
	if err != nil {
		a.report(ctx, err)
		fail(ctx, err)
	}
}

// asked is what the gate wants to know.
func asked(ctx *fasthttp.RequestCtx) gate.Request {
	h := &ctx.Request.Header
	return gate.Request{
		Host: string(h.Host()), FetchSite: h.Peek("Sec-Fetch-Site"), Origin: h.Peek("Origin") != nil,
		Authorization: h.Peek("Authorization"),
	}
}

const contentJSON = "application/json"

func fail(ctx *fasthttp.RequestCtx, e *apierror.Error) {
	ctx.Response.ResetBody()
	if e.Code == apierror.Unauthenticated {
		ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
	}
	ctx.SetStatusCode(e.Code.Status())
	ctx.SetContentType(contentJSON)
	ctx.SetBody(e.AsJSON())
}

func respond(ctx *fasthttp.RequestCtx, v any) *apierror.Error {
	b, err := plainjson.Append(nil, v)
	if err != nil {
		return apierror.New(apierror.Internal, "answer: "+err.Error())
	}
	ctx.SetContentType(contentJSON)
	ctx.SetBody(b)
	return nil
}

// unconfirmed is the answer where the broker failed and nothing was pushed.
func unconfirmed(error) *apierror.Error {
	return apierror.New(apierror.Unavailable, "the broker did not confirm")
}
