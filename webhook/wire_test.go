package webhook

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/testbackend"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

const (
	secret1 = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	secret2 = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

func settingsOf(t testing.TB, cfg config.Webhook, backend config.Backend) *Settings {
	t.Helper()
	set, err := NewSettings(cfg, backend)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func newDispatcher(t testing.TB, cfg config.Webhook) *Dispatcher {
	t.Helper()
	d := New(settingsOf(t, cfg, config.Backend{}), "node1", metrics.New("test", ""), slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = d.Close(ctx)
	})
	return d
}

type outcome struct {
	Answer
	err error
}

func ask(t testing.TB, d *Dispatcher, ev *Event) outcome {
	t.Helper()
	got := make(chan outcome, 1)
	d.Ask(ev, func(a Answer, err error) { got <- outcome{a, err} })
	select {
	case o := <-got:
		return o
	case <-time.After(20 * time.Second):
		t.Fatal("no answer")
		return outcome{}
	}
}

// verify is Standard Webhooks' verification, written from its specification and
// not from ours.
func verify(secret string, r *testbackend.Request) error {
	key, err := base64.StdEncoding.DecodeString(secret[len("whsec_"):])
	if err != nil {
		return err
	}
	sent, err := strconv.Atoi(r.Header.Get("webhook-timestamp"))
	if err != nil || time.Since(time.Unix(int64(sent), 0)).Abs() > 5*time.Minute {
		return fmt.Errorf("timestamp %q", r.Header.Get("webhook-timestamp"))
	}
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, strings.Join([]string{r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), r.Body}, "."))
	for s := range strings.SplitSeq(r.Header.Get("webhook-signature"), " ") {
		if version, sum, _ := strings.Cut(s, ","); version == "v1" && sum == base64.StdEncoding.EncodeToString(h.Sum(nil)) {
			return nil
		}
	}
	return errors.New("no signature fits")
}

