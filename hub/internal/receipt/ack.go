package receipt

import (
	"sync"
	"time"
)

// Acks are the messages that clients of this node are to confirm, and whose publisher
// waits for it.
type Acks struct {
	mu   sync.Mutex // guards open and every awaited
	open map[string]*awaited
}

// awaited is a message, by whatever destinations it came.
type awaited struct {
	// from are the connections that got it, by Member.Number; nil of one that confirmed it.
	from map[uint64]*Receipt
}

// Expect notes that followers, by Member.Number, are to confirm a message, which r then
// waits for. Who got it by another destination before is not asked again. The message is
// forgotten after the wait.
func (a *Acks) Expect(id string, followers []uint64, r *Receipt, wait time.Duration) {
	n := int64(0)
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.open[id]
	for _, member := range followers {
		if w == nil {
			w = &awaited{from: map[uint64]*Receipt{}}
			a.addLocked(id, w, wait)
		}
		if _, again := w.from[member]; !again {
			w.from[member] = r
			n++
		}
	}
	r.pending.Add(n)
}

func (a *Acks) addLocked(id string, w *awaited, wait time.Duration) {
	if a.open == nil {
		a.open = map[string]*awaited{}
	}
	a.open[id] = w
	time.AfterFunc(wait, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.open[id] == w {
			delete(a.open, id)
		}
	})
}

// Confirm counts a member's confirmation of a message that it was asked to confirm, once.
func (a *Acks) Confirm(id string, member uint64) {
	if r := a.take(id, member); r != nil {
		r.acked.Add(1)
		r.settle()
	}
}

func (a *Acks) take(id string, member uint64) *Receipt {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.open[id]
	if w == nil {
		return nil
	}
	r := w.from[member]
	if r != nil {
		w.from[member] = nil
	}
	return r
}
