package webhook

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// tell queues a told event behind those of its connection.
func (q *queue) tell(j *job) {
	j.class = &q.told
	q.mu.Lock()
	defer q.unlock()
	if q.over {
		q.noteLostLocked(j, lostAfterEnd)
		return
	}
	if q.closed {
		j.event.Held = false
	}
	k := q.keys[j.key]
	if k == nil {
		k = &key{}
		q.keys[j.key] = k
	}
	k.events = append(k.events, j)
	k.told++
	j.kept = q.outbox.PushBack(j)
	q.bytes += j.size()
	if len(k.events) == 1 {
		q.nextOfLocked(k)
	}
	q.boundLocked()
	q.pumpLocked()
}

// boundLocked gives up the oldest told events past webhook.outbox, but those that the
// broker keeps, as it hands out only few at once.
func (q *queue) boundLocked() {
	most := q.d.settings.Load().outbox
	for e := q.outbox.Front(); e != nil && (q.outbox.Len() > most.Messages || int64(q.bytes) > int64(most.Bytes)); {
		j := e.Value.(*job)
		if e = e.Next(); j.sent || j.event.Entry != "" {
			continue
		}
		if j.event.Kept == nil {
			q.lostLocked(j, lostOutboxFull)
			continue
		}
		for e != nil && e.Value.(*job).key == j.key { // it may go as well
			e = e.Next()
		}
		q.lostTogetherLocked(q.keys[j.key])
	}
}

// lostTogetherLocked gives up what is told of a key, so that whoever tells it instead
// tells all of it, in order. While some of that is under way it waits.
func (q *queue) lostTogetherLocked(k *key) {
	for len(k.events) > 0 && !k.events[0].sent && k.events[0].event.Entry == "" {
		q.lostLocked(k.events[0], lostOutboxFull)
	}
}

// lostLocked gives up a told event that is not under way.
func (q *queue) lostLocked(j *job, why *loss) {
	q.noteLostLocked(j, why)
	q.withdrawLocked(j)
	q.finishLocked(j)
}

// nextOfLocked has the first event of a key wait for its turn, unless it is held.
func (q *queue) nextOfLocked(k *key) {
	if first := k.events[0]; !first.event.Held {
		q.told.push(first)
	}
}

func (q *queue) noteLostLocked(j *job, why *loss) {
	q.after = append(q.after, func() { q.d.lost(j, why) })
}

// finishLocked takes a told event out; the next of its connection follows.
func (q *queue) finishLocked(j *job) {
	q.outbox.Remove(j.kept)
	q.bytes -= j.size()
	k := q.keys[j.key]
	if k == nil {
		return
	}
	for i, other := range k.events {
		if other != j {
			continue
		}
		k.events = append(k.events[:i:i], k.events[i+1:]...)
		if i == 0 && len(k.events) > 0 && !k.events[0].sent { // else it was in the same request
			q.nextOfLocked(k)
		}
		break
	}
	if j.tries == 0 {
		q.triedLocked(k)
	}
	if len(k.events) == 0 {
		delete(q.keys, j.key)
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

// toldLocked decides about what one request told. What of it is told again waits
// equally long, so that it goes together again; of a batch that is refused for good,
// each goes by itself, as perhaps only one of them was meant.
func (q *queue) toldLocked(j *job, v verdict) {
	with, set := j.with, j.set
	j.with = nil
	if v.answer.Status/100 != 2 {
		v.after = max(v.after, q.backoff(j.tries+1))
	}
	settle := q.settleLocked
	if len(with) > 0 && final(v.answer.Status) {
		settle = q.singleLocked
	}
	q.pace.note(&v)
	q.told.most = q.pace.now
	q.attemptedLocked(j)
	settle(j, v)
	for _, o := range with {
		o.set = set
		q.attemptedLocked(o)
		settle(o, v)
	}
}

func (q *queue) attemptedLocked(j *job) {
	j.sent = false
	if j.tries++; j.tries > 1 {
		return
	}
	if k := q.keys[j.key]; k != nil {
		q.triedLocked(k)
	}
}

// singleLocked has an event told in a request of its own.
func (q *queue) singleLocked(j *job, v verdict) {
	j.alone = true
	switch {
	case j.withdrawn, j.dropped:
		q.settleLocked(j, v)
	case q.over:
		q.lostLocked(j, lostAtTheEnd)
	case q.firstLocked(j):
		j.class.push(j)
	}
}

// firstLocked says whether an event is the first of its connection: only that waits for
// its turn, or for its retry.
func (q *queue) firstLocked(j *job) bool {
	k := q.keys[j.key]
	return k != nil && k.events[0] == j
}

// settleLocked decides whether an event is told again.
func (q *queue) settleLocked(j *job, v verdict) {
	retry := &q.d.settings.Load().retry
	switch {
	case v.err == nil && v.answer.Status/100 == 2:
		q.finishLocked(j)
		q.sayToldLocked(j)
	case j.withdrawn:
		q.finishLocked(j)
	case j.dropped:
		q.finishLocked(j)
		q.sayToldLocked(j)
	case final(v.answer.Status):
		q.buryLocked(j, &v)
	case j.set.to == nil:
		q.lostLocked(j, lostNoWebhook)
	case time.Since(j.born) >= retry.GiveUpAfter:
		q.buryLocked(j, &v)
	case q.over:
		q.lostLocked(j, lostAtTheEnd)
	case q.firstLocked(j):
		j.failure = failure(j.set, &v)
		pause := v.after
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