func TestWire_TheWholeEvent(t *testing.T) {
	b := testbackend.New(t)
	cfg := testConfig(b.URL + "/hooks//{event}")
	cfg.Secrets = []config.Secret{secret1, secret2}
	d := newDispatcher(t, cfg)
	cookies := `a="x y"; s=j:{"n":1}; flag; b=c=d==`
	ask(t, d, &Event{
		Source: Source{
			ConnectionID: "node1-abc", UserID: `zoë 100% "q"`,
			ForwardedFor: "10.0.0.1, 10.0.0.2", Proto: "https", Host: "app.test:8443",
			Header: []Field{
				{"Cookie", cookies}, {"Cookie", "second=2"}, {"authorization", "Bearer x"}, {"User-Agent", "ua/1"},
				{"ce-userid", "admin"}, {"Webhook-Signature", "v1,x"}, {"Host", "evil"}, {"X-Forwarded-For", "6.6.6.6"},
				{"X-Break", "a\r\nce-userid: admin\n"},
			},
		},
		Name: Message, Sequence: 42, MessageEvent: "typing", State: []byte(`{"step":1}`),
		ContentType: "application/json", Body: []byte(`{"hello":"wörld"}`),
	})
	r := b.Wait(t, 1)[0]
	if r.Method != "POST" || r.Target != "/hooks//message" || r.Body != `{"hello":"wörld"}` {
		t.Errorf("got %s %s %q", r.Method, r.Target, r.Body)
	}
	one := func(name, want string) {
		t.Helper()
		if got := r.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	one("Content-Type", "application/json")
	one("Host", strings.TrimPrefix(b.URL, "http://"))
	one("ce-specversion", "1.0")
	one("ce-type", "pushcart.message")
	one("ce-source", "/nodes/node1")
	one("ce-subject", "node1-abc")
	one("ce-connectionid", "node1-abc")
	one("ce-userid", "zo%C3%AB%20100%25%20%22q%22")
	one("ce-sequence", "00000000000000000042")
	one("ce-event", "typing")
	one("ce-state", "eyJzdGVwIjoxfQ==")
	one("webhook-id", r.Header.Get("ce-id"))
	one("X-Forwarded-For", "10.0.0.1, 10.0.0.2")
	one("X-Forwarded-Proto", "https")
	one("X-Forwarded-Host", "app.test:8443")
	one("Authorization", "Bearer x")
	one("User-Agent", "ua/1")
	if got := r.Header.Values("Cookie"); len(got) != 2 || got[0] != cookies || got[1] != "second=2" {
		t.Errorf("Cookie: got %q", got)
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(r.Header.Get("ce-id")) {
		t.Errorf("ce-id %q is no UUIDv7", r.Header.Get("ce-id"))
	}
	if at, err := time.Parse(time.RFC3339Nano, r.Header.Get("ce-time")); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("ce-time %q", r.Header.Get("ce-time"))
	}
	for _, s := range []string{secret1, secret2} {
		if err := verify(s, r); err != nil {
			t.Errorf("signature: %v", err)
		}
	}
}

func TestWire_WhatHasNoValueIsAbsent(t *testing.T) {
	b := testbackend.New(t)
	d := newDispatcher(t, testConfig(b.URL))
	ask(t, d, event(Message, "c", 1))
	h := b.Wait(t, 1)[0].Header
	for _, name := range []string{"ce-userid", "ce-event", "ce-state", "webhook-signature", "Content-Type", "User-Agent", "X-Forwarded-For"} {
		if v, ok := h[http.CanonicalHeaderKey(name)]; ok {
			t.Errorf("%s: got %q", name, v)
		}
	}
	if h.Get("Content-Length") != "0" && b.Got()[0].Body != "" {
		t.Errorf("an empty body: %v", h)
	}
}

func TestWire_ARetryHasTheSameIDAndItsOwnSignature(t *testing.T) {
	b := testbackend.New(t)
	b.Script(Message, testbackend.Status(503, "Retry-After", "1"), testbackend.Say(200, "yes"))
	cfg := testConfig(b.URL)
	cfg.Secrets = []config.Secret{secret1}
	o := ask(t, newDispatcher(t, cfg), event(Message, "c", 1))
	if o.err != nil || string(o.Body) != "yes" || o.ContentType != "" {
		t.Fatalf("got %+v", o)
	}
	r := b.Wait(t, 2)
	if r[0].Header.Get("ce-id") != r[1].Header.Get("ce-id") || r[0].Header.Get("ce-time") != r[1].Header.Get("ce-time") {
		t.Error("the retry is another event")
	}
	if r[0].Header.Get("webhook-timestamp") == r[1].Header.Get("webhook-timestamp") {
		t.Error("the retry has the old timestamp")
	}
	for _, r := range r {
		if err := verify(secret1, r); err != nil {
			t.Error(err)
		}
	}
}

func TestAnswers_OfAMessage(t *testing.T) {
	b := testbackend.New(t)
	cfg := testConfig(b.URL)
	cfg.Timeout = 300 * time.Millisecond
	cfg.Retry = config.Retry{Min: time.Millisecond, Max: 2 * time.Millisecond, GiveUpAfter: time.Hour}
	d := newDispatcher(t, cfg)
	// status 0: ErrUnavailable is wanted
	f := func(name string, a testbackend.Answer, tries, status int, body string) {
		t.Helper()
		before := len(b.Got())
		b.Script(Message, a)
		o := ask(t, d, event(Message, "c", 1))
		if n := len(b.Got()) - before; n != tries {
			t.Errorf("%s: %d tries, want %d", name, n, tries)
		}
		if status == 0 && !errors.Is(o.err, ErrUnavailable) || status != 0 && (o.err != nil || o.Status != status || string(o.Body) != body) {
			t.Errorf("%s: got %d %q %v, want %d %q", name, o.Status, o.Body, o.err, status, body)
		}
	}
	f("204", testbackend.Status(204), 1, 204, "")
	f("200", testbackend.Say(200, "hi"), 1, 200, "hi")
	f("410", testbackend.Say(410, "go"), 1, 410, "go")
	f("422", testbackend.Say(422, "no"), 1, 422, "no")
	f("429", testbackend.Say(429, "slow"), 3, 429, "slow")
	f("redirect", testbackend.Status(307, "Location", b.URL+"/elsewhere"), 1, 0, "")
	f("500", testbackend.Status(500), 1, 0, "")
	f("501", testbackend.Status(501), 1, 0, "")
	f("502", testbackend.Status(502), 3, 0, "")
	f("503", testbackend.Status(503), 3, 0, "")
	f("504", testbackend.Status(504), 3, 0, "")
	f("503 for an hour", testbackend.Status(503, "Retry-After", "3600"), 1, 0, "")
	f("hangs", b.Hang(), 1, 0, "")
	f("closes without a word", testbackend.Raw(""), 3, 0, "")
	f("garbage", testbackend.Raw("nonsense\r\n\r\n"), 1, 0, "")
	f("half an answer", testbackend.Raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), 1, 0, "")
	f("half a head", testbackend.Raw("HTTP/1.1 200 OK\r\nContent-"), 1, 0, "")
	f("too large", testbackend.Say(200, strings.Repeat("x", 1<<20+1)), 1, 0, "")
	f("large", testbackend.Say(200, strings.Repeat("x", 1<<20)), 1, 200, strings.Repeat("x", 1<<20))
	f("head of 64 KiB", testbackend.Status(200, "X-Fill", strings.Repeat("x", 64<<10)), 1, 0, "")
	f("head of 60 KiB", testbackend.Status(200, "X-Fill", strings.Repeat("x", 60<<10)), 1, 200, "")
	f("head of 8 KiB", testbackend.Status(200, "X-Fill", strings.Repeat("x", 8<<10)), 1, 200, "")
}

