package session

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/webhook"
)

// apply changes all that a handshake is judged by, as a reload does.
func apply(t *testing.T, e *Engine, change func(*config.Config)) {
	t.Helper()
	cfg := config.Default()
	change(&cfg)
	old := e.settings.Load().auth
	defer old.Retire()
	verifies, err := old.Renew(cfg.Auth, cfg.Backend)
	if err != nil {
		t.Fatal(err)
	}
	hooks, err := webhook.NewSettings(cfg.Webhook, cfg.Backend)
	if err != nil {
		t.Fatal(err)
	}
	if e.hooks != nil {
		e.hooks.Apply(hooks)
	}
	e.Apply(newTestSettings(t, &cfg, verifies, hooks))
}

func TestApply_AHandshakeUnderWayIsJudgedByOneConfiguration(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	asked, release := make(chan string, 2), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		if r.URL.Path != "/decides" {
			w.WriteHeader(http.StatusNoContent)
		} else {
			<-release
			_, _ = w.Write([]byte(`{"user_id":"bob","channels":["a","b"]}`))
		}
	}))
	t.Cleanup(app.Close)
	e := newTestEngine(t, func(c *config.Config) {
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = app.URL+"/decides", []string{"connect"}, true
	})
	type result struct {
		a *Admission
		r *Refusal
	}
	came := make(chan result, 1)
	go func() {
		a, r := e.Admit(t.Context(), handshakeWith(t, ""))
		came <- result{a, r}
	}()
	<-asked
	apply(t, e, func(c *config.Config) { // tokens name the user, and the webhook lets in whoever has one
		c.Auth.JWT.Secret = secret
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = app.URL+"/enriches", []string{"connect"}, true
		c.Limits.ChannelsPerConnection = 1
	})
	close(release)
	if got := <-came; got.r != nil || got.a.identity.user != "bob" || len(got.a.identity.channels) != 2 {
		t.Errorf("the handshake under way got %+v", got.r)
	} else {
		got.a.Cancel()
	}
	if _, r := e.Admit(t.Context(), handshakeWith(t, "")); r == nil || r.Status != http.StatusUnauthorized || r.cause != "no token" {
		t.Errorf("the next one without a token got %+v, want 401", r)
	}
	if path := <-asked; path != "/enriches" {
		t.Errorf("the next one was asked about at %s", path)
	}
}

// Between two changes of a reload a handshake must not find the old rule of tokens
// beside the new webhook.
func TestApply_OnlyTheEnginesOwnSettingsCountForAHandshake(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(app.Close)
	e := newTestEngine(t, func(c *config.Config) {
		c.Auth.JWT.Secret = "0123456789abcdef0123456789abcdef"
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = app.URL, []string{"message"}, true
	})
	cfg := config.Default()
	cfg.Webhook.URL, cfg.Webhook.Events, cfg.Webhook.Unsigned = app.URL, []string{"connect"}, true
	hooks, err := webhook.NewSettings(cfg.Webhook, cfg.Backend)
	if err != nil {
		t.Fatal(err)
	}
	e.hooks.Apply(hooks) // and the engine's turn has not come yet
	if _, r := e.Admit(t.Context(), handshakeWith(t, "")); r == nil || r.Status != http.StatusUnauthorized {
		t.Errorf("got %+v, want 401 without a token", r)
	}
}
