package webhook

import (
	"container/heap"
	"container/list"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// queue decides what is sent when. It has a goroutine for each request under way
// and one timer for all retries.
type queue struct {
	d *Dispatcher

	mu       sync.Mutex // guards all below; nothing is sent under it
	connects class
	messages class
	told     class
	running  int
	turn     int // whose turn it is, so that no class starves another
	keys     map[string]*key
	outbox   list.List // of *job: all that is told and not delivered, oldest first
	bytes    int
	later    retries
	timer    *time.Timer
	closed   bool
	idle     chan struct{} // closed when nothing is left, while closing
	work     sync.WaitGroup
}

// key is one connection's told events in order, and the messages that wait for
// their first attempt.
type key struct {
	events  []*job // the first is with the told class or in later
	untried int
	asks    []*job
}

func newQueue(d *Dispatcher) *queue {
	most := d.cfg.MaxInFlight
	half := max(1, most/2)
	return &queue{
		d: d, keys: map[string]*key{},
		connects: class{most: half}, messages: class{most: most}, told: class{most: half},
	}
}

func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.outbox.Len()
}

// ask queues a question.
func (q *queue) ask(j *job, c *class) {
	j.class = c
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		q.work.Go(func() { j.done(Answer{}, fmt.Errorf("%w: %w", ErrUnavailable, errClosed)) })
		return
	}
	if k := q.keys[j.event.ConnectionID]; k != nil && k.untried > 0 && c == &q.messages {
		k.asks = append(k.asks, j)
	} else {
		c.ready.PushBack(j)
	}
	q.pumpLocked()
	q.mu.Unlock()
}

// tell queues a told event behind those of its connection.
func (q *queue) tell(j *job) {
	j.class = &q.told
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.countLost(j, errClosed)
		return
	}
	k := q.keys[j.event.ConnectionID]
	if k == nil {
		k = &key{}
		q.keys[j.event.ConnectionID] = k
	}
	k.events = append(k.events, j)
	k.untried++
	j.place = q.outbox.PushBack(j)
	q.bytes += j.size()
	if len(k.events) == 1 {
		q.told.ready.PushBack(j)
	}
	q.boundLocked()
	q.pumpLocked()
}

// boundLocked gives up the oldest told events past webhook.outbox.
func (q *queue) boundLocked() {
	most := q.d.cfg.Outbox
	for e := q.outbox.Front(); e != nil && (q.outbox.Len() > most.Messages || q.bytes > int(most.Bytes)); {
		next := e.Next()
		if j := e.Value.(*job); !j.sent {
			q.lostLocked(j, "outbox is full")
		}
		e = next
	}
}

// lostLocked gives up a told event.
func (q *queue) lostLocked(j *job, why string) {
	q.countLost(j, errors.New(why))
	j.gone = true
	q.removeReadyLocked(j)
	q.finishLocked(j)
}

func (q *queue) countLost(j *job, err error) {
	q.d.metrics.Webhooks.WithLabelValues(j.event.Name, "lost").Inc()
	if q.d.refused.shouldLog("lost") {
		q.d.log.Error("webhook events lost", "event", j.event.Name, "conn", j.event.ConnectionID, "err", err)
	}
}

func (q *queue) removeReadyLocked(j *job) {
	for e := j.class.ready.Front(); e != nil; e = e.Next() {
		if e.Value == j {
			j.class.ready.Remove(e)
			return
		}
	}
}

// finishLocked takes a told event out; the next of its connection follows.
func (q *queue) finishLocked(j *job) {
	q.outbox.Remove(j.place)
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
			q.told.ready.PushBack(k.events[0])
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
	k.untried--
	if k.untried > 0 {
		return
	}
	for _, j := range k.asks {
		q.messages.ready.PushBack(j)
	}
	k.asks = nil
}

// pumpLocked starts what may run now.
func (q *queue) pumpLocked() {
	for q.running < q.d.cfg.MaxInFlight {
		j := q.nextLocked()
		if j == nil {
			break
		}
		q.work.Go(func() { q.run(j) })
	}
	if q.closed && q.idle != nil && q.running == 0 && q.outbox.Len() == 0 && q.emptyLocked() {
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
			c.ready.Remove(e)
			c.running++
			q.running++
			j := e.Value.(*job)
			j.sent = true
			return j
		}
	}
	return nil
}

