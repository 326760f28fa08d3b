package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/internal/httpclient"
	"github.com/pushcart/pushcart/internal/names"
	"github.com/pushcart/pushcart/internal/strictjson"
	"github.com/pushcart/pushcart/internal/tlsconf"
)

const (
	maxForwardBody = 1 << 20

	// MaxForwards is how many connections to its endpoint forward opens at most.
	MaxForwards = 256
)

// forwarder asks an endpoint that the backend already has, like "who am I".
type forwarder struct {
	cfg    config.Forward
	to     *httpclient.Target
	uri    fasthttp.URI
	client *httpclient.Client
	guard  *guard.Guard
	work   sync.WaitGroup // requests under way
}

func newForwarder(cfg config.Forward, backend config.Backend, log *slog.Logger) (*forwarder, error) {
	to, err := httpclient.Resolve(cfg.URL, cfg.Host, httpclient.Backend{
		URL: backend.URL, TLS: tlsconf.Trust(backend.TLS), PreserveHost: backend.PreserveHost,
	})
	if err != nil {
		return nil, fmt.Errorf("auth.forward.url: %w", err)
	}
	f := &forwarder{cfg: cfg, to: to, guard: guard.New(log, nil), client: httpclient.New(httpclient.Options{
		Endpoint: to.Endpoint, MaxConns: MaxForwards, Wait: cfg.Timeout, MaxBody: maxForwardBody, Idempotent: true,
	})}
	f.uri.DisablePathNormalizing = true
	if err := f.uri.Parse(nil, []byte(to.URL)); err != nil {
		return nil, fmt.Errorf("auth.forward.url: %w", err)
	}
	return f, nil
}

// close ends the requests under way.
func (f *forwarder) close() {
	f.client.Cut()
	f.work.Wait()
}

// ask waits for the endpoint's answer, no longer than ctx.
func (f *forwarder) ask(ctx context.Context, h Handshake) (Identity, error) {
	timeout := f.cfg.Timeout
	if d, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(d))
	}
	type result struct {
		id  Identity
		err error
	}
	got := make(chan result, 1)
	req := fasthttp.AcquireRequest()
	f.encode(req, &h) // here, as what h shows is not kept
	f.work.Go(func() {
		resp := fasthttp.AcquireResponse()
		defer fasthttp.ReleaseRequest(req)
		defer fasthttp.ReleaseResponse(resp)
		r := result{err: f.noAnswer(errPanicked)}
		defer func() { got <- r }()
		defer f.guard.Recover("forward", nil)
		r.id, r.err = f.judge(resp, f.client.Do(req, resp, timeout))
	})
	select {
	case r := <-got:
		return r.id, r.err
	case <-ctx.Done():
		return Identity{}, f.noAnswer(httpclient.ErrTimeout)
	}
}

// encode writes the request. fasthttp would take a Cookie apart and rewrite it;
// every line must arrive as it came.
func (f *forwarder) encode(req *fasthttp.Request, h *Handshake) {
	head := &req.Header
	head.DisableNormalizing()
	head.DisableSpecialHeader()
	req.SetURI(&f.uri)
	head.Add("Host", f.to.Host(h.Host))
	accepts := false
	for _, name := range f.cfg.Headers {
		if httpclient.OwnHeader(name) {
			continue
		}
		for _, line := range h.Lines(name) {
			head.Add(name, line)
			if httpclient.BindsConnection(name, line) {
				head.SetConnectionClose()
			}
			accepts = accepts || strings.EqualFold(name, "Accept")
		}
	}
	if !accepts {
		head.Add("Accept", "application/json")
	}
	head.Add("X-Forwarded-For", h.From.ForwardedFor)
	head.Add("X-Forwarded-Proto", h.From.Proto)
	head.Add("X-Forwarded-Host", h.From.Host)
	head.Add("X-Forwarded-Uri", h.URI)
}

// judge says what the answer means (SPEC §11 Handshake). An answer over the bound
// counts by its head.
func (f *forwarder) judge(resp *fasthttp.Response, err error) (Identity, error) {
	tooLarge := errors.Is(err, httpclient.ErrBodyTooLarge)
	if err != nil && !tooLarge {
		return Identity{}, f.noAnswer(err)
	}
	id := Identity{SetCookie: setCookies(resp)}
	status := resp.StatusCode()
	if status/100 != 2 {
		r := &Refusal{kind: ErrUnauthenticated, Key: "auth.forward.url",
			Reason: "the backend answered " + strconv.Itoa(status) + " when asked who this is"}
		switch {
		case status == fasthttp.StatusForbidden:
			r.kind = ErrForbidden
		case status/100 == 3:
			r.Detail = "it redirects, perhaps to a login page; it should answer 401"
		case status == fasthttp.StatusBadRequest, status == fasthttp.StatusMisdirectedRequest:
			r.Key = "auth.forward.host"
		}
		return id, r
	}
	user, err := f.user(resp, tooLarge)
	if err != nil {
		r := &Refusal{kind: ErrUnauthenticated, Key: "auth.forward.user", Reason: "the backend names no user: it " + err.Error()}
		if errors.Is(err, errNoUser) {
			r.Detail = f.absent(resp)
		}
		return id, r
	}
	id.User = user
	return id, nil
}

// absent says where no user was found, and nothing of what was there.
func (f *forwarder) absent(resp *fasthttp.Response) string {
	if name, ok := strings.CutPrefix(f.cfg.User, "header:"); ok {
		return "the answer has no header " + name
	}
	if !json.Valid(strictjson.TrimBOM(resp.Body())) {
		return "the answer is not JSON"
	}
	return "nothing is at " + f.cfg.User + " in the answer"
}

func (f *forwarder) noAnswer(err error) error {
	r := &Refusal{kind: ErrUnavailable, Key: "auth.forward.url",
		Reason: "the backend does not say who this is", Detail: err.Error()}
	switch {
	case errors.Is(err, httpclient.ErrTimeout):
		r.Key = "auth.forward.timeout"
	case f.to.OfBackend:
		r.Key = "auth.forward.url, backend.url"
	}
	return r
}

var (
	errSeveral  = errors.New("comes several times")
	errTooLarge = errors.New("is in an answer larger than 1 MiB")
)

func (f *forwarder) user(resp *fasthttp.Response, tooLarge bool) (string, error) {
	if name, ok := strings.CutPrefix(f.cfg.User, "header:"); ok {
		lines := resp.Header.PeekAll(name)
		switch {
		case len(lines) > 1:
			return "", errSeveral
		case len(lines) == 0 || len(lines[0]) == 0:
			return "", errNoUser
		}
		user := string(lines[0])
		return user, names.CheckUser(user)
	}
	if tooLarge {
		return "", errTooLarge
	}
	return userAt(resp.Body(), f.cfg.User)
}

// setCookies are the answer's Set-Cookie lines, for the client.
func setCookies(resp *fasthttp.Response) (lines []string) {
	for _, line := range resp.Header.Cookies() {
		if !bytes.ContainsAny(line, "\r\n\x00") { // else it would say more than a cookie
			lines = append(lines, string(line))
		}
	}
	return lines
}
