package session

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testbackend"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/webhook"
)

// broken is an engine whose breaker of message is open, and a connection to it.
func broken(t testing.TB) (*Engine, *tape) {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(app.Close)
	e := newTestEngine(t, func(c *config.Config) {
		c.Auth.Anonymous = true
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = app.URL+"/hooks", []string{"message"}, true
		c.Webhook.Breaker = config.Breaker{Failures: 3, Pause: time.Hour}
		c.Webhook.Retry.Min, c.Webhook.Retry.Max = time.Millisecond, time.Millisecond
	})
	var wg sync.WaitGroup
	for range 3 {
		c := open(t, e, "")
		wg.Add(1)
		e.Ask(&c.session, c, hub.Text, []byte("x"), func(Answer, error) { wg.Done() })
	}
	wg.Wait()
	return e, open(t, e, "")
}

func TestAsk_IsAnsweredAtOnceWhileTheBreakerIsOpen(t *testing.T) {
	e, c := broken(t)
	before := c.session.sequence.Load()
	var got []error
	for range 5 {
		e.Ask(&c.session, c, hub.Text, []byte("x"), func(_ Answer, err error) { got = append(got, err) })
	}
	if len(got) != 5 || !errors.Is(got[0], ErrUnavailable) {
		t.Errorf("got %v before Ask returned", got)
	}
	if n := c.session.sequence.Load() - before; n != 5 || c.holds != 0 {
		t.Errorf("%d of the sequence, %d holds; want 5 and 0", n, c.holds)
	}
}

// BenchmarkAsk_BreakerOpen is what a message costs beside its frame while nobody is
// asked.
func BenchmarkAsk_BreakerOpen(b *testing.B) {
	e, c := broken(b)
	p := []byte("hello")
	b.ReportAllocs()
	for b.Loop() {
		e.Ask(&c.session, c, hub.Text, p, func(Answer, error) {})
	}
}

func TestTrace_OnlyATrustedProxysIsKept(t *testing.T) {
	const kept, state = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "a=1"
	app := testbackend.New(t)
	e := newTestEngine(t, func(c *config.Config) {
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = app.URL+"/hooks", []string{"*"}, true
		c.Webhook.ForwardHeaders.Connect = []string{"Baggage", "X-Other"}
	})
	f := func(trusted bool, lines, parent, state, baggage string) {
		t.Helper()
		before := len(app.Got())
		h := handshakeWith(t, lines+"X-Other: o\r\n")
		h.From.Trusted = trusted
		c := openWith(t, e, h)
		c.say(hub.Text, "hello")
		testkit.Eventually(t, "three events", func() bool { return len(app.Got()) == before+3 })
		seen := map[string]bool{}
		for _, r := range app.Got()[before:] {
			if got := r.Header.Get("traceparent"); parent != "" && got != parent || parent == "" && (len(got) != 55 || got == kept || seen[got[3:35]]) {
				t.Errorf("%q of %v: %s has traceparent %q", lines, trusted, r.Event, got)
			}
			seen[r.Header.Get("traceparent")[3:35]] = true
			if got := r.Header.Get("tracestate"); got != state {
				t.Errorf("%q of %v: %s has tracestate %q", lines, trusted, r.Event, got)
			}
			if got := r.Header.Get("baggage"); r.Event == webhook.Connect && (got != baggage || r.Header.Get("X-Other") != "o") {
				t.Errorf("%q of %v: baggage %q", lines, trusted, got)
			}
		}
	}
	lines := fmt.Sprintf("traceparent: %s\r\ntracestate: %s\r\nbaggage: b=1\r\n", kept, state)
	f(true, lines, kept, state, "b=1")
	f(false, lines, "", "", "")
	f(true, "tracestate: a=1\r\n", "", "", "")
	f(true, "traceparent: nonsense\r\ntracestate: a=1\r\n", "", "", "")
	f(true, "traceparent: "+kept+"\r\n"+lines, "", "", "b=1")
}
