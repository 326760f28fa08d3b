package session

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/pushcart/pushcart/auth"
	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/metrics"
	"github.com/pushcart/pushcart/webhook"
)

func TestMain(m *testing.M) { leak.Main(m) }

// newTestEngine is an engine over a hub in memory, with the ways in of the
// configuration. It ends with the test.
func newTestEngine(t testing.TB, change func(*config.Config)) *Engine {
	t.Helper()
	return newTestEngineWith(t, change, func(*Options) {})
}

func newTestEngineWith(t testing.TB, change func(*config.Config), options func(*Options)) *Engine {
	t.Helper()
	cfg := config.Default()
	change(&cfg)
	log, m := slog.New(slog.DiscardHandler), metrics.New("test", "")
	h := hub.NewHub(memory.New(), ids.NewNode(), m, log)
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, err := auth.New(cfg.Auth, cfg.Backend, log)
	if err != nil {
		t.Fatal(err)
	}
	hooks, err := webhook.NewSettings(cfg.Webhook, cfg.Backend)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Settings: newTestSettings(t, &cfg, a, hooks), RequestsInFlight: cfg.WebSocket.RequestsInFlight, Hub: h, Seats: memory.NewSeats(cfg.Limits),
		Protocols: []Named{{Name: "plain", Protocol: plain{}}}, Metrics: m, Log: log,
	}
	if cfg.Webhook.URL != "" {
		o.Webhooks = webhook.New(hooks, h.NodeID(), m, log)
	}
	options(&o)
	e := NewEngine(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		a.Close()
		if o.Webhooks != nil {
			_ = o.Webhooks.Close(ctx)
		}
		e.Close()
		_ = h.Close()
	})
	return e
}

func newTestSettings(t testing.TB, cfg *config.Config, a *auth.Authenticator, hooks *webhook.Settings) *Settings {
	t.Helper()
	s, err := NewSettings(Sections{cfg.WebSocket, cfg.Auth, cfg.Webhook, cfg.Limits, cfg.Channels, cfg.Users}, a, hooks)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// handshakeWith is a request with further header lines.
func handshakeWith(t testing.TB, headers string) Handshake {
	t.Helper()
	head := &http1.Request{}
	if err := http1.ParseRequest([]byte("GET /_push HTTP/1.1\r\nHost: app\r\n"+headers+"\r\n"), head); err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr("10.0.0.1")
	return Handshake{
		Head: head, Timeout: 20 * time.Second,
		From: clientaddr.Origin{IP: ip, ForwardedFor: ip.String(), Proto: "http", Host: "app"},
	}
}