func TestAnswers_NoConnectionIsRetriedAndConnectIsNot(t *testing.T) {
	l := testkit.Listen(t)
	cfg := testConfig("http://" + l.Addr().String())
	_ = l.Close()
	cfg.Retry.Min, cfg.Retry.Max = time.Millisecond, time.Millisecond
	d := newDispatcher(t, cfg)
	var tries atomic.Int32
	send := d.queue.send
	d.queue.send = func(j *job) verdict { tries.Add(1); return send(j) }
	if o := ask(t, d, event(Message, "c", 1)); !errors.Is(o.err, ErrUnavailable) || tries.Load() != 3 {
		t.Errorf("message: %v after %d tries", o.err, tries.Load())
	}
	tries.Store(0)
	if _, err := d.Connect(t.Context(), d.Settings(), event(Connect, "c", 1)); !errors.Is(err, ErrUnavailable) || tries.Load() != 1 {
		t.Errorf("connect: %v after %d tries", err, tries.Load())
	}
}

func TestConnect_Every4xxIsAnAnswer(t *testing.T) {
	b := testbackend.New(t)
	d := newDispatcher(t, testConfig(b.URL))
	for _, status := range []int{400, 401, 403, 408, 410, 418, 429} {
		b.Script(Connect, testbackend.Say(status, "no", "Content-Type", "text/x"))
		a, err := d.Connect(t.Context(), d.Settings(), event(Connect, "c", 1))
		if err != nil || a.Status != status || string(a.Body) != "no" || a.ContentType != "text/x" {
			t.Errorf("%d: got %+v, %v", status, a, err)
		}
	}
	for _, status := range []int{302, 304, 500, 503} {
		b.Script(Connect, testbackend.Status(status))
		if _, err := d.Connect(t.Context(), d.Settings(), event(Connect, "c", 1)); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%d: got %v", status, err)
		}
	}
	if n := len(b.Got()); n != 11 {
		t.Errorf("%d requests, want one each", n)
	}
}

