package auth

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/names"
)

const (
	maxForwardBody = 64 << 10
	// idleForward is below the keep-alive of common app servers (Node: 5 s).
	idleForward = 2 * time.Second
	maxForwards = 256
)

// forwarder asks an endpoint that the backend already has, like "who am I".
type forwarder struct {
	cfg    config.Forward
	client *fasthttp.HostClient
}

func newForwarder(cfg config.Forward) (*forwarder, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("auth.forward.url: %w", err)
	}
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[u.Scheme == "https"]
	}
	dialer := &net.Dialer{Timeout: cfg.Timeout}
	return &forwarder{cfg: cfg, client: &fasthttp.HostClient{
		Addr:                     net.JoinHostPort(u.Hostname(), port),
		IsTLS:                    u.Scheme == "https",
		TLSConfig:                &tls.Config{MinVersion: tls.VersionTLS12},
		MaxConns:                 maxForwards,
		MaxConnWaitTimeout:       cfg.Timeout,
		MaxIdleConnDuration:      idleForward,
		ConnPoolStrategy:         fasthttp.LIFO, // so that a burst's connections become idle after it
		MaxResponseBodySize:      maxForwardBody,
		NoDefaultUserAgentHeader: true,
		Dial:                     func(a string) (net.Conn, error) { return dialer.Dial("tcp", a) },
	}}, nil
}

// ask sends the handshake's Cookie and Authorization along.
func (f *forwarder) ask(ctx context.Context, h Handshake) (Identity, error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(f.cfg.URL)
	// fasthttp would take a Cookie apart and write it anew; it must arrive as it came.
	req.Header.DisableSpecialHeader()
	req.Header.Set("Host", string(req.URI().Host()))
	for _, name := range []string{"Cookie", "Authorization"} {
		if v := h.Header(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	req.Header.Set("Accept", "application/json")
	deadline := time.Now().Add(f.cfg.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := f.client.DoDeadline(req, resp, deadline); err != nil {
		return Identity{}, fmt.Errorf("%w: auth.forward does not answer", ErrUnavailable)
	}
	switch status := resp.StatusCode(); {
	case status == fasthttp.StatusForbidden:
		return Identity{}, fmt.Errorf("%w: the backend says no", ErrForbidden)
	case status/100 != 2:
		return Identity{}, unauthenticated("the backend does not know who this is")
	}
	user, err := f.user(resp)
	if err != nil {
		return Identity{}, unauthenticated("the backend names no user: it " + err.Error())
	}
	return Identity{User: user}, nil
}

func (f *forwarder) user(resp *fasthttp.Response) (string, error) {
	if name, ok := strings.CutPrefix(f.cfg.User, "header:"); ok {
		user := string(resp.Header.Peek(name))
		if user == "" {
			return "", errNoUser
		}
		return user, names.CheckUser(user)
	}
	return userAt(resp.Body(), f.cfg.User)
}
