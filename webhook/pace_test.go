package webhook

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testbackend"
	"github.com/pushcart/pushcart/internal/testkit"
)

// A backend that was away for ten minutes, with 10,000 events waiting, finds few at
// once, and more with each round that it takes; at most half of webhook.max_in_flight.
func TestPace_ABackendThatComesBackIsNotKnockedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events, answerTime = 10_000, 20 * time.Millisecond
		up, began := false, []time.Duration{}
		var back time.Time
		most, now := 0, 0
		var r *rig
		r = newRig(t, nil, func(*job) verdict {
			r.mu.Lock()
			away := !up
			if !away {
				began = append(began, time.Since(back))
				now++
				most = max(most, now)
			}
			r.mu.Unlock()
			if away {
				return broken
			}
			time.Sleep(answerTime)
			r.mu.Lock()
			now--
			r.mu.Unlock()
			return good
		})
		for i := range events {
			r.Tell(event(Connected, fmt.Sprint(i), 1))
		}
		pass(10 * time.Minute)
		r.mu.Lock()
		up, back = true, time.Now()
		r.mu.Unlock()
		pass(5 * time.Minute)
		if len(began) != events || r.queue.waiting() != 0 {
			t.Fatalf("%d of %d were taken, %d wait", len(began), events, r.queue.waiting())
		}
		slices.Sort(began)
		within := func(d time.Duration) int { n, _ := slices.BinarySearch(began, began[0]+d); return n }
		t.Logf("at once at most %d; in the first 20 ms %d, 100 ms %d, 1 s %d, all after %v", most, within(answerTime), within(5*answerTime), within(time.Second), began[events-1])
		if most > 128 {
			t.Errorf("%d at once, want at most half of webhook.max_in_flight", most)
		}
		if n := within(5 * answerTime); n > 15 {
			t.Errorf("%d in the time of five answers, want one more with each", n)
		}
		if last := began[events-1]; last > 90*time.Second {
			t.Errorf("the last after %v", last)
		}
	})
}

// One event that always fails does not slow the others down.
func TestPace_OneBadEventDoesNotHoldTheOthersUp(t *testing.T) {
	p := pace{}
	p.resize(128)
	bad := verdict{result: "error", answer: Answer{Status: 500}}
	for range 1000 {
		p.note(&bad)
		for range 200 {
			p.note(&good)
		}
	}
	if p.now != 128 {
		t.Errorf("%d at once, want 128", p.now)
	}
}

func TestPace_ARefusalOfOneEventIsNoSign(t *testing.T) {
	p := pace{}
	p.resize(8)
	for _, status := range []int{400, 401, 404, 422, 501} {
		v := refusal(status)
		p.note(&v)
	}
	if p.now != 8 {
		t.Errorf("%d at once, want 8", p.now)
	}
	for _, status := range []int{408, 429, 500, 502, 503} {
		v := refusal(status)
		p.note(&v)
	}
	if p.now != 1 {
		t.Errorf("%d at once, want 1", p.now)
	}
}

// An app whose route for connected hangs is told one at a time; its clients' messages do
// not wait for that.
func TestPace_DoesNotHoldMessagesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients = 50
		var answered atomic.Int32
		r := newRig(t, nil, func(j *job) verdict {
			if j.event.Name == Message {
				return good
			}
			time.Sleep(5 * time.Second)
			return verdict{result: "timeout", after: -1, err: ErrUnavailable}
		})
		for i := range clients {
			r.Tell(event(Connected, fmt.Sprint("before", i), 1))
		}
		pass(10 * time.Minute)
		if n := r.queue.atOnce(); n != 1 {
			t.Fatalf("%d at once", n)
		}
		for i := range clients {
			conn := fmt.Sprint("new", i)
			r.Tell(event(Connected, conn, 1))
			r.Ask(event(Message, conn, 2), func(_ Answer, err error) {
				if err == nil {
					answered.Add(1)
				}
			})
		}
		pass(6 * time.Second)
		if n := answered.Load(); n != clients {
			t.Errorf("%d of %d messages were answered", n, clients)
		}
		r.Withdraw(func(*Event) bool { return true })
		pass(5 * time.Second)
	})
}

func TestPace_AReloadKeepsToIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		r := newRig(t, func(c *config.Webhook) { c.MaxInFlight = 64 }, func(*job) verdict {
			time.Sleep(time.Second)
			if up.Load() {
				return good
			}
			return broken
		})
		for i := range 100 {
			r.Tell(event(Connected, fmt.Sprint(i), 1))
		}
		pass(time.Minute)
		cfg := testConfig("http://backend.test/")
		cfg.MaxInFlight = 256
		r.Apply(settingsOf(t, cfg, config.Backend{}))
		r.mu.Lock()
		r.most = 0
		r.mu.Unlock()
		pass(3 * time.Second)
		r.mu.Lock()
		if r.most > 4 {
			t.Errorf("%d at once after a reload while the backend is away", r.most)
		}
		r.mu.Unlock()
		up.Store(true)
		pass(time.Hour)
	})
}

// crowded is a backend that was away and can take so much at once; past that it answers
// 503, as a front before an app that is full does.
type crowded struct {
	room int

	mu             sync.Mutex // guards all below
	up             bool
	now, most      int
	taken, refused int
}

func (c *crowded) answer(w http.ResponseWriter, _ *testbackend.Request) {
	c.mu.Lock()
	if !c.up || c.now >= c.room {
		if c.up {
			c.refused++
		}
		c.mu.Unlock()
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	c.now++
	c.most = max(c.most, c.now)
	c.mu.Unlock()
	time.Sleep(2 * time.Millisecond) // its work
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now--
	c.taken++
	w.WriteHeader(http.StatusNoContent)
}

// Over real connections: an app with room for a quarter of what may be under way comes
// back when everything is due at once. It takes all, and refuses few.
func TestPace_AnAppWithLittleRoomRefusesFew(t *testing.T) {
	const events = 2000
	app, c := testbackend.New(t), &crowded{room: 32}
	app.Script("", c.answer)
	cfg := testConfig(app.URL)
	cfg.Retry = config.Retry{Min: 20 * time.Millisecond, Max: 100 * time.Millisecond, GiveUpAfter: time.Hour}
	d := newDispatcher(t, cfg)
	for i := range events {
		d.Tell(event(Connected, fmt.Sprint(i), 1))
	}
	testkit.Eventually(t, "one goes at a time while the app is away", func() bool { return d.queue.atOnce() == 1 && len(app.Got()) > 500 })
	c.mu.Lock()
	c.up = true
	c.mu.Unlock()
	testkit.Eventually(t, "all were told", func() bool { return d.queue.waiting() == 0 })
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%d taken, at most %d at once, %d refused", c.taken, c.most, c.refused)
	if c.taken != events || c.refused > events/4 {
		t.Errorf("%d of %d were taken, %d refused", c.taken, events, c.refused)
	}
}
