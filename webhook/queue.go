package webhook

import (
	"container/heap"
	"container/list"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// messageTries is how often a message is sent at the most (SPEC §11 Webhooks).
const messageTries = 3

// errClosed is what is asked while the dispatcher closes.
var errClosed = errors.New("webhook: closing")

// class is one kind of work: what waits, and how many requests of it may be under
// way at once.
type class struct {
	ready   list.List // of *job
	running int
	most    int
}

func (c *class) push(j *job) { j.place = c.ready.PushBack(j) }

func (c *class) remove(j *job) {
	c.ready.Remove(j.place)
	j.place = nil
}

// queue decides what is sent when. It has a goroutine for each request under way
// and one timer for all retries and deadlines.
type queue struct {
	d    *Dispatcher
	send func(*job) verdict // one attempt

	mu       sync.Mutex // guards all below; nothing is sent under it
	connects class
	messages class
	told     class
	running  int
	most     int // webhook.max_in_flight
	turn     int // whose turn it is, so that no class starves another
	keys     map[string]*key
	outbox   list.List // of *job: all that is told and not delivered, oldest first
	bytes    int
	asks     line // the messages that are not answered, oldest first
	later    retries
	timer    *time.Timer
	armed    time.Time     // when the timer goes off; zero: it does not
	closed   bool          // nothing is asked any more
	over     bool          // nothing is tried any more
	idle     chan struct{} // closed when nothing is left, while closing
	after    []func()      // what is to be done once the lock is free: answers, log lines
	work     sync.WaitGroup
}

// key is one connection's told events in order, and the messages that wait for
// the first attempt of those before them.
type key struct {
	events      []*job // the first is with the told class or in later
	told, tried int    // how many events came, and had their first attempt
	asks        []*job
}

func newQueue(d *Dispatcher) *queue {
	q := &queue{d: d, send: d.attempt, keys: map[string]*key{}}
	q.resize(d.settings.Load().maxInFlight)
	return q
}

// resize bounds what is under way at once; what is beyond it already ends as it
// would.
func (q *queue) resize(most int) {
	q.mu.Lock()
	defer q.unlock()
	q.most, q.messages.most = most, most
	q.connects.most, q.told.most = max(1, most/2), max(1, most/2)
	q.pumpLocked()
}

// unlock frees the lock and then does what had to wait for that.
func (q *queue) unlock() {
	after := q.after
	q.after = nil
	q.mu.Unlock()
	for _, do := range after {
		q.d.guard.Run("webhook", do)
	}
}

func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.unlock()
	return q.outbox.Len()
}

// asked is how many messages wait for their answer.
func (q *queue) asked() int {
	q.mu.Lock()
	defer q.unlock()
	return q.asks.len
}

// ask queues a question.
func (q *queue) ask(j *job, c *class) {
	j.class = c
	q.mu.Lock()
	if q.closed {
		q.unlock()
		q.work.Go(func() {
			defer q.d.guard.Recover("answer of a webhook", nil)
			j.done(Answer{}, fmt.Errorf("%w: %w", ErrUnavailable, errClosed))
		})
		return
	}
	k := q.keys[j.event.ConnectionID]
	switch {
	case c == &q.messages && k != nil && k.tried < k.told:
		j.behind = k.told
		k.asks = append(k.asks, j)
	default:
		c.push(j)
	}
	if c == &q.messages {
		q.asks.add(j)
		q.armLocked(j.deadline)
	}
	q.pumpLocked()
	q.unlock()
}

// drop takes a question back, if it is not with the backend already.
func (q *queue) drop(j *job) {
	q.mu.Lock()
	defer q.unlock()
	if !j.sent {
		q.withdrawLocked(j)
		q.pumpLocked()
	}
}

// withdrawLocked takes a job that is not under way from where it waits.
func (q *queue) withdrawLocked(j *job) {
	switch {
	case j.place != nil:
		j.class.remove(j)
	case j.index >= 0:
		heap.Remove(&q.later, j.index)
	case j.behind > 0:
		if k := q.keys[j.event.ConnectionID]; k != nil {
			k.asks = slices.DeleteFunc(k.asks, func(other *job) bool { return other == j })
		}
	}
}

