package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/testbackend"
	"github.com/pushcart/pushcart/internal/testkit"
)

// mailman is a rig that keeps what each request told.
type mailman struct {
	*rig
	mu       sync.Mutex // guards requests
	requests [][]string
}

func newMailman(t *testing.T, events int, wait time.Duration, answer func(j *job) verdict) *mailman {
	t.Helper()
	m := &mailman{}
	m.rig = newRig(t, func(c *config.Webhook) { c.Batch = config.Batch{Events: events, Wait: wait} }, func(j *job) verdict {
		all := []string{fmt.Sprint(j.event.ConnectionID, j.event.Sequence)}
		for _, o := range j.with {
			all = append(all, fmt.Sprint(o.event.ConnectionID, o.event.Sequence))
		}
		m.mu.Lock()
		m.requests = append(m.requests, all)
		m.mu.Unlock()
		return answer(j)
	})
	return m
}

// got takes what was told until now.
func (m *mailman) got() (all []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.requests {
		all = append(all, strings.Join(r, " "))
	}
	m.requests = nil
	return all
}

func TestBatch_AStormOf15000DisconnectsIs150Requests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailman(t, 100, 100*time.Millisecond, func(*job) verdict { return good })
		for i := range 15_000 {
			m.Tell(event(Disconnected, fmt.Sprint(i, "."), 1))
		}
		pass(time.Second)
		if n := len(m.got()); n != 150 || m.queue.waiting() != 0 {
			t.Errorf("%d requests, %d wait; want 150 and 0", n, m.queue.waiting())
		}
	})
}

func TestBatch_WaitsForOthersAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailman(t, 3, time.Second, func(*job) verdict { return good })
		m.Tell(event(Connected, "a", 1))
		m.Tell(event(Disconnected, "a", 2))
		pass(999 * time.Millisecond)
		want(t, "before its time", m.got(), nil)
		pass(time.Millisecond)
		want(t, "after it", m.got(), []string{"a1 a2"})
		m.Tell(event(Connected, "b", 1))
		m.Tell(event(Connected, "c", 1))
		m.Tell(event(Connected, "d", 1))
		synctest.Wait()
		want(t, "as many as a batch has", m.got(), []string{"b1 c1 d1"})
		m.Tell(event(Connected, "e", 1))
		m.Ask(event(Message, "e", 2), func(Answer, error) {})
		synctest.Wait()
		want(t, "a message waits behind it", m.got(), []string{"e1", "e2"})
		m.Tell(event(Disconnected, "e", 3))
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, "at the end", m.got(), []string{"e3"})
	})
}

// A batch that failed is told again, and holds up only its own connections.
func TestBatch_WhatWaitsForARetryHoldsUpOnlyItsOwnKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		m := newMailman(t, 4, 0, func(j *job) verdict {
			if down.Load() && j.event.ConnectionID == "a" {
				return verdict{result: "error", after: 10 * time.Second, err: ErrUnavailable, answer: Answer{Status: 503}}
			}
			return good
		})
		m.queue.resize(0) // so that all are there when the first is sent
		for _, e := range []*Event{event(Connected, "a", 1), event(Connected, "b", 1), event(Disconnected, "a", 2)} {
			m.Tell(e)
		}
		m.queue.resize(4)
		synctest.Wait()
		want(t, "first", m.got(), []string{"a1 a2 b1"})
		m.Tell(event(Connected, "c", 1))
		m.Tell(event(Disconnected, "b", 2))
		m.Tell(event(Disconnected, "c", 2))
		synctest.Wait()
		want(t, "while it waits", m.got(), []string{"c1", "c2"})
		down.Store(false)
		pass(time.Minute)
		want(t, "the retry", m.got(), []string{"a1 a2 b1 b2"})
	})
}

func TestBatch_AFinalRefusalIsResolvedSingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out testkit.Log
		m := newMailman(t, 10, time.Second, func(j *job) verdict {
			if len(j.with) > 0 || j.event.ConnectionID == "b" {
				return verdict{result: "rejected", after: -1, answer: Answer{Status: 422}}
			}
			return good
		})
		m.rare = ratelog.New(slog.New(slog.NewTextHandler(&out, nil)))
		for _, e := range []*Event{
			event(Connected, "a", 1), event(Disconnected, "a", 2), event(Connected, "b", 1), event(Disconnected, "b", 2), event(Connected, "c", 1),
		} {
			m.Tell(e)
		}
		pass(time.Minute)
		got := m.got()
		if len(got) != 6 || got[0] != "a1 a2 b1 b2 c1" {
			t.Fatalf("got %q", got)
		}
		for _, of := range []string{"a", "b"} {
			if slices.Index(got, of+"1") > slices.Index(got, of+"2") {
				t.Errorf("%s out of order: %q", of, got)
			}
		}
		sort := slices.Clone(got[1:])
		slices.Sort(sort)
		want(t, "singly", sort, []string{"a1", "a2", "b1", "b2", "c1"})
		for _, line := range []string{"webhook batch refused", "event=batch", `webhook.batch, webhook.events`, "webhook refused for good"} {
			if !strings.Contains(out.String(), line) {
				t.Errorf("no %q in\n%s", line, out.String())
			}
		}
		if m.queue.waiting() != 0 || len(m.queue.keys) != 0 || m.queue.bytes != 0 {
			t.Errorf("%d wait, %d keys, %d bytes", m.queue.waiting(), len(m.queue.keys), m.queue.bytes)
		}
	})
}

