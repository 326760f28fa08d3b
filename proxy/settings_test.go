package proxy_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
)

// apply changes the settings of a running server.
func (r *rig) apply(change func(*config.Config)) {
	cfg := config.Default()
	change(&cfg)
	r.server.Apply(r.settings(cfg))
}

func TestApply_ARequestUnderWayKeepsItsSettings(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Backend.ResponseTimeout = 300 * time.Millisecond })
	c := r.sends(get)
	b := r.asked()
	b.head()
	r.apply(func(c *config.Config) {
		c.Backend.ResponseTimeout = time.Hour
		c.Webhook.URL = "http://app/hooks"
	})
	b.send("HTTP/1.1 103 Early Hints\r\n\r\n") // from here on the final answer is waited for once more
	c.wants("HTTP/1.1 103 Early Hints\r\n\r\n")
	if got := c.head(); !strings.HasPrefix(got, "HTTP/1.1 504 ") {
		t.Fatalf("the request under way got %q, want 504 within its own timeout", got)
	}
	c = r.sends("GET /hooks HTTP/1.1\r\nHost: app\r\n\r\n")
	if got := c.head(); !strings.HasPrefix(got, "HTTP/1.1 404 ") {
		t.Errorf("the next request got %q, want 404 of the new wall", got)
	}
}

func TestApply_TheNextRequestOfAConnectionHasTheNewSettings(t *testing.T) {
	const asks = "GET / HTTP/1.1\r\nHost: app\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n\r\n"
	r := newRig(t)
	c := r.sends(asks)
	b := r.asked()
	f := func(want string) {
		t.Helper()
		if got := b.head(); !strings.Contains(got, want) {
			t.Errorf("the backend got %q, want %q in it", got, want)
		}
		b.send(ok)
		c.wants(ok)
	}
	f("X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n")
	r.apply(func(c *config.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	c.send(asks)
	f("X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\nX-Forwarded-Proto: https\r\n")
	r.apply(func(*config.Config) {})
	c.send(asks)
	f("X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n")
}
