package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

// rig is a dispatcher whose attempts are a function; with it time is fake.
type rig struct {
	*Dispatcher
	mu     sync.Mutex // guards sent and most
	sent   []string   // "name connection sequence"
	active int
	most   int
}

func testConfig(url string) config.Webhook {
	cfg := config.Default().Webhook
	cfg.URL, cfg.Events, cfg.Timeout = url, []string{"*"}, 5*time.Second
	return cfg
}

func newRig(t *testing.T, change func(*config.Webhook), answer func(*job) verdict) *rig {
	t.Helper()
	cfg := testConfig("http://backend.test/")
	if change != nil {
		change(&cfg)
	}
	d := New(settingsOf(t, cfg, config.Backend{}), "node1", metrics.New("test", ""), slog.New(slog.DiscardHandler))
	r := &rig{Dispatcher: d}
	d.queue.send = func(j *job) verdict {
		r.mu.Lock()
		r.sent = append(r.sent, fmt.Sprintf("%s %s %d", j.event.Name, j.event.ConnectionID, j.event.Sequence))
		r.active++
		r.most = max(r.most, r.active)
		r.mu.Unlock()
		v := answer(j)
		r.mu.Lock()
		r.active--
		r.mu.Unlock()
		return v
	}
	return r
}

func (r *rig) log() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sent)
}

// lost reads the metric as Prometheus does.
func (r *rig) lost(name string) (n int) {
	w := httptest.NewRecorder()
	r.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	_, rest, _ := strings.Cut(w.Body.String(), `pushcart_webhooks_total{event="`+name+`",result="lost"} `)
	_, _ = fmt.Sscan(rest, &n)
	return n
}

func event(name, conn string, sequence uint64) *Event {
	return &Event{Source: Source{ConnectionID: conn}, Name: name, Sequence: sequence}
}

// pass lets fake time go by and everything settle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var (
	good   = verdict{result: "ok", after: -1, answer: Answer{Status: 204}}
	broken = verdict{result: "unreachable", after: -1, again: true, err: ErrUnavailable}
)

func want(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestTell_OnlyItsOwnConnectionWaitsForARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := 3
		r := newRig(t, nil, func(j *job) verdict {
			if j.event.ConnectionID == "a" && fails > 0 {
				fails--
				return broken
			}
			return good
		})
		r.Tell(event(Connected, "a", 1))
		r.Tell(event(Disconnected, "a", 2))
		r.Tell(event(Connected, "b", 1))
		r.Tell(event(Disconnected, "b", 2))
		synctest.Wait()
		got := r.log()
		slices.Sort(got)
		want(t, "before the retry", got, []string{"connected a 1", "connected b 1", "disconnected b 2"})
		pass(time.Hour)
		got = r.log()[3:]
		want(t, "after it", got, []string{"connected a 1", "connected a 1", "connected a 1", "disconnected a 2"})
		if n := r.queue.waiting(); n != 0 || len(r.queue.keys) != 0 {
			t.Errorf("%d events, %d keys left", n, len(r.queue.keys))
		}
	})
}

func TestAsk_WaitsForTheFirstAttemptOfWhatWasToldBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := make(chan struct{})
		r := newRig(t, nil, func(j *job) verdict {
			if j.event.Name == Connected {
				<-first
				return broken
			}
			return good
		})
		answered := 0
		r.Tell(event(Connected, "a", 1))
		r.Ask(event(Message, "a", 2), func(Answer, error) { answered++ })
		// What is told after a message must not hold it up: here it would for as
		// long as connected is not taken.
		r.Tell(event(Disconnected, "a", 3))
		synctest.Wait()
		want(t, "during the first attempt", r.log(), []string{"connected a 1"})
		close(first)
		synctest.Wait()
		want(t, "after it failed", r.log(), []string{"connected a 1", "message a 2"})
		if answered != 1 {
			t.Errorf("answered %d times", answered)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = r.Close(ctx)
	})
}

