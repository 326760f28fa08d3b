package webhook

import (
	"container/heap"
	"container/list"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

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
	pace     pace
	kinds    [4]kind // of what is asked
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

// key is the told events of one connection, or of one user or channel, in order, and
// the messages that wait for
// the first attempt of those before them.
type key struct {
	events      []*job // the first is with the told class or in later, or held
	told, tried int    // how many events came, and had their first attempt
	asks        []*job
}

func newQueue(d *Dispatcher) *queue {
	q := &queue{d: d, send: d.attempt, keys: map[string]*key{}}
	q.kinds = [...]kind{
		{event: Message, class: &q.messages, tries: messageTries}, {event: Connect, class: &q.connects, tries: 1},
		{event: Subscribe, class: &q.messages, tries: 1}, {event: Publish, class: &q.messages, tries: 1},
	}
	q.resize(d.settings.Load().maxInFlight)
	return q
}

// resize bounds what is under way at once; what is beyond it already ends as it
// would.
func (q *queue) resize(most int) {
	q.mu.Lock()
	defer q.unlock()
	q.most, q.messages.most = most, most
	q.connects.most = max(1, most/2)
	q.pace.resize(max(1, most/2))
	q.told.most = q.pace.now
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

// atOnce is how many told events may be under way.
func (q *queue) atOnce() int {
	q.mu.Lock()
	defer q.unlock()
	return q.told.most
}

// asked is how many messages wait for their answer.
func (q *queue) asked() int {
	q.mu.Lock()
	defer q.unlock()
	return q.asks.len
}

// ask queues a question.
func (q *queue) ask(j *job) {
	j.kind = q.kindOf(j.event.Name)
	c := j.kind.class
	j.class = c
	q.mu.Lock()
	switch {
	case q.closed:
		q.unlock()
		q.answer(func() { j.done(Answer{}, fmt.Errorf("%w: %w", ErrUnavailable, errClosed)) })
		return
	case j.kind.breaker.refuses(j, j.born):
		q.unlock()
		q.answer(func() { q.d.refuse(j) })
		return
	}
	k := q.keys[j.key]
	switch {
	case c == &q.messages && k != nil && k.tried < k.told:
		j.behind = k.told
		k.asks = append(k.asks, j)
		q.hurryLocked(k)
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

// answer does it in a goroutine of its own.
func (q *queue) answer(do func()) {
	q.work.Go(func() { q.d.guard.Run("answer of a webhook", do) })
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
	if j.kind != nil {
		j.kind.breaker.leave(j)
	}
	switch {
	case j.place != nil:
		j.class.remove(j)
	case j.index >= 0:
		heap.Remove(&q.later, j.index)
	case j.behind > 0:
		if k := q.keys[j.key]; k != nil {
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

// unsentLocked takes out the questions of a kind, nil for all, that are not under way.
func (q *queue) unsentLocked(k *kind) (out []*job) {
	for j := q.asks.front; j != nil; j = j.younger {
		if (k == nil || j.kind == k) && !j.sent {
			out = append(out, j)
		}
	}
	if k == nil || k.class == &q.connects { // they are not among the asks, as who waits for them has a context
		for e := q.connects.ready.Front(); e != nil; e = e.Next() {
			out = append(out, e.Value.(*job))
		}
	}
	for _, j := range out {
		q.asks.remove(j)
		q.withdrawLocked(j)
	}
	return out
}

// pumpLocked starts what may run now.
func (q *queue) pumpLocked() {
	for q.running < q.most {
		j := q.nextLocked()
		if j == nil {
			break
		}
		q.work.Go(func() {
			growStack(0)
			q.run(j)
		})
	}
	waited := q.running - q.connects.running // nobody comes in any more
	if q.closed && q.idle != nil && waited == 0 && q.outbox.Len() == 0 && q.emptyLocked() {
		close(q.idle)
		q.idle = nil
	}
}

// growStack has a new goroutine's stack grow at once to what a request takes, while it
// is all but empty. To grow step by step, each time with all that is on it by then, is a
// sixth of a round trip.
//
//go:noinline
func growStack(i uint8) byte {
	var room [4 << 10]byte
	room[i] = i
	return room[i/2]
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
		if e := c.ready.Front(); e != nil && q.roomLocked(c, e.Value.(*job)) && (c != &q.told || q.ripeLocked()) {
			j := e.Value.(*job)
			c.remove(j)
			c.running++
			q.running++
			q.beginLocked(j)
			return j
		}
	}
	return nil
}

// roomLocked says whether one more of a class, j, may be under way. A message that waits
// for the first try of what was told before it does not wait for the pace of that.
func (q *queue) roomLocked(c *class, j *job) bool {
	return c.running < c.most || j.hurried && j.tries == 0 && c.running < q.pace.most
}

// beginLocked settles how a job is sent.
func (q *queue) beginLocked(j *job) {
	j.sent = true
	if j.wanted == nil {
		j.set = q.d.settings.Load()
	}
	if j.class == &q.told {
		q.gatherLocked(j)
	}
}

// run sends a job, and then others as long as there are any.
func (q *queue) run(j *job) {
	for j != nil {
		v := q.try(j)
		var finished func()
		q.mu.Lock()
		j.class.running--
		q.running--
		q.breakLocked(j, v)
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
	v = q.send(j)
	q.d.metrics.Webhooks.WithLabelValues(j.name(), v.result).Inc()
	q.d.report(j, &v)
	return v
}

// askedLocked decides whether a question is asked again; otherwise it returns the
// call that answers it. A retry that waits holds no place among those under way.
func (q *queue) askedLocked(j *job, v verdict) func() {
	j.sent = false
	j.tries++
	if v.again && j.tries < j.kind.tries && !q.over && !j.kind.breaker.open.Load() {
		due := time.Now().Add(max(v.after, q.backoff(j.tries)))
		if due.Before(j.deadline) {
			q.laterLocked(j, due)
			return nil
		}
	}
	q.asks.remove(j)
	return func() { j.done(v.answer, v.err) }
}
