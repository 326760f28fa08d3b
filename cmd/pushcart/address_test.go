package main

import (
	"net"
	"testing"
)

func TestAdvertised_IsAnAddressThatOthersCanDial(t *testing.T) {
	f := func(listen, host string) {
		t.Helper()
		addr, err := net.ResolveTCPAddr("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		got, port, err := net.SplitHostPort(advertised(addr))
		if err != nil || port != "8080" || host != "" && got != host {
			t.Errorf("%s: got %s port %s, want %s", listen, got, port, host)
		}
		if ip := net.ParseIP(got); host == "" && ip.IsLoopback() {
			t.Errorf("%s: got %s", listen, got)
		}
	}
	f("127.0.0.1:8080", "127.0.0.1")
	f("192.0.2.7:8080", "192.0.2.7")
	f("[2001:db8::1]:8080", "2001:db8::1")
	f(":8080", "")
	f("0.0.0.0:8080", "")
	if got := advertised(&net.UnixAddr{Name: "/run/x"}); got != "/run/x" {
		t.Errorf("got %s", got)
	}
}
