package proxy

import (
	"bytes"
	"strings"

	"github.com/pushcart/pushcart/internal/http1"
)

// routes decides by the raw path which requests end here.
type routes struct {
	exact    map[string]bool
	prefixes []string // "/rt/*" is the prefix "/rt/"
}

func newRoutes(paths []string) *routes {
	r := &routes{exact: map[string]bool{}}
	for _, p := range paths {
		if prefix, ok := strings.CutSuffix(p, "*"); ok {
			r.prefixes = append(r.prefixes, prefix)
		} else {
			r.exact[p] = true
		}
	}
	return r
}

// websocket says whether upgrades on path end here. The path is compared byte for
// byte: what is not exactly it is the backend's.
func (r *routes) websocket(path []byte) bool {
	if r.exact[string(path)] {
		return true
	}
	for _, p := range r.prefixes {
		if len(path) >= len(p) && string(path[:len(p)]) == p {
			return true
		}
	}
	return false
}

// terminates says whether a request that asks for an upgrade ends here. An offer of
// websocket counts wherever it stands in the list (RFC 6455 §4.2.1); one of h2c
// without it is an ordinary request, which the backend answers in HTTP/1.1.
func (r *routes) terminates(q *http1.Request) bool {
	return r.websocket(q.Path) && (q.Fields.Has(http1.Upgrade, "websocket") || !q.Fields.Has(http1.Upgrade, "h2c"))
}

// upgrade is what a request asks to become.
type upgrade uint8

const (
	noUpgrade upgrade = iota
	toWebSocket
	toOther // a tunnel
	toH2C   // answered in HTTP/1.1
)

// asks says what a request's Upgrade asks for.
func asks(r *http1.Request) upgrade {
	switch {
	case !r.Fields.Contain(http1.Upgrade):
		return noUpgrade
	case r.Fields.Has(http1.Upgrade, "h2c"):
		return toH2C // whatever else is offered: h2c must not get through a tunnel
	case r.Fields.Has(http1.Upgrade, "websocket"):
		return toWebSocket
	case !r.Fields.Has(http1.Connection, "upgrade"):
		return toH2C
	}
	return toOther
}

var methodConnect, methodTrace = []byte("CONNECT"), []byte("TRACE")

func refusedMethod(m []byte) bool {
	return bytes.Equal(m, methodConnect) || bytes.Equal(m, methodTrace)
}
