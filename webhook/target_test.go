package webhook

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testbackend"
	"github.com/pushcart/pushcart/metrics"
)

func TestWire_SendsTheHostThatIsConfigured(t *testing.T) {
	hosts := make(chan string, 1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts <- r.Host
		w.WriteHeader(http.StatusNoContent)
	}))
	defer app.Close()
	own := app.Listener.Addr().String()
	f := func(url, host string, preserve bool, asked, want string) {
		t.Helper()
		cfg := testConfig(url)
		cfg.Host = host
		d := New(settingsOf(t, cfg, config.Backend{URL: app.URL, PreserveHost: preserve}), "n", metrics.New("test", ""), slog.New(slog.DiscardHandler))
		defer func() { _ = d.Close(context.Background()) }()
		ev := event(Message, "c", 1)
		ev.RequestHost, ev.Host = asked, "public.example"
		if o := ask(t, d, ev); o.err != nil {
			t.Errorf("%s: %v", url, o.err)
		} else if got := <-hosts; got != want {
			t.Errorf("url %q, host %q, preserve_host %v: got %q, want %q", url, host, preserve, got, want)
		}
	}
	f(app.URL+"/hooks", "", true, "app.example", own)
	f(app.URL+"/hooks", "preserve", true, "app.example:1", "app.example:1")
	f(app.URL+"/hooks", "other.example", true, "app.example", "other.example")
	f("/hooks/{event}", "", true, "app.example", "app.example")
	f("/hooks/{event}", "", false, "app.example", own)
	f("/hooks/{event}", "preserve", false, "app.example", "app.example")
	f("/hooks/{event}", "", true, "", own)
}

func TestWire_APathAloneIsAskedOverTheBackendsSocket(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "app.sock"))
	if err != nil {
		t.Fatal(err)
	}
	app := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.RequestURI))
	})}}
	app.Start()
	defer app.Close()
	d := New(settingsOf(t, testConfig("/hooks//{event}"), config.Backend{URL: "unix:" + ln.Addr().String()}), "n", metrics.New("test", ""), slog.New(slog.DiscardHandler))
	defer func() { _ = d.Close(context.Background()) }()
	if o := ask(t, d, event(Message, "c", 1)); o.err != nil || string(o.Body) != "/hooks//message" {
		t.Errorf("got %q, %v", o.Body, o.err)
	}
}

// An answer over webhook.max_answer closed the client with 1011 and nobody said why.
func TestAnswers_TooLargeIsAnErrorThatTheLogExplains(t *testing.T) {
	b := testbackend.New(t)
	cfg := testConfig(b.URL)
	cfg.MaxAnswer = 1000
	var lines bytes.Buffer
	d := New(settingsOf(t, cfg, config.Backend{}), "n", metrics.New("test", ""), slog.New(slog.NewTextHandler(&lines, nil)))
	f := func(status, size, wantStatus, wantSize int, wantErr error) {
		t.Helper()
		b.Script(Message, testbackend.Say(status, strings.Repeat("x", size)))
		o := ask(t, d, event(Message, "c", 1))
		if !errors.Is(o.err, wantErr) || o.err == nil && (o.Status != wantStatus || len(o.Body) != wantSize) {
			t.Errorf("%d with %d bytes: got %d with %d, %v", status, size, o.Status, len(o.Body), o.err)
		}
	}
	f(200, 1000, 200, 1000, nil)
	if lines.Len() > 0 {
		t.Errorf("logged %s", lines.String())
	}
	f(200, 1001, 0, 0, ErrUnavailable)
	f(410, 1001, 410, 0, nil) // a refusal is one however long it is
	f(422, 1001, 422, 0, nil)
	f(500, 1001, 0, 0, ErrUnavailable)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_ = d.Close(ctx)
	if got := lines.String(); strings.Count(got, "webhook.max_answer") != 1 || strings.Contains(got, "xxx") {
		t.Errorf("got %s, want one line that names webhook.max_answer", got)
	}
}

// NTLM and Negotiate authenticate a connection: the next client's events must not
// come on it.
func TestWire_NobodyGetsAConnectionThatNTLMAuthenticated(t *testing.T) {
	from := make(chan string, 1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from <- r.RemoteAddr
		w.WriteHeader(http.StatusNoContent)
	}))
	defer app.Close()
	d := newDispatcher(t, testConfig(app.URL))
	send := func(authorization string) string {
		ev := event(Message, "c", 1)
		ev.Header = []Field{{"authorization", authorization}}
		if o := ask(t, d, ev); o.err != nil {
			t.Error(o.err)
		}
		return <-from
	}
	first := send("Basic eA==")
	if again := send("negotiate YII="); again != first {
		t.Errorf("connections are not kept: %s, then %s", first, again)
	}
	if next := send("Basic eA=="); next == first {
		t.Errorf("%s was used again", next)
	}
}