// expireLocked answers the messages whose time is up; those under way see to it
// themselves.
func (q *queue) expireLocked(now time.Time) {
	for j := q.asks.front; j != nil && !j.deadline.After(now); j = q.asks.front {
		q.asks.remove(j)
		if j.sent {
			continue
		}
		q.withdrawLocked(j)
		q.after = append(q.after, func() { q.d.expired(j) })
	}
}

// tell queues a told event behind those of its connection.
func (q *queue) tell(j *job) {
	j.class = &q.told
	q.mu.Lock()
	defer q.unlock()
	if q.over {
		q.noteLostLocked(j, lostAfterEnd)
		return
	}
	k := q.keys[j.event.ConnectionID]
	if k == nil {
		k = &key{}
		q.keys[j.event.ConnectionID] = k
	}
	k.events = append(k.events, j)
	k.told++
	j.kept = q.outbox.PushBack(j)
	q.bytes += j.size()
	if len(k.events) == 1 {
		q.told.push(j)
	}
	q.boundLocked()
	q.pumpLocked()
}

// boundLocked gives up the oldest told events past webhook.outbox.
func (q *queue) boundLocked() {
	most := q.d.settings.Load().outbox
	for e := q.outbox.Front(); e != nil && (q.outbox.Len() > most.Messages || int64(q.bytes) > int64(most.Bytes)); {
		next := e.Next()
		if j := e.Value.(*job); !j.sent {
			q.lostLocked(j, lostOutboxFull)
		}
		e = next
	}
}

// lostLocked gives up a told event that is not under way.
func (q *queue) lostLocked(j *job, why *loss) {
	q.noteLostLocked(j, why)
	q.withdrawLocked(j)
	q.finishLocked(j)
}

func (q *queue) noteLostLocked(j *job, why *loss) {
	q.d.metrics.Webhooks.WithLabelValues(j.event.Name, "lost").Inc()
	q.after = append(q.after, func() { q.d.lost(j, why) })
}

// finishLocked takes a told event out; the next of its connection follows.
func (q *queue) finishLocked(j *job) {
	q.outbox.Remove(j.kept)
	q.bytes -= j.size()
	id := j.event.ConnectionID
	k := q.keys[id]
	if k == nil {
		return
	}
	for i, other := range k.events {
		if other != j {
			continue
		}
		k.events = append(k.events[:i:i], k.events[i+1:]...)
		if i == 0 && len(k.events) > 0 {
			q.told.push(k.events[0])
		}
		break
	}
	if j.tries == 0 {
		q.triedLocked(k)
	}
	if len(k.events) == 0 {
		delete(q.keys, id)
	}
}

// triedLocked notes a first attempt; messages wait for those only.
func (q *queue) triedLocked(k *key) {
	k.tried++
	for len(k.asks) > 0 && k.asks[0].behind <= k.tried {
		q.messages.push(k.asks[0])
		k.asks = k.asks[1:]
	}
}

// pumpLocked starts what may run now.
func (q *queue) pumpLocked() {
	for q.running < q.most {
		j := q.nextLocked()
		if j == nil {
			break
		}
		q.work.Go(func() { q.run(j) })
	}
	waited := q.running - q.connects.running // nobody comes in any more
	if q.closed && q.idle != nil && waited == 0 && q.outbox.Len() == 0 && q.emptyLocked() {
		close(q.idle)
		q.idle = nil
	}
}

func (q *queue) emptyLocked() bool {
	return q.connects.ready.Len()+q.messages.ready.Len()+q.told.ready.Len()+len(q.later) == 0
}

// nextLocked takes the classes in turn.
func (q *queue) nextLocked() *job {
	all := [...]*class{&q.messages, &q.connects, &q.told}
	for range all {
		c := all[q.turn%len(all)]
		q.turn++
		if e := c.ready.Front(); e != nil && c.running < c.most {
			j := e.Value.(*job)
			c.remove(j)
			c.running++
			q.running++
			j.sent = true
			return j
		}
	}
	return nil
}

// run sends a job, and then others as long as there are any.
func (q *queue) run(j *job) {
	for j != nil {
		v := q.try(j)
		var finished func()
		q.mu.Lock()
		j.class.running--
		q.running--
		j.sent = false
		if j.done != nil {
			finished = q.askedLocked(j, v)
		} else {
			q.toldLocked(j, v)
		}
		if q.running < q.most {
			j = q.nextLocked()
		} else {
			j = nil
		}
		q.pumpLocked()
		q.unlock()
		if finished != nil {
			q.d.guard.Run("answer of a webhook", finished)
		}
	}
}