func TestTell_ATooLargeAnswerStillCounts(t *testing.T) {
	b := testbackend.New(t)
	b.Script(Connected, testbackend.Say(200, strings.Repeat("x", 1<<20+1)))
	d := newDispatcher(t, testConfig(b.URL))
	d.Tell(event(Connected, "c", 1))
	d.Tell(event(Disconnected, "c", 2))
	if r := b.Wait(t, 2); r[1].Event != Disconnected {
		t.Errorf("connected was told again: %s", r[1].Event)
	}
}

// TestSockets_AClosedKeptAliveConnectionLosesNothing has a backend that closes
// each connection after its answer without saying so: every request meets a
// connection that is just gone, and must be sent once, on another.
func TestSockets_AClosedKeptAliveConnectionLosesNothing(t *testing.T) {
	l := testkit.Listen(t)
	var requests atomic.Int32
	closed := make(chan struct{}, 100)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				requests.Add(1)
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
			_ = conn.Close()
			closed <- struct{}{}
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-stopped })
	d := newDispatcher(t, testConfig("http://"+l.Addr().String()))
	for i := range 50 {
		// One attempt only: a 2nd try would hide what is lost.
		a, err := d.Connect(t.Context(), d.Settings(), event(Connect, "c", uint64(i)))
		if err != nil || string(a.Body) != "ok" {
			t.Fatalf("request %d: %q, %v", i, a.Body, err)
		}
		<-closed
	}
	if n := requests.Load(); n != 50 {
		t.Errorf("the backend saw %d requests, want 50", n)
	}
}

func TestOrder_TwoConnectionsAgainstARealServer(t *testing.T) {
	b := testbackend.New(t)
	b.Script(Connected, testbackend.Status(500), testbackend.Status(503), testbackend.Status(204))
	cfg := testConfig(b.URL)
	cfg.Retry.Min, cfg.Retry.Max = time.Millisecond, 5*time.Millisecond
	d := newDispatcher(t, cfg)
	for _, c := range []string{"a", "b"} {
		d.Tell(event(Connected, c, 1))
		d.Tell(event(Disconnected, c, 2))
	}
	done := map[string]bool{}
	for _, r := range b.Wait(t, 6) {
		if r.Event == Disconnected {
			done[r.Connection] = true
		} else if done[r.Connection] {
			t.Errorf("connected of %s after disconnected", r.Connection)
		}
	}
	if len(done) != 2 {
		t.Errorf("told %v", done)
	}
}

// Used in turn, the connections that one burst needed would all be kept busy, and
// open, by whatever load follows.
func TestWire_FewConnectionsAreUsedAfterABurst(t *testing.T) {
	const burst = 8
	var arrived atomic.Int32
	all := make(chan struct{})
	var mu sync.Mutex
	used := map[string]int{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := arrived.Add(1); n == burst {
			close(all)
		}
		<-all
		mu.Lock()
		used[r.RemoteAddr]++
		mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(srv.Close)
	d := newDispatcher(t, testConfig(srv.URL+"/"))
	answers := make(chan error, burst)
	for i := range burst {
		d.Ask(&Event{Source: Source{ConnectionID: fmt.Sprint("c", i)}, Name: Message}, func(_ Answer, err error) { answers <- err })
	}
	for range burst {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	clear(used)
	mu.Unlock()
	for range 3 * burst {
		ask(t, d, &Event{Source: Source{ConnectionID: "c"}, Name: Message})
	}
	if len(used) != 1 {
		t.Errorf("%d connections were used for one request at a time, want 1", len(used))
	}
}

// loggedDispatcher is one whose log can be read.
func loggedDispatcher(t testing.TB, cfg config.Webhook) (*Dispatcher, *testkit.Log) {
	t.Helper()
	d, out := newDispatcher(t, cfg), &testkit.Log{}
	d.rare = ratelog.New(slog.New(slog.NewTextHandler(out, nil)))
	return d, out
}
