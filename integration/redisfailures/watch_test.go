package redisfailures

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sidecartest"
)

// watch looks again and again at what a node says of Redis.
type watch struct {
	node *sidecartest.Sidecar
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex // guards samples
	samples []sample
}

// sample is what a node said at one moment.
type sample struct {
	at, answered time.Time // before the first question, after the last answer
	// ready is the status of /readyz, redis that of /readyz?require=redis, before and after
	// the metrics were asked for.
	ready int
	redis [2]int
	up    bool // pushcart_redis_up
}

func startWatch(t *testing.T, n *sidecartest.Sidecar) *watch {
	w := &watch{node: n, stop: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	t.Cleanup(w.end)
	return w
}

func (w *watch) end() {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	<-w.done
}

func (w *watch) run() {
	defer close(w.done)
	every := 100 * time.Millisecond
	if long() {
		every /= 2
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
		s := sample{at: time.Now()}
		s.ready, _ = w.node.Ready("")
		s.redis[0], _ = w.node.Ready("require=redis")
		s.up = w.node.Metrics()["pushcart_redis_up"] == 1
		s.redis[1], _ = w.node.Ready("require=redis")
		s.answered = time.Now()
		w.mu.Lock()
		w.samples = append(w.samples, s)
		w.mu.Unlock()
	}
}

func (w *watch) all() []sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]sample(nil), w.samples...)
}

// upSince is since when the node says without a break that Redis is up.
func (w *watch) upSince() (since time.Time) {
	was := false
	for _, s := range w.all() {
		if s.up && !was {
			since = s.at
		}
		was = s.up
	}
	return since
}

// truth holds the samples to what was so: Redis broke, was back, and the node could know
// after notice. It returns when the node noticed, zero if it did not.
func (w *watch) truth(r *rig, settled time.Time) (noticed time.Time) {
	t, broke := r.t, r.brokeAt
	lied := 0
	for _, s := range w.all() {
		if s.redis[0] == s.redis[1] && (s.redis[0] == 200) != s.up {
			lied++ // once in a row, it changed twice between the questions
		} else {
			lied = 0
		}
		if noticed.IsZero() && !s.up && s.at.After(broke) {
			noticed = s.at
		}
		if problem := s.wrong(r, settled, noticed); problem != "" || lied > 1 {
			t.Errorf("%v after Redis broke, %v after it was back: %+v %s", s.at.Sub(broke), s.at.Sub(r.backAt), s, problem)
			break
		}
	}
	w.logged(t, !noticed.IsZero() && !r.failure.unnoticed, broke)
	return noticed
}

// wrong says how a sample differs from what was so.
func (s sample) wrong(r *rig, settled, noticed time.Time) string {
	f, broke := r.failure, r.brokeAt
	switch {
	case s.ready != 200:
		return "/readyz is not 200"
	case !s.up && s.answered.Before(broke):
		return "Redis was there"
	case s.up && s.at.After(broke) && s.answered.Before(r.backFrom) && !f.unnoticed && (!noticed.IsZero() || s.at.Sub(broke) > late(f.notice)):
		return "Redis was away"
	case !s.up && s.at.After(settled):
		return "Redis was back"
	}
	return ""
}

// logged: what the node found is in its log, once and with a reason, and so is the end of it.
func (w *watch) logged(t *testing.T, noticed bool, broke time.Time) {
	var away, up int
	for _, l := range w.node.Log() {
		switch {
		case l.Level == "ERROR":
			t.Errorf("an error was logged: %s %s", l.Msg, l.Err)
		case l.Time.Before(broke):
		case strings.HasPrefix(l.Msg, "redis is away"), strings.HasPrefix(l.Msg, "redis refuses writes"):
			if away++; l.Err == "" {
				t.Errorf("%q without a reason", l.Msg)
			}
		case l.Msg == "redis is up", l.Msg == "redis takes writes":
			up++
		}
	}
	if noticed && (away == 0 || up == 0) {
		t.Errorf("the log has %d lines that Redis is away, and %d that it is up:\n%s", away, up, w.node.Output())
	}
}
