package webhook

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// request is what reached an app.
type request struct{ path, signature string }

// app answers by its function, and shows what came.
func app(t *testing.T, answer func(w http.ResponseWriter)) (url string, got chan request) {
	t.Helper()
	got = make(chan request, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case got <- request{r.URL.Path, r.Header.Get("webhook-signature")}:
		default: // retried for ever
		}
		answer(w)
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

func next(t *testing.T, got chan request) request {
	t.Helper()
	select {
	case r := <-got:
		return r
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		return request{}
	}
}

func TestApply_TheNextAttemptIsMadeByTheNewSettings(t *testing.T) {
	url, got := app(t, func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) })
	cfg := testConfig(url + "/old")
	cfg.Secrets, cfg.Retry.Min, cfg.Retry.Max = []config.Secret{secret1}, time.Millisecond, time.Millisecond
	d := newDispatcher(t, cfg)
	d.Tell(event(Connected, "a", 1))
	old := next(t, got)
	url, got = app(t, func(http.ResponseWriter) {})
	cfg.URL, cfg.Secrets = url+"/new", []config.Secret{secret2}
	d.Apply(settingsOf(t, cfg, config.Backend{}))
	r := next(t, got)
	if old.path != "/old" || r.path != "/new" || r.signature == old.signature || !strings.HasPrefix(r.signature, "v1,") {
		t.Errorf("first %v, then %v: want the new path and another signature", old, r)
	}
	d.Tell(event(Disconnected, "a", 2)) // in order, behind what was retried
	next(t, got)
}

func TestApply_AnAttemptUnderWayEndsAsItBegan(t *testing.T) {
	release := make(chan struct{})
	url, got := app(t, func(w http.ResponseWriter) {
		<-release
		_, _ = w.Write([]byte("sixteen letters!"))
	})
	cfg := testConfig(url + "/old")
	d := newDispatcher(t, cfg)
	answers := make(chan outcome, 1)
	d.Ask(event(Message, "a", 1), func(a Answer, err error) { answers <- outcome{a, err} })
	next(t, got)
	cfg.URL, cfg.MaxAnswer, cfg.Timeout = url+"/new", 4, time.Millisecond
	d.Apply(settingsOf(t, cfg, config.Backend{}))
	close(release)
	if o := <-answers; o.err != nil || string(o.Body) != "sixteen letters!" {
		t.Errorf("the attempt under way got %q, %v", o.Body, o.err)
	}
}

func TestApply_ConnectKeepsTheSettingsOfItsHandshake(t *testing.T) {
	url, got := app(t, func(http.ResponseWriter) {})
	cfg := testConfig(url + "/old")
	d := newDispatcher(t, cfg)
	handshakes := d.Settings()
	cfg.URL = url + "/new"
	d.Apply(settingsOf(t, cfg, config.Backend{}))
	if _, err := d.Connect(t.Context(), handshakes, event(Connect, "a", 1)); err != nil {
		t.Fatal(err)
	}
	if r := next(t, got); r.path != "/old" {
		t.Errorf("it was asked at %s", r.path)
	}
}

func TestApply_WithoutAURLEndsWhatWaits(t *testing.T) {
	url, got := app(t, func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
	cfg := testConfig(url)
	cfg.Retry.Min, cfg.Retry.Max = time.Millisecond, time.Millisecond
	d := newDispatcher(t, cfg)
	d.Tell(event(Connected, "a", 1))
	next(t, got)
	cfg.URL = ""
	d.Apply(settingsOf(t, cfg, config.Backend{}))
	testkit.Eventually(t, "the event that waits is given up", func() bool { return d.queue.waiting() == 0 })
	if d.Wants(Connected) {
		t.Error("events are still wanted")
	}
	if o := ask(t, d, event(Message, "a", 2)); o.err == nil {
		t.Error("a message without a webhook got an answer")
	}
}

func TestApply_MaxInFlight(t *testing.T) {
	release := make(chan struct{})
	url, got := app(t, func(http.ResponseWriter) { <-release })
	cfg := testConfig(url)
	cfg.MaxInFlight = 1
	d := newDispatcher(t, cfg)
	for _, conn := range []string{"a", "b"} {
		d.Ask(event(Message, conn, 1), func(Answer, error) {})
	}
	next(t, got)
	cfg.MaxInFlight = 2
	d.Apply(settingsOf(t, cfg, config.Backend{}))
	next(t, got) // beside the first
	close(release)
}