// run sends a job, and then others as long as there are any.
func (q *queue) run(j *job) {
	for j != nil {
		v := q.d.attempt(j)
		q.d.metrics.Webhooks.WithLabelValues(j.event.Name, v.result).Inc()
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
		if q.running < q.d.cfg.MaxInFlight {
			j = q.nextLocked()
		} else {
			j = nil
		}
		q.pumpLocked()
		q.mu.Unlock()
		if finished != nil {
			finished()
		}
	}
}

// askedLocked decides whether a question is asked again; otherwise it returns the
// call that answers it.
func (q *queue) askedLocked(j *job, v verdict) func() {
	j.tries++
	if v.err != nil && v.again && !v.timeout && j.class == &q.messages && j.tries < messageTries && !q.closed {
		pause := max(v.after, q.backoff(j.tries))
		end := j.born.Add(messageTries * q.d.cfg.Timeout)
		if due := time.Now().Add(pause); due.Before(end) {
			q.laterLocked(j, due)
			return nil
		}
	}
	return func() { j.done(v.answer, v.err) }
}

// toldLocked decides whether a told event is told again.
func (q *queue) toldLocked(j *job, v verdict) {
	if j.tries++; j.tries == 1 {
		if k := q.keys[j.event.ConnectionID]; k != nil {
			q.triedLocked(k)
		}
	}
	switch {
	case v.err == nil && v.answer.Status/100 == 2:
		q.finishLocked(j)
	case final(v.answer.Status):
		if q.d.refused.shouldLog(j.event.Name) {
			q.d.log.Warn("backend does not take an event; leave it out of webhook.events if that is meant",
				"event", j.event.Name, "status", v.answer.Status)
		}
		q.finishLocked(j)
	case time.Since(j.born) > q.d.cfg.Retry.GiveUpAfter:
		q.lostLocked(j, "not delivered within webhook.retry.give_up_after")
	case q.closed:
		q.lostLocked(j, "not delivered before the end of the process")
	default:
		q.laterLocked(j, time.Now().Add(max(v.after, q.backoff(j.tries))))
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
	r := q.d.cfg.Retry
	limit := r.Max
	if shift := tries - 1; shift < 30 && r.Min<<shift < r.Max {
		limit = r.Min << shift
	}
	return time.Duration(rand.Int64N(int64(max(1, limit)))) + 1
}

func (q *queue) laterLocked(j *job, due time.Time) {
	j.due = due
	heap.Push(&q.later, j)
	q.armLocked()
}

// armLocked sets the timer to the earliest retry.
func (q *queue) armLocked() {
	if len(q.later) == 0 {
		return
	}
	wait := max(0, time.Until(q.later[0].due))
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, q.dueNow)
		return
	}
	q.timer.Reset(wait)
}

// dueNow moves what is due back to its class.
func (q *queue) dueNow() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for len(q.later) > 0 && !q.later[0].due.After(now) {
		if j := heap.Pop(&q.later).(*job); !j.gone {
			j.class.ready.PushBack(j)
		}
	}
	q.armLocked()
	q.pumpLocked()
}

// close makes what waits for a retry due at once and waits for the end.
func (q *queue) close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	idle := make(chan struct{})
	q.idle = idle
	for len(q.later) > 0 {
		if j := heap.Pop(&q.later).(*job); !j.gone {
			j.class.ready.PushBack(j)
		}
	}
	q.pumpLocked()
	q.mu.Unlock()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = fmt.Errorf("webhooks: %w", ctx.Err())
		q.abandon()
		q.d.sockets.cut()
	}
	q.work.Wait()
	return err
}

// abandon gives up all that is not under way.
func (q *queue) abandon() {
	q.mu.Lock()
	var asks []*job
	for _, c := range []*class{&q.connects, &q.messages} {
		for e := c.ready.Front(); e != nil; e = e.Next() {
			asks = append(asks, e.Value.(*job))
		}
		c.ready.Init()
	}
	for e := q.outbox.Front(); e != nil; {
		next := e.Next()
		if j := e.Value.(*job); !j.sent {
			q.lostLocked(j, "not delivered before the end of the process")
		}
		e = next
	}
	q.told.ready.Init()
	q.mu.Unlock()
	for _, j := range asks {
		j.done(Answer{}, fmt.Errorf("%w: %w", ErrUnavailable, errClosed))
	}
}
