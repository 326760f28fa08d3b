package webhook

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/config"
)

// leastFailing is from how many connections failures must come, so that one client
// whose messages break the app does not take it from the others (SPEC §3).
const leastFailing = 3

// breaker keeps what is asked from waiting for a backend that does not answer: there
// is one for each asked event. queue.mu guards all but open.
type breaker struct {
	open     atomic.Bool
	failures int                  // in a row
	from     [leastFailing]string // connections that they came from
	until    time.Time            // while open: nobody tries before
	probe    *job                 // the one that tries
}

// turn is what an attempt did to a breaker.
type turn int

const (
	unturned turn = iota
	opened
	closed
)

// refuses says whether j may not be asked now. After the pause the first may: it tries.
func (b *breaker) refuses(j *job, now time.Time) bool {
	switch {
	case !b.open.Load():
		return false
	case b.shut(now):
		return true
	}
	b.probe = j
	return false
}

func (b *breaker) shut(now time.Time) bool {
	return b.open.Load() && (b.probe != nil || now.Before(b.until))
}

// leave lets another try in the place of j, if j was to.
func (b *breaker) leave(j *job) {
	if b.probe == j {
		b.probe = nil
	}
}

// note takes what an attempt came to. While the breaker is open only the one that
// tries counts: others began before.
func (b *breaker) note(j *job, v *verdict, limit config.Breaker, now time.Time) turn {
	tried := b.probe == j
	b.leave(j)
	switch {
	case b.open.Load() && !tried:
	case v.down() && tried:
		b.until = now.Add(limit.Pause)
	case v.down():
		b.count(j.event.ConnectionID)
		if limit.Failures > 0 && b.failures >= limit.Failures && b.from[leastFailing-1] != "" {
			b.until = now.Add(limit.Pause)
			b.open.Store(true)
			return opened
		}
	case v.answer.Status != 0:
		b.reset()
		if tried {
			return closed
		}
	}
	return unturned
}

func (b *breaker) count(connection string) {
	b.failures++
	for i, known := range b.from {
		if known == connection {
			return
		}
		if known == "" {
			b.from[i] = connection
			return
		}
	}
}

func (b *breaker) reset() {
	b.failures, b.from, b.probe = 0, [leastFailing]string{}, nil
	b.open.Store(false)
}

// down says whether there was no backend to answer.
func (v *verdict) down() bool {
	switch v.answer.Status {
	case 502, 503, 504:
		return true
	}
	return v.result == "timeout" || v.result == "unreachable"
}

// breakLocked lets the breaker of an asked event know. When it opens, all that waits
// is answered.
func (q *queue) breakLocked(j *job, v verdict) {
	k := j.kind
	if k == nil {
		return
	}
	limit := q.d.settings.Load().breaker
	failures := k.breaker.failures + 1
	switch k.breaker.note(j, &v, limit, time.Now()) {
	case opened:
		for _, waits := range q.unsentLocked(k) {
			q.after = append(q.after, func() { q.d.refuse(waits) })
		}
		last := v // a copy, as v must not be on the heap each time
		q.after = append(q.after, func() { q.d.breakerOpened(j, &last, failures, limit) })
	case closed:
		q.after = append(q.after, func() { q.d.breakerClosed(j.event.Name) })
	}
}

// closeBreakers forgets failures: they may be those of another backend.
func (q *queue) closeBreakers() {
	q.mu.Lock()
	defer q.unlock()
	for i := range q.kinds {
		k := &q.kinds[i]
		if k.breaker.open.Load() {
			q.after = append(q.after, func() { q.d.breakerClosed(k.event) })
		}
		k.breaker.reset()
	}
}

// Refuses says whether a message would get ErrUnavailable at once because the breaker is
// open, and if so counts it. It saves callers from preparing an event for Ask.
func (d *Dispatcher) Refuses() bool {
	b := &d.queue.kindOf(Message).breaker
	if !b.open.Load() {
		return false
	}
	d.queue.mu.Lock()
	shut := b.shut(time.Now())
	d.queue.unlock()
	if shut {
		d.countRefused(Message)
	}
	return shut
}

// refuse answers a question in the place of the backend.
func (d *Dispatcher) refuse(j *job) {
	d.countRefused(j.event.Name)
	j.done(Answer{}, errBreaker)
}

func (d *Dispatcher) countRefused(event string) {
	d.metrics.Webhooks.WithLabelValues(event, "breaker").Inc()
}

var errBreaker = fmt.Errorf("%w: the backend did not answer others (webhook.breaker)", ErrUnavailable)

func (d *Dispatcher) breakerOpened(j *job, v *verdict, failures int, limit config.Breaker) {
	d.metrics.WebhookBreaker.WithLabelValues(j.event.Name).Set(1)
	reason, setting := explain(j.set, v)
	d.rare.Warn("breaker of "+j.event.Name+" opened", "webhook breaker opened: the backend is not asked during the pause, then one request is tried",
		"event", j.event.Name, "failures", failures, "pause", limit.Pause, "reason", reason, "setting", "webhook.breaker, "+setting)
}

func (d *Dispatcher) breakerClosed(event string) {
	d.metrics.WebhookBreaker.WithLabelValues(event).Set(0)
	d.rare.Info("breaker of "+event+" closed", "webhook breaker closed: the backend is asked again",
		"event", event, "setting", "webhook.breaker")
}
