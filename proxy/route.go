package proxy

import (
	"bytes"
	"net/url"
	"strings"

	"github.com/pushcart/pushcart/internal/http1"
)

// routes decides by the raw path where a request goes.
type routes struct {
	exact    map[string]bool
	prefixes []string // "/rt/*" is the prefix "/rt/"
	wall     []string // segments of the webhook's path, normal; nil: none
}

func newRoutes(paths []string, wall string) *routes {
	r := &routes{exact: map[string]bool{}}
	for _, p := range paths {
		if prefix, ok := strings.CutSuffix(p, "*"); ok {
			r.prefixes = append(r.prefixes, prefix)
		} else {
			r.exact[p] = true
		}
	}
	if wall != "" {
		r.wall = normal([]byte(wall))
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

// walled says whether path is the webhook's, or below, in any spelling that a
// backend might take for it (SPEC §7).
func (r *routes) walled(path []byte) bool {
	if r.wall == nil {
		return false
	}
	segments := normal(path)
	if len(segments) < len(r.wall) {
		return false
	}
	for i, s := range r.wall {
		if segments[i] != s {
			return false
		}
	}
	return true
}

// decodings is how often a path is decoded at the most.
const decodings = 3

// normal is a path's segments: decoded until stable, "\" as "/", ";…" cut, slashes
// merged, dots resolved, case folded.
func normal(path []byte) []string {
	s := string(path)
	for range decodings {
		decoded := unescape(s)
		if decoded == s {
			break
		}
		s = decoded
	}
	s = strings.ReplaceAll(strings.ToLower(s), `\`, "/")
	var out []string
	for segment := range strings.SplitSeq(s, "/") {
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "", ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, segment)
		}
	}
	return out
}

// unescape decodes what can be decoded and leaves the rest, as lenient backends
// do.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if d, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(d)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
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
	if r.Get("Upgrade") == nil {
		return noUpgrade
	}
	switch {
	case r.HasToken("Upgrade", "websocket"):
		return toWebSocket
	case r.HasToken("Upgrade", "h2c") || !r.HasToken("Connection", "upgrade"):
		return toH2C
	}
	return toOther
}

var methodConnect, methodTrace = []byte("CONNECT"), []byte("TRACE")

func refusedMethod(m []byte) bool {
	return bytes.Equal(m, methodConnect) || bytes.Equal(m, methodTrace)
}
