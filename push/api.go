package push

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/apierror"
)

// APIOptions are what an API is built from.
type APIOptions struct {
	Config config.Push
	Hub    *Hub
	// ChannelsPerConnection is limits.channels_per_connection.
	ChannelsPerConnection int
	Log                   *slog.Logger
}

// API is the push API (SPEC §6) on its own listener.
type API struct {
	hub     *Hub
	server  *fasthttp.Server
	log     *slog.Logger
	callers *callers
	tokens  [][sha256.Size]byte
	hosts   map[string]bool
	most    int
	table   []route
	// ctx ends with Shutdown's patience, and with it whatever a request waits for.
	ctx    context.Context
	cancel context.CancelFunc
}

// idleTimeout is how long a kept-alive connection of a backend stays unused.
const idleTimeout = 2 * time.Minute

// NewAPI returns the API; Serve makes it listen.
func NewAPI(o APIOptions) *API {
	a := &API{hub: o.Hub, log: o.Log, callers: newCallers(), hosts: map[string]bool{}, most: o.ChannelsPerConnection}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	for _, t := range o.Config.Tokens {
		a.tokens = append(a.tokens, sha256.Sum256([]byte(t)))
	}
	for _, h := range o.Config.Hosts {
		a.hosts[strings.ToLower(h)] = true
	}
	a.table = a.routes()
	a.server = &fasthttp.Server{
		Handler:               a.handle,
		ErrorHandler:          a.broken,
		NoDefaultServerHeader: true,
		MaxRequestBodySize:    int(o.Config.MaxBody),
		ReadBufferSize:        8 << 10,
		IdleTimeout:           idleTimeout,
		ReadTimeout:           time.Minute,
		Logger:                quiet{},
		CloseOnShutdown:       true,
		ConnState:             a.callers.state,
	}
	return a
}

// quiet: what fasthttp would log is answered to the caller.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// Serve takes requests from ln until Shutdown.
func (a *API) Serve(ln net.Listener) error {
	if err := a.server.Serve(ln); err != nil {
		return fmt.Errorf("push listener: %w", err)
	}
	return nil
}

// Shutdown lets requests in flight finish until ctx ends, then cuts them.
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
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		discard(ctx.Conn())
		fail(ctx, apierror.New(apierror.TooLarge, "body: larger than push.max_body"))
	case errors.As(err, &small):
		fail(ctx, apierror.New(apierror.TooLarge, "request head too large"))
		ctx.SetStatusCode(fasthttp.StatusRequestHeaderFieldsTooLarge)
	default:
		fail(ctx, apierror.New(apierror.InvalidArgument, "not an HTTP request that can be read"))
	}
	ctx.SetConnectionClose()
}

const (
	discardTime  = 5 * time.Second
	discardPause = 200 * time.Millisecond
	discardBytes = 64 << 20
)

// discard reads what a caller still sends of a body that is too large: closing
// with unread input would destroy the answer that says so.
func discard(conn net.Conn) {
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
	defer func() {
		if r := recover(); r != nil {
			a.log.Error("panic in the push API", "err", fmt.Sprint(r), "stack", string(debug.Stack()))
			fail(ctx, apierror.New(apierror.Internal, "internal error"))
		}
	}()
	if err := a.guard(ctx); err != nil {
		fail(ctx, err)
		return
	}
	if err := a.route(ctx); err != nil {
		fail(ctx, err)
	}
}

// guard refuses whoever should not talk to this listener (SPEC §11 Push and admin
// listeners): a page in a browser, a rebound DNS name, a caller without token.
func (a *API) guard(ctx *fasthttp.RequestCtx) *apierror.Error {
	h := &ctx.Request.Header
	if !a.goodHost(string(h.Host())) {
		return apierror.New(apierror.Forbidden, "Host must be an IP address, localhost or one of push.hosts")
	}
	if site := h.Peek("Sec-Fetch-Site"); len(site) > 0 && string(site) != "none" && string(site) != "same-origin" {
		return apierror.New(apierror.Forbidden, "not for pages of other sites")
	}
	if len(h.Peek("Origin")) > 0 {
		return apierror.New(apierror.Forbidden, "push is for programs, not for pages")
	}
	if len(a.tokens) > 0 && !a.goodToken(h.Peek("Authorization")) {
		ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
		return apierror.New(apierror.Unauthenticated, "Authorization: Bearer with one of push.tokens is wanted")
	}
	return nil
}

func (a *API) goodHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if name == "localhost" || a.hosts[name] {
		return true
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}

// goodToken compares hashes, so that neither content nor length shows in time.
func (a *API) goodToken(header []byte) bool {
	const scheme = "bearer "
	if len(header) < len(scheme) || !strings.EqualFold(string(header[:len(scheme)]), scheme) {
		return false
	}
	sum := sha256.Sum256(header[len(scheme):])
	good := 0
	for i := range a.tokens {
		good |= subtle.ConstantTimeCompare(sum[:], a.tokens[i][:])
	}
	return good == 1
}

func fail(ctx *fasthttp.RequestCtx, e *apierror.Error) {
	ctx.Response.ResetBody()
	ctx.SetStatusCode(e.Code.Status())
	ctx.SetContentType("application/json")
	ctx.SetBody(e.AsJSON())
}

func answer(ctx *fasthttp.RequestCtx, v any) *apierror.Error {
	b, err := json.Marshal(v)
	if err != nil {
		return apierror.New(apierror.Internal, "answer: "+err.Error())
	}
	ctx.SetContentType("application/json")
	ctx.SetBody(b)
	return nil
}

// asAPI makes any error an answer.
func asAPI(err error) *apierror.Error {
	var e *apierror.Error
	if errors.As(err, &e) {
		return e
	}
	return apierror.New(apierror.Unavailable, "the broker did not confirm")
}