// Whatever the backend answers to whatever batch, each event arrives, each connection's
// in order.
func TestBatch_NothingIsLostOrOvertakenBehindABackendThatAnswersAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const connections, each = 30, 20
		seen := map[string]int{}
		var mu sync.Mutex
		n := 0
		m := newMailman(t, 7, 5*time.Millisecond, func(j *job) verdict {
			time.Sleep(time.Duration(len(j.with)+1) * time.Millisecond) // fake
			mu.Lock()
			defer mu.Unlock()
			switch n++; {
			case n%5 == 0:
				return status(503)
			case n%7 == 0:
				return hung
			case n%4 == 0 && len(j.with) > 0:
				return status(413)
			}
			for _, o := range append([]*job{j}, j.with...) {
				if at := seen[o.event.ConnectionID]; int(o.event.Sequence) != at+1 {
					t.Errorf("%s: %d after %d", o.event.ConnectionID, o.event.Sequence, at)
				}
				seen[o.event.ConnectionID]++
			}
			return good
		})
		for s := range each {
			for c := range connections {
				m.Tell(event(Connected, fmt.Sprint("c", c, "."), uint64(s+1)))
			}
			time.Sleep(time.Millisecond)
		}
		pass(time.Hour)
		for c := range connections {
			if got := seen[fmt.Sprint("c", c, ".")]; got != each {
				t.Errorf("connection %d: %d events, want %d", c, got, each)
			}
		}
		if m.lost(Connected) != 0 || m.queue.waiting() != 0 || len(m.queue.keys) != 0 || m.queue.told.running != 0 {
			t.Errorf("lost %d, waiting %d, %d keys", m.lost(Connected), m.queue.waiting(), len(m.queue.keys))
		}
	})
}

func TestBatch_WhatIsUnderWayAtTheEndIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		m := newMailman(t, 10, time.Second, func(*job) verdict {
			<-hang
			return broken
		})
		for i := range 25 {
			m.Tell(event(Disconnected, fmt.Sprint(i), 1))
			m.Tell(event(Disconnected, fmt.Sprint(i), 2))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.AfterFunc(2*time.Second, func() { close(hang) }) // the sockets are cut
		if err := m.Close(ctx); err == nil || m.lost(Disconnected) != 50 || m.queue.waiting() != 0 || len(m.queue.keys) != 0 {
			t.Errorf("%v, lost %d, waiting %d, %d keys; want 50, 0, 0", err, m.lost(Disconnected), m.queue.waiting(), len(m.queue.keys))
		}
	})
}

func TestBatch_IsBoundedInBytesAndHasOneHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mailman{}
		m.rig = newRig(t, func(c *config.Webhook) {
			c.Batch, c.Host = config.Batch{Events: 100, Wait: time.Second}, "preserve"
		}, func(j *job) verdict {
			all := []string{j.event.RequestHost}
			size := j.size()
			for _, o := range j.with {
				all = append(all, o.event.RequestHost)
				size += o.size()
			}
			if size > maxBatchBytes+100<<10 {
				t.Errorf("a batch of %d bytes", size)
			}
			m.mu.Lock()
			m.requests = append(m.requests, slices.Compact(all))
			m.mu.Unlock()
			return good
		})
		for i := range 50 {
			e := event(Disconnected, fmt.Sprint(i), 1)
			e.Body, e.RequestHost = make([]byte, 100<<10), fmt.Sprint("host", i%2)
			m.Tell(e)
		}
		pass(time.Minute)
		got := m.got()
		for _, hosts := range got {
			if strings.Contains(hosts, " ") {
				t.Errorf("one batch of %s", hosts)
			}
		}
		if len(got) < 5 || len(got) > 10 {
			t.Errorf("%d requests for 5 MB", len(got))
		}
	})
}

