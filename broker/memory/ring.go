package memory

import "time"

// keptMessage is a message of a stream in memory. Its offset is its place.
type keptMessage struct {
	payload []byte
	at      time.Duration // after the broker began
	expires time.Duration // the same; 0: never
	time    int64         // in Unix milliseconds
}

// cost is what it counts for in the history's total. The payload counts with all of
// the memory that it holds.
func (m *keptMessage) cost() int64 { return messageCost + int64(cap(m.payload)) }

func (m *keptMessage) expired(now time.Duration) bool { return m.expires > 0 && now >= m.expires }

// ring is a queue of messages that takes about as much room as they need.
type ring struct {
	slots []keptMessage
	head  int // of the oldest
	n     int
}

// get returns the message at an index; 0 is the oldest. It is valid until the next
// push or pop.
func (r *ring) get(i int) *keptMessage {
	if i += r.head; i >= len(r.slots) {
		i -= len(r.slots)
	}
	return &r.slots[i]
}

// push adds the youngest message. There will be most messages at the same time.
func (r *ring) push(m keptMessage, most int) {
	if r.n == len(r.slots) {
		r.resize(max(r.n+1, min(r.n+r.n/2+1, most)))
	}
	r.n++
	*r.get(r.n - 1) = m
}

// pop takes the oldest message out.
func (r *ring) pop() (m keptMessage) {
	m, *r.get(0) = *r.get(0), keptMessage{}
	if r.head++; r.head == len(r.slots) {
		r.head = 0
	}
	if r.n--; r.n == 0 && len(r.slots) > 1 || r.n > 0 && r.n <= len(r.slots)/4 {
		r.resize(2 * r.n)
	}
	return m
}

func (r *ring) resize(slots int) {
	if slots == 0 {
		*r = ring{}
		return
	}
	moved := make([]keptMessage, slots)
	upper := copy(moved, r.slots[r.head:min(r.head+r.n, len(r.slots))])
	copy(moved[upper:], r.slots[:r.n-upper])
	r.slots, r.head = moved, 0
}
