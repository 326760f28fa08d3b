package hostport_test

import (
	"testing"

	"github.com/pushcart/pushcart/internal/hostport"
)

func TestHost_HasNeitherPortNorBrackets(t *testing.T) {
	for in, want := range map[string]string{
		"a.example:80": "a.example", "a.example": "a.example", "10.0.0.1:80": "10.0.0.1", "10.0.0.1": "10.0.0.1",
		"[::1]:80": "::1", "[::1]": "::1", "::1": "::1", "": "", ":80": "", "[::1": "::1",
	} {
		if got := hostport.Host(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestLoopback_IsThisMachineAlone(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:80": true, "127.1.2.3:80": true, "[::1]:80": true, "localhost:80": true, ":80": false, "0.0.0.0:80": false,
		"[::]:80": false, "10.0.0.1:80": false, "a.example:80": false, "localhost": false, "": false,
	} {
		if got := hostport.Loopback(addr); got != want {
			t.Errorf("%q: got %v", addr, got)
		}
	}
}

func TestDefaultPort_IsTheSchemes(t *testing.T) {
	for scheme, want := range map[string]string{"http": "80", "ws": "80", "https": "443", "wss": "443", "app": "", "": ""} {
		if got := hostport.DefaultPort(scheme); got != want {
			t.Errorf("%q: got %q, want %q", scheme, got, want)
		}
	}
}
