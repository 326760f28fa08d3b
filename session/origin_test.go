package session

import "testing"

func TestOrigins(t *testing.T) {
	f := func(allowed []string, origin, host string, want bool) {
		t.Helper()
		if got := newOrigins(allowed).allow(origin, host); got != want {
			t.Errorf("allowed %q, Origin %q, Host %q: got %v, want %v", allowed, origin, host, got, want)
		}
	}
	f(nil, "", "app", true)
	f(nil, "http://app", "app", true)
	f(nil, "http://APP:80", "app", true)
	f(nil, "https://app", "app:443", true)
	f(nil, "https://app:8443", "app", false)
	f(nil, "http://evil", "app", false)
	f(nil, "null", "app", false)
	f(nil, "garbage", "app", false)
	f([]string{"*"}, "null", "app", true)
	f([]string{"null"}, "null", "app", true)
	f([]string{"null"}, "http://app", "app", false)
	f([]string{"https://app.example.com"}, "https://App.example.com:443", "x", true)
	f([]string{"https://app.example.com"}, "http://app.example.com", "x", false)
	f([]string{"https://*.example.com"}, "https://a.b.example.com", "x", true)
	f([]string{"https://*.example.com"}, "https://example.com", "x", false)
	f([]string{"https://*.example.com"}, "https://.example.com", "x", false)
	f([]string{"https://*.example.com"}, "https://evilexample.com", "x", false)
	f([]string{"https://*.example.com:8443"}, "https://a.example.com:8443", "x", true)
	f([]string{"https://*.example.com"}, "https://a.example.com:8443", "x", false)
}
