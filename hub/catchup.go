package hub

import (
	"sync"
	"time"
)

// catchUp moves cursors: so many at once, the others in the order in which they came. It
// has goroutines only while there is something to move.
type catchUp struct {
	hub  *Hub
	work sync.WaitGroup

	mu      sync.Mutex // guards all below
	queue   []*cursor
	running int
	closed  bool
}

func newCatchUp(h *Hub) *catchUp { return &catchUp{hub: h} }

// push queues a cursor for its next step, and never waits. One that is just being moved
// is queued when that is over: a step has the cursor to itself.
func (q *catchUp) push(c *cursor) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case c.moving:
		c.again = true
		return
	case c.queued:
		return
	}
	q.queueLocked(c)
}

func (q *catchUp) queueLocked(c *cursor) {
	c.queued = true
	q.queue = append(q.queue, c)
	if q.running < recoverAtOnce && !q.closed {
		q.running++
		q.work.Go(q.run)
	}
}

func (q *catchUp) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue)
}

func (q *catchUp) run() {
	for c := q.take(); c != nil; c = q.take() {
		q.hub.guard.Run("recovery of a connection", func() { q.move(c) })
		q.moved(c)
	}
}

// moved ends a step, and queues the cursor if somebody wanted another meanwhile.
func (q *catchUp) moved(c *cursor) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c.moving = false
	if c.again {
		c.again = false
		q.queueLocked(c)
	}
}

func (q *catchUp) take() *cursor {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		q.running--
		q.queue = nil
		return nil
	}
	c := q.queue[0]
	q.queue[0] = nil
	q.queue = q.queue[1:]
	c.queued, c.moving = false, true
	return c
}

func (q *catchUp) move(c *cursor) {
	switch q.hub.step(c) {
	case stepAgain:
		q.push(c)
	case stepWaits:
		if !c.conn.OnRoom(func() { q.push(c) }) {
			q.push(c)
		}
	case stepFailed:
		time.AfterFunc(retryAfter, func() { q.push(c) })
	case stepEnded:
	}
}

// close lets what is queued end, as the broker has ended, and waits for it.
func (q *catchUp) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.work.Wait()
}
