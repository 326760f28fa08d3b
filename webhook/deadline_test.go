package webhook

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testbackend"
)

// Behind a backend that hangs the last of 10,000 messages waited 200 s, as each had
// three times the timeout from its own first try.
func TestAsk_EveryMessageIsAnsweredInTimeBehindABackendThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10000
		hung := verdict{result: "timeout", after: -1, err: ErrUnavailable}
		r := newRig(t, func(c *config.Webhook) { c.MaxInFlight = 256 }, func(j *job) verdict {
			wait := 5 * time.Second
			if j.done != nil {
				wait = min(wait, time.Until(j.deadline)) // as attempt does
			}
			time.Sleep(wait) // fake
			return hung
		})
		begin := time.Now()
		answered := make(chan error, 2*n)
		for i := range n {
			conn := fmt.Sprint(i)
			if i%2 == 0 { // waits for the first attempt of this
				r.Tell(event(Connected, conn, 1))
			}
			r.Ask(event(Message, conn, 2), func(_ Answer, err error) { answered <- err })
		}
		synctest.Wait()
		if got := r.queue.asked(); got != n {
			t.Errorf("%d are said to wait, want %d", got, n)
		}
		pass(3 * 5 * time.Second)
		if got := len(answered); got != n {
			t.Errorf("%d answers of %d after %v", got, n, time.Since(begin))
		}
		for range len(answered) {
			if err := <-answered; !errors.Is(err, ErrUnavailable) {
				t.Fatalf("got %v", err)
			}
		}
		r.queue.mu.Lock()
		if q := r.queue; q.asks.len != 0 || q.asks.front != nil || q.asks.back != nil || q.messages.ready.Len() != 0 {
			t.Errorf("%d questions are left, %d of them ready", q.asks.len, q.messages.ready.Len())
		}
		for _, k := range r.queue.keys {
			if len(k.asks) > 0 {
				t.Fatal("a question still waits for an event")
			}
		}
		r.queue.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = r.Close(ctx)
		if got := len(answered); got != 0 {
			t.Errorf("%d were answered twice", got)
		}
	})
}

// A message whose retry would come too late is not asked again, and one that waits
// for its retry has its answer in time.
func TestAsk_TheDeadlineHoldsWhileARetryWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *config.Webhook) { c.MaxInFlight = 1 }, func(j *job) verdict {
			if j.event.ConnectionID == "a" {
				return verdict{result: "error", after: time.Second, again: true, err: ErrUnavailable, answer: Answer{Status: 503}}
			}
			time.Sleep(min(time.Until(j.deadline), 5*time.Second)) // fake
			return verdict{result: "timeout", after: -1, err: ErrUnavailable}
		})
		begin := time.Now()
		var took time.Duration
		r.Ask(event(Message, "a", 1), func(Answer, error) { took = time.Since(begin) })
		synctest.Wait()
		for i := range 100 {
			r.Ask(event(Message, fmt.Sprint("b", i), 1), func(Answer, error) {})
		}
		pass(time.Minute)
		if took != 15*time.Second {
			t.Errorf("answered after %v, want 15s", took)
		}
	})
}

func TestLine_KeepsItsOrderWhateverIsTakenOut(t *testing.T) {
	jobs := make([]*job, 5)
	for _, out := range [][]int{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 0, 4, 2, 1, 3}} {
		var l line
		for i := range jobs {
			jobs[i] = &job{tries: i}
			l.add(jobs[i])
		}
		left := map[int]bool{0: true, 1: true, 2: true, 3: true, 4: true}
		for _, i := range out {
			l.remove(jobs[i])
			delete(left, i)
			last, n := -1, 0
			for j := l.front; j != nil; j = j.younger {
				if !left[j.tries] || j.tries <= last {
					t.Errorf("%v: found %d after %d", out, j.tries, last)
				}
				last = j.tries
				n++
			}
			if n != len(left) || l.len != n || (l.back == nil) != (n == 0) {
				t.Errorf("%v: %d left, len %d, want %d", out, n, l.len, len(left))
			}
		}
	}
}

// A client that leaves in its handshake frees the request's place, too.
func TestConnect_IsCutWhenNobodyWaitsAnyMore(t *testing.T) {
	b := testbackend.New(t)
	b.Script(Connect, b.Hang(), testbackend.Status(204))
	cfg := testConfig(b.URL)
	cfg.MaxInFlight, cfg.Timeout = 1, time.Minute
	d := newDispatcher(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := d.Connect(ctx, d.Settings(), &Event{Name: Connect, Body: []byte("{}")})
		left <- err
	}()
	b.Wait(t, 1)
	cancel()
	if err := <-left; !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	limited, done := context.WithTimeout(t.Context(), 20*time.Second)
	defer done()
	if a, err := d.Connect(limited, d.Settings(), &Event{Name: Connect, Body: []byte("{}")}); err != nil || a.Status != 204 {
		t.Errorf("the next one: got %d, %v", a.Status, err)
	}
}
