package proxy

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"
)

// connect opens a socket to the backend. Of a name with several addresses each gets
// its share of the time: net.Dialer spends all of a short one on the first that
// does not answer. Where one had to be passed over, the one that worked comes first
// from then on.
func (u *upstream) connect(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	host, port, err := net.SplitHostPort(u.addr)
	if u.network == "unix" || err != nil || host == "" {
		return d.DialContext(ctx, u.network, u.addr)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return d.DialContext(ctx, u.network, u.addr)
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if good := u.good.Load(); good != nil {
		if i := slices.Index(all, *good); i > 0 {
			all[0], all[i] = all[i], all[0]
		}
	}
	return u.connectAny(ctx, all, port)
}

func (u *upstream) connectAny(ctx context.Context, all []netip.Addr, port string) (conn net.Conn, err error) {
	var d net.Dialer
	deadline, _ := ctx.Deadline()
	for i, ip := range all {
		share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(all)-i))
		conn, err = d.DialContext(share, u.network, net.JoinHostPort(ip.Unmap().String(), port))
		cancel()
		if err == nil {
			if i > 0 {
				u.good.Store(&ip)
			}
			return conn, nil
		}
	}
	return nil, err
}
