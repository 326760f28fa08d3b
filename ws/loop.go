package ws

import (
	"sync"
	"time"
)

// tick is a loop's coarse clock: units of tickLength since the loop began. It
// lasts 6 years.
type tick uint32

const (
	tickLength = 50 * time.Millisecond
	never      = tick(1<<32 - 1)
)

// ticks is d in ticks, rounded up; at most the last before never.
func ticks(d time.Duration) tick {
	n := d / tickLength
	if d%tickLength > 0 {
		n++
	}
	return tick(min(max(n, 0), time.Duration(never-1)))
}

// slot is a place in a loop's table. The generation tells a connection from the
// one that had the slot before, so that an event that comes late hits nobody.
type slot struct {
	c   *Conn
	gen uint32
	due tick
}

// loop is what pollers and the goroutine path have in common: the table of
// connections with each one's next deadline, and the list of those that want
// attention now. One goroutine runs it; every method may be called from any.
type loop struct {
	began time.Time
	wake  func() // ends the wait of the goroutine that runs the loop; see wakeLocked

	mu    sync.Mutex // guards all below; under it only wake may lock something
	slots []slot
	free  []uint32
	tasks []*Conn
	next  tick // no slot is due before
	awake bool // tasks will be looked at before the next wait
	ended bool // stop was called
	over  bool // run returned, or is about to
}

func newLoop() *loop { return &loop{began: time.Now(), next: never, awake: true} }

func (l *loop) now() tick { return tick(time.Since(l.began) / tickLength) }

// at returns the tick of a moment, never 0 and never in the past. A moment that the
// clock does not reach is never.
func (l *loop) at(t time.Time) tick {
	now, until := l.now(), ticks(time.Until(t))
	if until >= never-1-now {
		return never
	}
	return now + 1 + until
}

// add gives c a slot; false: the loop is over, and c must be closed by the caller.
func (l *loop) add(c *Conn, due tick) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	if n := len(l.free); n > 0 {
		c.slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		c.slot = uint32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	s := &l.slots[c.slot]
	s.c, s.due, c.gen = c, due, s.gen
	l.soonerLocked(due)
	return true
}

// remove takes c out of the table; events and deadlines no longer find it.
func (l *loop) remove(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := &l.slots[c.slot]; s.c == c {
		s.c, s.due = nil, never
		s.gen++
		l.free = append(l.free, c.slot)
	}
}

// lookup finds the connection of an event, nil if it is gone.
func (l *loop) lookup(slot, gen uint32) *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if int(slot) >= len(l.slots) || l.slots[slot].gen != gen {
		return nil
	}
	return l.slots[slot].c
}

// schedule sets when c is attended next.
func (l *loop) schedule(c *Conn, due tick) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := &l.slots[c.slot]; s.c == c {
		s.due = due
		l.soonerLocked(due)
	}
}

func (l *loop) soonerLocked(due tick) {
	if due < l.next {
		l.next = due
		l.rouseLocked()
	}
}

// post asks the loop to attend c soon.
func (l *loop) post(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tasks = append(l.tasks, c)
	l.rouseLocked()
}

// stop asks the loop to end when it holds no connection.
func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.wakeLocked()
}

// rouseLocked wakes the loop unless it will look before its next wait.
func (l *loop) rouseLocked() {
	if !l.awake {
		l.awake = true
		l.wakeLocked()
	}
}

// wakeLocked wakes the loop, under the lock, so that none is woken that is over.
func (l *loop) wakeLocked() {
	if !l.over {
		l.wake()
	}
}

// take appends to buf the connections to attend now, and says how long to wait
// afterwards (negative: until woken) and whether the loop is at its end.
func (l *loop) take(buf []*Conn) (due []*Conn, wait time.Duration, end bool) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	buf = append(buf, l.tasks...)
	clear(l.tasks)
	l.tasks = l.tasks[:0]
	if l.next <= now {
		buf = l.sweepLocked(buf, now)
	}
	switch {
	case len(buf) > 0:
		return buf, 0, false
	case l.ended && len(l.free) == len(l.slots):
		l.over = true
		return buf, 0, true
	case l.next == never:
		l.awake = false
		return buf, -1, false
	}
	l.awake = false
	return buf, time.Duration(l.next-now) * tickLength, false
}

// sweepLocked collects the slots that are due. One whose deadline passed is
// parked until its connection schedules the next.
func (l *loop) sweepLocked(buf []*Conn, now tick) []*Conn {
	next := never
	for i := range l.slots {
		s := &l.slots[i]
		switch {
		case s.c == nil:
		case s.due <= now:
			s.due = never
			buf = append(buf, s.c)
		case s.due < next:
			next = s.due
		}
	}
	l.next = next
	return buf
}

// woken notes that the wait is over.
func (l *loop) woken() {
	l.mu.Lock()
	l.awake = true
	l.mu.Unlock()
}

// each calls f for every connection, outside the lock.
func (l *loop) each(f func(*Conn)) {
	l.mu.Lock()
	all := make([]*Conn, 0, len(l.slots)-len(l.free))
	for i := range l.slots {
		if c := l.slots[i].c; c != nil {
			all = append(all, c)
		}
	}
	l.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}
