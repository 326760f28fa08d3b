package hostport

import (
	"net"
	"net/netip"
	"strings"
)

// Host is the name or the address in s, without port and brackets.
func Host(s string) string {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	if inside, ok := strings.CutPrefix(s, "["); ok {
		return strings.TrimSuffix(inside, "]")
	}
	return s
}

// Loopback says whether a listener at addr (host:port) is for this machine only.
func Loopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// DefaultPort is the port of a URL that names none; "" for schemes without one.
func DefaultPort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	}
	return ""
}