func TestBatch_OnTheWireIsOneSignedBody(t *testing.T) {
	b := testbackend.New(t)
	down := testbackend.Status(503)
	b.Script("", down, testbackend.Status(204))
	cfg := testConfig(b.URL + "/hooks/{event}")
	cfg.Secrets = []config.Secret{secret1, secret2}
	cfg.Batch = config.Batch{Events: 3, Wait: time.Minute}
	cfg.Retry.Min, cfg.Retry.Max = time.Millisecond, time.Millisecond
	d := newDispatcher(t, cfg)
	told := []*Event{event(Connected, "a", 1), event(Connected, "b", 1), event(Disconnected, "a", 2)}
	for _, e := range told {
		e.UserID, e.ContentType, e.Body = "zoë", "application/json", []byte(`{"n":1}`)
		e.ForwardedFor = "10.0.0.1"
		d.Tell(e)
	}
	got := b.Wait(t, 2)
	for _, r := range got {
		for _, s := range []string{secret1, secret2} {
			if err := verify(s, r); err != nil {
				t.Error(err)
			}
		}
		if r.Target != "/hooks/batch" || r.Header.Get("Content-Type") != "application/cloudevents-batch+json" || r.Header.Get("X-Forwarded-For") != "" {
			t.Errorf("%s with %v", r.Target, r.Header)
		}
		for name := range r.Header {
			if strings.HasPrefix(name, "Ce-") {
				t.Errorf("a batch has %s", name)
			}
		}
		var events []map[string]any
		if err := json.Unmarshal([]byte(r.Body), &events); err != nil || len(events) != 3 {
			t.Fatalf("%v in %s", err, r.Body)
		}
		of := map[string][]string{}
		for _, e := range events {
			of[e["subject"].(string)] = append(of[e["subject"].(string)], e["type"].(string))
			if e["userid"] != "zoë" || e["specversion"] != "1.0" {
				t.Errorf("got %v", e)
			}
		}
		if fmt.Sprint(of) != "map[a:[pushcart.connected pushcart.disconnected] b:[pushcart.connected]]" {
			t.Errorf("got %v", of)
		}
	}
	if id := got[0].Header.Get("webhook-id"); id != got[1].Header.Get("webhook-id") || len(id) != 36 || id[14] != '8' {
		t.Errorf("webhook-id is %q, then %q", id, got[1].Header.Get("webhook-id"))
	}
}

// One event alone is not a batch.
func TestBatch_OfOneIsTheEventItself(t *testing.T) {
	b := testbackend.New(t)
	cfg := testConfig(b.URL + "/hooks/{event}")
	cfg.Batch = config.Batch{Events: 3, Wait: time.Millisecond}
	newDispatcher(t, cfg).Tell(event(Connected, "a", 1))
	if r := b.Wait(t, 1)[0]; r.Target != "/hooks/connected" || r.Event != Connected {
		t.Errorf("got %s %s", r.Target, r.Event)
	}
}

// Whichever secrets are configured when: each event arrives, signed by those of its
// attempt.
func TestApply_RotatesSecretsUnderLoadWithoutALostEvent(t *testing.T) {
	for _, form := range []config.Webhook{
		{Format: config.FormatBinary, Batch: config.Batch{Events: 1}}, {Format: config.FormatStructured, Batch: config.Batch{Events: 20, Wait: time.Millisecond}},
	} {
		b := testbackend.New(t)
		var turn sync.Mutex
		n := 0
		b.Script("", func(w http.ResponseWriter, _ *testbackend.Request) {
			turn.Lock()
			defer turn.Unlock()
			if n++; n%10 == 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		cfg := testConfig(b.URL)
		cfg.Format, cfg.Batch = form.Format, form.Batch
		cfg.Retry.Min, cfg.Retry.Max = time.Millisecond, 5*time.Millisecond
		cfg.Secrets = []config.Secret{secret1}
		d := newDispatcher(t, cfg)
		answers := make(chan error, 400)
		for i := range 400 {
			conn := fmt.Sprint(i)
			d.Tell(event(Connected, conn, 1))
			d.Ask(event(Message, conn, 2), func(_ Answer, err error) { answers <- err })
			if i%50 == 0 { // old alone, both, new alone, and back
				cfg.Secrets = [][]config.Secret{{secret1}, {secret1, secret2}, {secret2}, {secret2, secret1}}[i/50%4]
				d.Apply(settingsOf(t, cfg, config.Backend{}))
			}
		}
		for range 400 {
			<-answers
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := d.Close(ctx); err != nil {
			t.Fatal(err)
		}
		told := map[string]bool{}
		for _, r := range b.Got() {
			if verify(secret1, r) != nil && verify(secret2, r) != nil {
				t.Fatalf("nobody's signature: %v", r.Header)
			}
			for _, conn := range connectionsOf(t, r) {
				told[conn] = true
			}
		}
		if len(told) != 400 {
			t.Errorf("%s: %d connections were told of, want 400", cfg.Format, len(told))
		}
	}
}

func connectionsOf(t *testing.T, r *testbackend.Request) (all []string) {
	t.Helper()
	type one struct{ Type, ConnectionID string }
	var events []one
	switch r.Header.Get("Content-Type") {
	case contentBatch:
		if err := json.Unmarshal([]byte(r.Body), &events); err != nil {
			t.Fatal(err)
		}
	case contentEvent:
		events = make([]one, 1)
		if err := json.Unmarshal([]byte(r.Body), &events[0]); err != nil {
			t.Fatal(err)
		}
	default:
		events = []one{{r.Header.Get("ce-type"), r.Connection}}
	}
	for _, e := range events {
		if e.Type == "pushcart.connected" {
			all = append(all, e.ConnectionID)
		}
	}
	return all
}
