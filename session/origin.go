package session

import (
	"net"
	"net/url"
	"strings"

	"github.com/pushcart/pushcart/internal/hostport"
)

// origins decides which Origin headers are let in (SPEC §3 allowed_origins, §11).
type origins struct {
	any     bool
	null    bool
	exact   map[string]bool // scheme://host:port, lower case
	domains []string        // scheme://*.rest:port
}

func newOrigins(allowed []string) origins {
	o := origins{exact: map[string]bool{}}
	for _, a := range allowed {
		switch {
		case a == "*":
			o.any = true
		case a == "null":
			o.null = true
		case strings.Contains(a, "://*."):
			o.domains = append(o.domains, normalOrigin(a))
		default:
			o.exact[normalOrigin(a)] = true
		}
	}
	return o
}

// allow says whether a handshake with this Origin for this Host may come in. A
// client that sends none is not a browser.
func (o origins) allow(origin, host string) bool {
	switch {
	case origin == "" || o.any:
		return true
	case origin == "null":
		return o.null
	case len(o.exact) == 0 && len(o.domains) == 0 && !o.null:
		return sameHost(origin, host)
	}
	n := normalOrigin(origin)
	if o.exact[n] {
		return true
	}
	for _, d := range o.domains {
		scheme, rest, _ := strings.Cut(d, "*")
		// One label or more must stand for the *.
		if strings.HasPrefix(n, scheme) && strings.HasSuffix(n, rest) && len(n) > len(scheme)+len(rest) {
			return true
		}
	}
	return false
}

func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	scheme := strings.ToLower(u.Scheme)
	return withPort(strings.ToLower(u.Host), scheme) == withPort(strings.ToLower(host), scheme)
}

// normalOrigin is scheme://host:port in lower case, the port filled in.
func normalOrigin(s string) string {
	scheme, host, ok := strings.Cut(strings.ToLower(s), "://")
	if !ok {
		return strings.ToLower(s)
	}
	return scheme + "://" + withPort(strings.TrimSuffix(host, "/"), scheme)
}

func withPort(host, scheme string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	if port := hostport.DefaultPort(scheme); port != "" {
		return host + ":" + port
	}
	return host
}
