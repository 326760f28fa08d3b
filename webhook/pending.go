package webhook

import (
	"bytes"
	"cmp"
	"container/heap"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Pending is a waiting event or a dead letter, in a form for people.
type Pending struct {
	// ID is ce-id, Event the event's name.
	ID, Event string
	// Connection, User and Channel are what it is about, "" for none.
	Connection, User, Channel string
	// Time is when it happened.
	Time time.Time
	// Data is its payload, JSON.
	Data json.RawMessage
	// Tries is how often it was sent; of a dead letter 0. Due is when it is sent next;
	// zero: as soon as may be, or when those before it are.
	Tries int
	Due   time.Time
	// Reason is why it was not taken, "" before the first try.
	Reason string
	// GivenUp is when it became a dead letter; zero: it waits.
	GivenUp time.Time
	// Rank orders those that wait, over all nodes; a dead letter has none.
	Rank string
	// Node has it; left to who asks several.
	Node string
}

func (p *Pending) describe(ev *Event, at time.Time) {
	p.Event, p.Time, p.Data = ev.Name, at.UTC(), ev.Body
	p.Connection, p.User, p.Channel = ev.ConnectionID, ev.UserID, ev.Channel
}

// Waiting returns the events that wait on this node, ordered by Rank, starting after the
// given one; "" starts with the first. It returns at most limit; more says that there are
// others.
func (d *Dispatcher) Waiting(after string, limit int) (page []Pending, more bool) {
	jobs := d.queue.behind(parseRank(after))
	slices.SortFunc(jobs, func(a, b *job) int { return a.rank().compare(b.rank()) })
	if more = len(jobs) > limit; more {
		jobs = jobs[:limit]
	}
	return d.queue.describe(jobs), more
}

// Find returns the event with an id; false means that none waits here.
func (d *Dispatcher) Find(id string) (Pending, bool) {
	return d.queue.change(id, func(*queue, *job) {})
}

// Hurry makes a waiting event due now, unless an earlier one in its order waits; false
// means that none with that id waits here.
func (d *Dispatcher) Hurry(id string) (Pending, bool) {
	return d.queue.change(id, func(q *queue, j *job) {
		if j.index >= 0 {
			heap.Remove(&q.later, j.index)
			q.told.push(j)
		}
	})
}

// Drop drops a waiting event; if it is in flight, it is not retried. false means that
// none with that id waits here.
func (d *Dispatcher) Drop(id string) (Pending, bool) {
	return d.queue.change(id, func(q *queue, j *job) {
		if j.dropped = true; !j.sent {
			q.withdrawLocked(j)
			q.finishLocked(j)
			q.sayToldLocked(j)
		}
	})
}

// OldestWaiting is how long the oldest event has waited here, 0 if none does.
func (d *Dispatcher) OldestWaiting() time.Duration {
	d.queue.mu.Lock()
	defer d.queue.unlock()
	if e := d.queue.outbox.Front(); e != nil {
		return max(0, time.Since(e.Value.(*job).born))
	}
	return 0
}

// rank is where an event stands among those that wait.
type rank struct {
	ms int64
	id uuid.UUID
}

func (j *job) rank() rank { return rank{j.time().UnixMilli(), j.id} }

func (p rank) compare(other rank) int {
	return cmp.Or(cmp.Compare(p.ms, other.ms), bytes.Compare(p.id[:], other.id[:]))
}

// String sorts as ranks do.
func (p rank) String() string { return fmt.Sprintf("%013d-%s", p.ms, p.id) }

// parseRank reads what String wrote; of anything else it is the first.
func parseRank(s string) (p rank) {
	ms, id, _ := strings.Cut(s, "-")
	p.ms, _ = strconv.ParseInt(ms, 10, 64)
	p.id, _ = uuid.Parse(id)
	return p
}

// behind are the told events that come after a rank, in no order.
func (q *queue) behind(after rank) (jobs []*job) {
	q.mu.Lock()
	defer q.unlock()
	for e := q.outbox.Front(); e != nil; e = e.Next() {
		if j := e.Value.(*job); j.rank().compare(after) > 0 {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// describe describes jobs, also those that were told meanwhile.
func (q *queue) describe(jobs []*job) []Pending {
	page := make([]Pending, 0, len(jobs))
	q.mu.Lock()
	defer q.unlock()
	for _, j := range jobs {
		page = append(page, j.pendingLocked())
	}
	return page
}

func (j *job) pendingLocked() Pending {
	p := Pending{ID: j.id.String(), Tries: j.tries, Reason: j.failure, Rank: j.rank().String()}
	p.describe(j.event, j.time())
	if j.index >= 0 {
		p.Due = j.due.UTC()
	}
	return p
}

// change does something to the told event of an id, which it returns as it was before.
func (q *queue) change(id string, do func(*queue, *job)) (Pending, bool) {
	want, err := uuid.Parse(id)
	if err != nil {
		return Pending{}, false
	}
	q.mu.Lock()
	defer q.unlock()
	for e := q.outbox.Front(); e != nil; e = e.Next() {
		if j := e.Value.(*job); j.id == want {
			p := j.pendingLocked()
			do(q, j)
			q.pumpLocked()
			return p, true
		}
	}
	return Pending{}, false
}