// try sends a job. A panic is its answer, so that who asked is not left waiting.
func (q *queue) try(j *job) (v verdict) {
	v = verdict{result: "error", err: errInternal}
	defer q.d.guard.Recover("webhook", nil)
	if j.wanted == nil {
		j.set = q.d.settings.Load()
	}
	v = q.send(j)
	q.d.metrics.Webhooks.WithLabelValues(j.event.Name, v.result).Inc()
	q.d.report(j, &v)
	return v
}

// askedLocked decides whether a question is asked again; otherwise it returns the
// call that answers it. A retry that waits holds no place among those under way.
func (q *queue) askedLocked(j *job, v verdict) func() {
	j.tries++
	if v.again && j.class == &q.messages && j.tries < messageTries && !q.over {
		due := time.Now().Add(max(v.after, q.backoff(j.tries)))
		if due.Before(j.deadline) {
			q.laterLocked(j, due)
			return nil
		}
	}
	q.asks.remove(j)
	return func() { j.done(v.answer, v.err) }
}

// toldLocked decides whether a told event is told again.
func (q *queue) toldLocked(j *job, v verdict) {
	if j.tries++; j.tries == 1 {
		if k := q.keys[j.event.ConnectionID]; k != nil {
			q.triedLocked(k)
		}
	}
	retry := &q.d.settings.Load().retry
	switch {
	case v.err == nil && v.answer.Status/100 == 2:
		q.finishLocked(j)
	case final(v.answer.Status):
		q.finishLocked(j)
	case j.set.to == nil:
		q.lostLocked(j, lostNoWebhook)
	case time.Since(j.born) >= retry.GiveUpAfter:
		q.lostLocked(j, lostGivenUp)
	case q.over:
		q.lostLocked(j, lostAtTheEnd)
	default:
		pause := max(v.after, q.backoff(j.tries))
		if q.closed { // the last chance
			pause = min(pause, retry.Min)
		}
		due, last := time.Now().Add(pause), j.born.Add(retry.GiveUpAfter)
		if due.After(last) { // so that a Retry-After of a year does not keep it for one
			due = last
		}
		q.laterLocked(j, due)
	}
}

// final: statuses of a told event that no retry can change (SPEC §11 Webhooks).
func final(status int) bool {
	switch status {
	case 400, 404, 405, 410, 413, 415, 422, 501:
		return true
	}
	return false
}

// backoff is exponential with full jitter.
func (q *queue) backoff(tries int) time.Duration {
	r := &q.d.settings.Load().retry
	limit := r.Max
	if shift := tries - 1; shift < 30 && r.Min < r.Max>>shift {
		limit = r.Min << shift
	}
	return time.Duration(rand.Int64N(int64(max(1, limit)))) + 1
}

func (q *queue) laterLocked(j *job, due time.Time) {
	j.due = due
	heap.Push(&q.later, j)
	q.armLocked(due)
}

// armLocked lets the timer go off at a moment, or before.
func (q *queue) armLocked(at time.Time) {
	if !q.armed.IsZero() && !at.Before(q.armed) {
		return
	}
	q.armed = at
	wait := max(0, time.Until(at))
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, q.dueNow)
		return
	}
	q.timer.Reset(wait)
}

// dueNow moves what is due back to its class and answers what is overdue.
func (q *queue) dueNow() {
	q.mu.Lock()
	defer q.unlock()
	q.armed = time.Time{}
	if q.over {
		return
	}
	now := time.Now()
	q.expireLocked(now)
	q.moveDueLocked(now)
	if len(q.later) > 0 {
		q.armLocked(q.later[0].due)
	}
	if q.asks.front != nil {
		q.armLocked(q.asks.front.deadline)
	}
	q.pumpLocked()
}

func (q *queue) moveDueLocked(now time.Time) {
	for len(q.later) > 0 && !q.later[0].due.After(now) {
		j := heap.Pop(&q.later).(*job)
		j.class.push(j)
	}
}
