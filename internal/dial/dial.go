package dial

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Connect opens a socket to the server; TLS is the caller's. ctx must have a
// deadline. Of a name with several addresses each gets its share of the time:
// net.Dialer spends all of a short one on the first that does not answer. Where one
// had to be passed over, the one that worked comes first from then on.
func (e *Endpoint) Connect(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	host, port, err := net.SplitHostPort(e.addr)
	if e.network == "unix" || err != nil || host == "" {
		return d.DialContext(ctx, e.network, e.addr)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return d.DialContext(ctx, e.network, e.addr)
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if good := e.good.Load(); good != nil {
		if i := slices.Index(all, *good); i > 0 {
			all[0], all[i] = all[i], all[0]
		}
	}
	return e.connectAny(ctx, all, port)
}

func (e *Endpoint) connectAny(ctx context.Context, all []netip.Addr, port string) (conn net.Conn, err error) {
	var d net.Dialer
	deadline, _ := ctx.Deadline()
	for i, ip := range all {
		share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(all)-i))
		conn, err = d.DialContext(share, e.network, net.JoinHostPort(ip.Unmap().String(), port))
		cancel()
		if err == nil {
			if i > 0 {
				e.good.Store(&ip)
			}
			return conn, nil
		}
	}
	return nil, err
}
