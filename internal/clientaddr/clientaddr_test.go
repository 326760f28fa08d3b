package clientaddr

import (
	"net/netip"
	"testing"
)

// Proxies in a row write lists, which go on as they came; Traefik says wss for an
// upgrade.
func TestOrigin_ReadsListsOfProtoAndHost(t *testing.T) {
	proxies := Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	f := func(came Forwarded, secure bool, host, proto string) {
		t.Helper()
		o := proxies.Resolve(netip.MustParseAddr("10.1.2.3"), "http", "inner", came)
		if !o.Trusted || o.Secure() != secure || o.PublicHost() != host || o.AsRequest().Proto != proto {
			t.Errorf("%+v: got %v, %q and %q", came, o.Secure(), o.PublicHost(), o.AsRequest().Proto)
		}
		if came.Proto != "" && o.Proto != came.Proto || came.Host != "" && o.Host != came.Host {
			t.Errorf("%+v goes on as %+v", came, o)
		}
	}
	f(Forwarded{}, false, "inner", "http")
	f(Forwarded{Proto: "https, http", Host: "app.example , inner"}, true, "app.example", "https, http")
	f(Forwarded{Proto: "http, https"}, false, "inner", "http, https")
	f(Forwarded{Proto: "WSS"}, true, "inner", "https")
	f(Forwarded{Proto: "ws"}, false, "inner", "http")
	f(Forwarded{Proto: "https"}, true, "inner", "https")
	o := proxies.Resolve(netip.MustParseAddr("192.0.2.1"), "http", "inner", Forwarded{Proto: "https", Host: "evil"})
	if o.Secure() || o.PublicHost() != "inner" || o.Trusted {
		t.Errorf("from a stranger: got %+v", o)
	}
}
