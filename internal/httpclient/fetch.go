package httpclient

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/dial"
	"github.com/pushcart/pushcart/internal/tlsconf"
)

// maxRedirects is how many Fetch follows.
const maxRedirects = 3

// Errors of Fetch's redirects.
var (
	errRedirects = errors.New("too many redirects")
	errDowngrade = errors.New("redirected from https to http")
	errLocation  = errors.New("redirected to no http:// or https:// URL")
)

// Fetch GETs rawURL on a new connection and returns the body of the 200. It
// follows a few redirects, never from https to http. It is cut off when ctx ends.
func Fetch(ctx context.Context, rawURL string, maxBody int, timeout time.Duration) ([]byte, error) {
	deadline := time.Now().Add(timeout)
	for range 1 + maxRedirects {
		body, next, err := fetchOne(ctx, rawURL, maxBody, time.Until(deadline))
		if err != nil || next == "" {
			return body, err
		}
		rawURL = next
	}
	return nil, errRedirects
}

// fetchOne returns the body, or where to ask instead.
func fetchOne(ctx context.Context, rawURL string, maxBody int, timeout time.Duration) (body []byte, next string, err error) {
	e, err := dial.New(rawURL, tlsconf.Trust{})
	if err != nil {
		return nil, "", err
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.URI().DisablePathNormalizing = true
	if err := req.URI().Parse(nil, []byte(rawURL)); err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.SetUserAgent("pushcart") // some gateways refuse requests without one
	req.SetConnectionClose()
	c := New(Options{Endpoint: e, MaxConns: 1, MaxBody: maxBody})
	defer context.AfterFunc(ctx, c.Cut)()
	err = c.Do(req, resp, timeout)
	switch status := resp.StatusCode(); {
	case redirects(status) && (err == nil || errors.Is(err, ErrBodyTooLarge)):
		next, err = redirect(rawURL, string(resp.Header.Peek("Location")))
		return nil, next, err
	case err != nil:
		return nil, "", err
	case status != fasthttp.StatusOK:
		return nil, "", fmt.Errorf("status %d", status)
	}
	return append([]byte(nil), resp.Body()...), "", nil
}

func redirects(status int) bool {
	switch status {
	case 301, 302, 303, 307, 308:
		return true
	}
	return false
}

func redirect(from, location string) (string, error) {
	base, err := url.Parse(from)
	if err != nil {
		return "", err
	}
	to, err := base.Parse(location)
	switch {
	case err != nil, location == "", to.Scheme != "http" && to.Scheme != "https", to.Host == "":
		return "", errLocation
	case base.Scheme == "https" && to.Scheme == "http":
		return "", errDowngrade
	}
	to.Fragment = ""
	return to.String(), nil
}
