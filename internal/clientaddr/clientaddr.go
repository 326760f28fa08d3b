package clientaddr

import (
	"net/netip"
	"strings"
)

// Origin is where a request came from, as the backend is told in X-Forwarded-*.
type Origin struct {
	// IP is the client: the peer, or behind trusted proxies the rightmost
	// untrusted address of X-Forwarded-For. IPv4-mapped addresses are unmapped.
	IP netip.Addr
	// ForwardedFor is the whole X-Forwarded-For to send on.
	ForwardedFor string
	// Proto is http or https. Of proxies in a row it may be a list.
	Proto string
	// Host is the Host that the client asked for; it may be a list too.
	Host string
	// Trusted: the request came from a trusted proxy.
	Trusted bool
	// RequestID names the request for the access log; "" where nobody asks.
	RequestID string
}

// Secure says whether the client came over TLS.
func (o Origin) Secure() bool {
	p := first(o.Proto)
	return strings.EqualFold(p, "https") || strings.EqualFold(p, "wss")
}

// PublicHost is the host that the client itself named.
func (o Origin) PublicHost() string { return first(o.Host) }

// AsRequest is o for a request made in the place of a handshake, of which some
// proxies say that it came over ws or wss.
func (o Origin) AsRequest() Origin {
	switch strings.ToLower(o.Proto) {
	case "ws":
		o.Proto = "http"
	case "wss":
		o.Proto = "https"
	}
	return o
}

// first is a list's first item: what the outermost of several proxies saw.
func first(list string) string {
	item, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(item)
}

// Proxies are networks whose X-Forwarded-* are believed.
type Proxies []netip.Prefix

// Trusts says whether ip is one of the proxies.
func (p Proxies) Trusts(ip netip.Addr) bool {
	for _, n := range p {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// Forwarded are the X-Forwarded-* values that a request came with, repeated
// headers joined by ", ".
type Forwarded struct{ For, Proto, Host string }

// Resolve says who is behind peer. proto and host are what the request itself
// shows; came counts only if peer is trusted.
func (p Proxies) Resolve(peer netip.Addr, proto, host string, came Forwarded) Origin {
	peer = peer.Unmap()
	o := Origin{IP: peer, ForwardedFor: peer.String(), Proto: proto, Host: host}
	if len(p) == 0 || !p.Trusts(peer) {
		return o
	}
	o.Trusted = true
	if came.Proto != "" {
		o.Proto = came.Proto
	}
	if came.Host != "" {
		o.Host = came.Host
	}
	if came.For == "" {
		return o
	}
	o.ForwardedFor = came.For + ", " + peer.String()
	hops := strings.Split(came.For, ",")
	for i := len(hops) - 1; i >= 0; i-- {
		ip, ok := parseHop(strings.TrimSpace(hops[i]))
		if !ok {
			break // what stands left of an unreadable hop cannot be trusted
		}
		o.IP = ip
		if !p.Trusts(ip) {
			break
		}
	}
	return o
}

// parseHop reads an address as proxies write it: bare, with a port, or an IPv6
// address in brackets.
func parseHop(s string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return ip.Unmap(), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap(), true
	}
	return netip.Addr{}, false
}

// Key is what limits per address count by: the address, or the /64 of an IPv6
// address.
func Key(ip netip.Addr) netip.Addr {
	if ip.Is6() && !ip.Is4In6() {
		p, _ := ip.WithZone("").Prefix(64)
		return p.Addr()
	}
	return ip.Unmap()
}
