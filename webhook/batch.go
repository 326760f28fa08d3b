package webhook

import (
	"crypto/sha256"
	"time"

	"github.com/google/uuid"
)

const (
	// batchName stands for {event} in the URL, and in metrics and logs, where several
	// events go in one request.
	batchName = "batch"
	// maxBatchBytes bounds their sizes together.
	maxBatchBytes = 1 << 20
	// batchLook is how many times webhook.batch.events the queue is looked through
	// for events that fit.
	batchLook = 4
)

// name is that of the request.
func (j *job) name() string {
	if len(j.with) > 0 {
		return batchName
	}
	return j.event.Name
}

// ripeLocked says whether the first notification may go now, or whether others may
// still come to go with it. Then the timer is set.
func (q *queue) ripeLocked() bool {
	batch := q.d.settings.Load().batch
	if batch.Events <= 1 || batch.Wait == 0 || q.closed || q.fillsLocked(batch.Events) {
		return true
	}
	j := q.told.ready.Front().Value.(*job)
	if j.tries > 0 || j.hurried {
		return true
	}
	at := j.born.Add(batch.Wait)
	if !time.Now().Before(at) {
		return true
	}
	q.armLocked(at)
	return false
}

// fillsLocked says whether what may go now fills a batch.
func (q *queue) fillsLocked(events int) bool {
	if q.told.ready.Len() >= events || q.outbox.Len() < events {
		return q.told.ready.Len() >= events
	}
	n := 0
	for e := q.told.ready.Front(); e != nil && n < events; e = e.Next() {
		n += len(q.keys[e.Value.(*job).key].events)
	}
	return n >= events
}

// hurryLocked lets the first event of a key go without waiting for others, as a
// message waits behind it.
func (q *queue) hurryLocked(k *key) {
	first := k.events[0]
	first.hurried = first.hurried || first.place != nil || first.event.Held
	if first.place != nil {
		q.told.ready.MoveToFront(first.place)
	}
}

// gatherLocked has what else is told go in the request of j: the later events of its
// key, then those of others, each key's in their order.
func (q *queue) gatherLocked(j *job) {
	most := j.set.batch.Events
	if most <= 1 || j.alone {
		return
	}
	size := j.size()
	fits := func(o *job) bool {
		return len(j.with)+1 < most && !o.alone && !o.event.Held && size+o.size() <= maxBatchBytes &&
			j.set.to != nil && j.set.to.Host(o.event.RequestHost) == j.set.to.Host(j.event.RequestHost)
	}
	take := func(o *job) {
		o.sent = true
		size += o.size()
		j.with = append(j.with, o)
	}
	behind := func(first *job) {
		for _, o := range q.keys[first.key].events[1:] {
			if !fits(o) {
				return
			}
			take(o)
		}
	}
	behind(j)
	looked := 0
	for e := q.told.ready.Front(); e != nil && len(j.with)+1 < most && looked < batchLook*most; looked++ {
		o := e.Value.(*job)
		e = e.Next()
		if fits(o) {
			q.told.remove(o)
			take(o)
			behind(o)
		}
	}
}

// batchID is the webhook-id of a batch: made of the ids in it, so that the same batch
// has the same one. (A UUIDv8, RFC 9562 §5.8.)
func batchID(j *job) uuid.UUID {
	h := sha256.New()
	_, _ = h.Write(j.id[:]) // a hash does not fail
	for _, o := range j.with {
		_, _ = h.Write(o.id[:])
	}
	return asUUIDv8([sha256.Size]byte(h.Sum(nil)))
}