func TestAsk_Retries(t *testing.T) {
	// script is what each try takes and gives; the last one repeats.
	type try struct {
		takes time.Duration
		v     verdict
	}
	status := func(code int, again bool, after time.Duration) verdict {
		v := verdict{result: "error", answer: Answer{Status: code}, again: again, after: after}
		if code/100 != 4 {
			v.err = ErrUnavailable
		}
		return v
	}
	f := func(name string, script []try, tries int, most time.Duration, code int, wantErr bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			n := 0
			r := newRig(t, nil, func(*job) verdict {
				s := script[min(n, len(script)-1)]
				n++
				time.Sleep(s.takes) // fake
				return s.v
			})
			begin := time.Now()
			var took time.Duration
			var a Answer
			var err error
			r.Ask(event(Message, "a", 1), func(got Answer, e error) { a, err, took = got, e, time.Since(begin) })
			pass(time.Hour)
			if n != tries || took > most || a.Status != code || (err != nil) != wantErr {
				t.Errorf("%s: %d tries in %v, %d, %v; want %d within %v, %d, error %v", name, n, took, a.Status, err, tries, most, code, wantErr)
			}
			if err != nil && !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %v is not ErrUnavailable", name, err)
			}
		})
	}
	second := time.Second
	f("no connection", []try{{0, broken}}, 3, 2*second, 0, true)
	f("comes back", []try{{0, broken}, {0, good}}, 2, second, 204, false)
	f("timeout", []try{{5 * second, verdict{after: -1, err: ErrUnavailable}}}, 1, 5*second, 0, true)
	f("500", []try{{0, status(500, false, -1)}}, 1, 0, 500, true)
	f("503", []try{{0, status(503, true, -1)}}, 3, 2*second, 503, true)
	f("503, Retry-After", []try{{0, status(503, true, 4*second)}, {0, good}}, 2, 4*second, 204, false)
	f("Retry-After beyond the end", []try{{0, status(503, true, 15*second)}}, 1, 0, 503, true)
	f("429 to the end is a 4xx", []try{{0, status(429, true, second)}}, 3, 3*second, 429, false)
	f("three slow tries", []try{{5 * second, broken}}, 3, 17*second, 0, true)
	f("no time for a third", []try{{8 * second, broken}}, 2, 17*second, 0, true)
}

func TestTell_FinalStatusesAreToldOnce(t *testing.T) {
	f := func(status, tries int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			n := 0
			r := newRig(t, func(c *config.Webhook) { c.Retry.GiveUpAfter = time.Hour }, func(*job) verdict {
				if n++; n == 3 {
					return good
				}
				return verdict{result: "rejected", after: -1, answer: Answer{Status: status}}
			})
			r.Tell(event(Connected, "a", 1))
			pass(2 * time.Hour)
			if n != tries {
				t.Errorf("%d: %d tries, want %d", status, n, tries)
			}
		})
	}
	for _, status := range []int{400, 404, 405, 410, 413, 415, 422, 501} {
		f(status, 1)
	}
	for _, status := range []int{301, 401, 403, 408, 409, 429, 500, 502, 503, 504} {
		f(status, 3)
	}
}

func TestTell_BackoffGrowsWithFullJitterUntilGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begin := time.Now()
		r := newRig(t, func(c *config.Webhook) {
			c.Retry = config.Retry{Min: time.Second, Max: 8 * time.Second, GiveUpAfter: time.Hour}
		}, func(*job) verdict {
			at = append(at, time.Since(begin))
			return broken
		})
		r.Tell(event(Connected, "a", 1))
		pass(2 * time.Hour)
		if r.lost(Connected) != 1 || r.queue.waiting() != 0 {
			t.Errorf("lost %d, waiting %d", r.lost(Connected), r.queue.waiting())
		}
		var sum time.Duration
		for i := 1; i < len(at); i++ {
			pause := at[i] - at[i-1]
			sum += pause
			if limit := min(8*time.Second, time.Second<<min(i-1, 10)); pause <= 0 || pause > limit {
				t.Errorf("pause %d is %v, want up to %v", i, pause, limit)
			}
		}
		if mean := sum / time.Duration(len(at)-1); mean < 3*time.Second || mean > 5*time.Second {
			t.Errorf("mean pause %v over %d, want about 4s", mean, len(at))
		}
		if last := at[len(at)-1]; last != time.Hour {
			t.Errorf("last try at %v, want at the end", last)
		}
	})
}

func TestTell_AHostileRetryAfterDoesNotOutliveGiveUpAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, func(*job) verdict {
			return verdict{result: "error", after: farAway, again: true, err: ErrUnavailable, answer: Answer{Status: 503}}
		})
		r.Tell(event(Connected, "a", 1))
		pass(25 * time.Hour)
		if r.lost(Connected) != 1 || len(r.log()) != 2 {
			t.Errorf("lost %d after %q", r.lost(Connected), r.log())
		}
	})
}

func TestTell_TheOldestAreLostPastTheOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		r := newRig(t, func(c *config.Webhook) { c.Outbox.Messages = 10 }, func(*job) verdict {
			if down {
				return broken
			}
			return good
		})
		for i := range 25 {
			r.Tell(event(Disconnected, fmt.Sprint("c", i), 1))
			synctest.Wait()
		}
		r.queue.mu.Lock()
		waiting, later, keys := r.queue.outbox.Len(), len(r.queue.later), len(r.queue.keys)
		r.queue.mu.Unlock()
		if lost := r.lost(Disconnected); lost != 15 || waiting != 10 || later != 10 || keys != 10 {
			t.Errorf("lost %d, waiting %d, in the heap %d, keys %d; want 15, 10, 10, 10", lost, waiting, later, keys)
		}
		r.mu.Lock()
		r.sent, down = nil, false
		r.mu.Unlock()
		pass(time.Hour)
		got := r.log()
		slices.Sort(got)
		if len(got) != 10 || got[0] != "disconnected c15 1" {
			t.Errorf("delivered %q, want c15 to c24", got)
		}
		if r.queue.bytes != 0 {
			t.Errorf("%d bytes left", r.queue.bytes)
		}
	})
}

func TestTell_FifteenThousandAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 15000
		r := newRig(t, func(c *config.Webhook) { c.MaxInFlight = 256 }, func(*job) verdict {
			time.Sleep(10 * time.Millisecond) // fake
			return good
		})
		begin := time.Now()
		for i := range n {
			r.Tell(event(Disconnected, fmt.Sprint(i), 1))
		}
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(r.log()) != n || r.most != 128 {
			t.Errorf("%d sent, %d at once; want %d and 128", len(r.log()), r.most, n)
		}
		if took, want := time.Since(begin), n/128*10*time.Millisecond; took > want+20*time.Millisecond {
			t.Errorf("took %v, want %v", took, want)
		}
	})
}

func TestConnect_TakesHalfAndLeavesWhenNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		r := newRig(t, func(c *config.Webhook) { c.MaxInFlight = 4 }, func(*job) verdict { <-hold; return good })
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if _, err := r.Connect(ctx, r.Settings(), event(Connect, fmt.Sprint(i), 1)); !errors.Is(err, ErrUnavailable) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		if n := len(r.log()); n != 2 {
			t.Errorf("%d connects under way, want 2", n)
		}
		cancel()
		wg.Wait()
		close(hold)
		synctest.Wait()
		if n := len(r.log()); n != 2 {
			t.Errorf("%d connects were sent, want 2: the others had nobody left", n)
		}
	})
}

func TestClose_TriesUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := time.Now().Add(3 * time.Second)
		r := newRig(t, nil, func(*job) verdict {
			if time.Now().Before(up) {
				return broken
			}
			return good
		})
		r.Tell(event(Disconnected, "a", 1))
		r.Tell(event(Disconnected, "b", 1))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil || r.lost(Disconnected) != 0 {
			t.Errorf("%v, lost %d", err, r.lost(Disconnected))
		}
		r.Tell(event(Disconnected, "c", 1))
		if r.lost(Disconnected) != 1 {
			t.Error("notifications after the end are not counted as lost")
		}
		var err error
		done := make(chan struct{})
		r.Ask(event(Message, "c", 2), func(_ Answer, e error) { err = e; close(done) })
		if <-done; !errors.Is(err, ErrUnavailable) {
			t.Errorf("asked after the end: %v", err)
		}
	})
}

func TestClose_AnswersEverybodyWhenTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		r := newRig(t, func(c *config.Webhook) { c.MaxInFlight = 2 }, func(j *job) verdict {
			<-hang
			return broken
		})
		answers := 0
		var mu sync.Mutex
		done := func(_ Answer, err error) {
			mu.Lock()
			defer mu.Unlock()
			if answers++; !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		}
		for _, conn := range []string{"a", "b", "c"} {
			r.Tell(event(Connected, conn, 1))
			r.Ask(event(Message, conn, 2), done)
		}
		r.Ask(event(Message, "d", 1), done)
		r.Ask(event(Message, "e", 1), done)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.AfterFunc(2*time.Second, func() { close(hang) }) // the sockets are cut
		if err := r.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if answers != 5 || r.lost(Connected) != 3 || r.queue.waiting() != 0 {
			t.Errorf("%d answers, %d lost, %d waiting; want 5, 3, 0", answers, r.lost(Connected), r.queue.waiting())
		}
	})
}

func TestRefusals_OneLogLinePerEventAndMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out testkit.Log
		r := newRig(t, nil, func(*job) verdict {
			return verdict{result: "rejected", after: -1, answer: Answer{Status: 404}}
		})
		r.rare = ratelog.New(slog.New(slog.NewTextHandler(&out, nil)))
		for range 2 {
			for i := range 5 {
				r.Tell(event(Connected, fmt.Sprint(i), 1))
				r.Tell(event(Disconnected, fmt.Sprint(i), 2))
			}
			pass(time.Minute)
		}
		if n := strings.Count(out.String(), "webhook.events"); n != 4 {
			t.Errorf("%d lines, want 4:\n%s", n, out.String())
		}
	})
}
