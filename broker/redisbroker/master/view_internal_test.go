package master

import (
	"net"
	"testing"
)

// Whatever sentinels answer, an address is one, or none.
func FuzzView(f *testing.F) {
	f.Add("10.0.0.1", "6379", "7", "sentinel")
	f.Add("fd00::1", "26379", "x", "s_down,sentinel,disconnected")
	f.Add("redis.example", "0", "-1", "")
	f.Add("a]:1", "70000", "9223372036854775808", "sentinel,")
	f.Fuzz(func(t *testing.T, host, port, epoch, flags string) {
		var v view
		v.read([]string{host, port}, map[string]string{"config-epoch": epoch}, []map[string]string{{"ip": host, "port": port, "flags": flags}, nil})
		for _, at := range append(v.others, v.address) {
			if at == "" {
				continue
			}
			if h, p, err := net.SplitHostPort(at); err != nil || h != host || p != port {
				t.Errorf("%q, %q: %q", host, port, at)
			}
		}
		v = view{}
		if v.read([]string{host}, nil, nil); v.address != "" {
			t.Errorf("half an address: %q", v.address)
		}
	})
}
