package push

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/apierror"
)

// guard refuses whoever should not talk to this listener (SPEC §11 Push and admin
// listeners): a page in a browser, a rebound DNS name, a caller without token.
type guard struct {
	tokens [][sha256.Size]byte
	hosts  map[string]bool
}

func newGuard(cfg config.Push) guard {
	g := guard{hosts: map[string]bool{}}
	for _, t := range cfg.Tokens {
		g.tokens = append(g.tokens, sha256.Sum256([]byte(t)))
	}
	for _, h := range cfg.Hosts {
		g.hosts[strings.ToLower(h)] = true
	}
	return g
}

func (g *guard) check(ctx *fasthttp.RequestCtx) *apierror.Error {
	h := &ctx.Request.Header
	if !g.goodHost(string(h.Host())) {
		return apierror.New(apierror.Forbidden, "Host must be an IP address, localhost or one of push.hosts")
	}
	if site := string(h.Peek("Sec-Fetch-Site")); site != "" && site != "none" && site != "same-origin" {
		return apierror.New(apierror.Forbidden, "not for pages of other sites")
	}
	if h.Peek("Origin") != nil {
		return apierror.New(apierror.Forbidden, "push is for programs, not for pages")
	}
	if len(g.tokens) > 0 && !g.goodToken(h.Peek("Authorization")) {
		ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
		return apierror.New(apierror.Unauthenticated, "Authorization: Bearer with one of push.tokens is wanted")
	}
	return nil
}

func (g *guard) goodHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if inside, ok := strings.CutPrefix(name, "["); ok {
		name = strings.TrimSuffix(inside, "]")
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	name = strings.ToLower(name)
	return name == "localhost" || g.hosts[name]
}

// goodToken compares hashes, so that neither content nor length shows in time.
func (g *guard) goodToken(header []byte) bool {
	const scheme = "bearer "
	if len(header) < len(scheme) || !strings.EqualFold(string(header[:len(scheme)]), scheme) {
		return false
	}
	sum := sha256.Sum256(header[len(scheme):])
	good := 0
	for i := range g.tokens {
		good |= subtle.ConstantTimeCompare(sum[:], g.tokens[i][:])
	}
	return good == 1
}
