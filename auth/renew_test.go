package auth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

func renewed(t *testing.T, a *Authenticator, change func(*config.Auth)) *Authenticator {
	t.Helper()
	cfg := config.Default().Auth
	change(&cfg)
	next, err := a.Renew(cfg, config.Default().Backend)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(next.Close)
	return next
}

func TestRenew_NoTokenIsKnown(t *testing.T) {
	a := newAuth(t, withSecret)
	token := compact(`{"alg":"HS256"}`, `{"sub":"ann","exp":4102444800}`, hs256(secret))
	if _, err := a.Token(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	next := renewed(t, a, func(c *config.Auth) { c.JWT.Secret = "another secret, and a long one too" })
	if _, err := next.Token(t.Context(), token); !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("with the new secret: got %v", err)
	}
	a.Retire()
	if _, err := a.Token(t.Context(), token); err != nil {
		t.Errorf("a handshake that began before: got %v", err)
	}
}

func TestRenew_KeepsTheKeysOfTheSameURL(t *testing.T) {
	i := newIssuer(t)
	i.add(t, "k1")
	a := i.auth(t)
	testkit.Eventually(t, "the set is fetched", fetched(a))
	i.mu.Lock()
	i.garbage = true // nothing is to be had of it any more
	i.mu.Unlock()
	same := renewed(t, a, func(c *config.Auth) {
		c.JWT.JWKSURL, c.JWT.Algorithms, c.JWT.Leeway = i.URL+"/keys", []string{"ES256"}, 0
	})
	other := renewed(t, a, func(c *config.Auth) { c.JWT.JWKSURL, c.JWT.Algorithms = i.URL+"/other", []string{"ES256"} })
	if !fetched(same)() || fetched(other)() {
		t.Errorf("keys are there: %v with the same URL, %v with another", fetched(same)(), fetched(other)())
	}
	a.Retire()
	if err := a.keys.refresher.ctx.Err(); !errors.Is(err, context.Canceled) {
		t.Error("the old one still refreshes its keys")
	}
	for name, a := range map[string]*Authenticator{"the new one": same, "the retired one": a} {
		if _, err := a.Token(t.Context(), i.token("k1")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRetire_ForwardUnderWayIsAnswered(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		w.Header().Set("X-User-Id", "ann")
	}))
	t.Cleanup(app.Close)
	a := forwardTo(t, app.URL, config.Backend{}, nil)
	got := make(chan error, 1)
	go func() {
		_, err := a.Forward(t.Context(), cameWith(nil))
		got <- err
	}()
	<-asked
	a.Retire()
	close(release)
	if err := <-got; err != nil {
		t.Error(err)
	}
}
