package hub

import (
	"sync"
	"time"
)

// acks are the messages of which clients of this node are to say that they have them, and
// their publisher waits for it: at most Push.Wait long each.
type acks struct {
	mu   sync.Mutex // guards open and every awaited
	open map[string]*awaited
}

// awaited is a message, by whatever destinations it came.
type awaited struct {
	// from are the connections that got it, by Member.id; nil of one that confirmed it.
	from map[uint64]*receipt
}

// expect notes that the followers among conns are to confirm a message, and returns how
// many others before did not have it by another destination. It is forgotten after the
// wait.
func (a *acks) expect(id string, conns []Conn, r *receipt, wait time.Duration) (n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.open[id]
	for _, c := range conns {
		m := c.Member()
		if !m.Follows() {
			continue
		}
		if w == nil {
			w = &awaited{from: map[uint64]*receipt{}}
			a.addLocked(id, w, wait)
		}
		if _, again := w.from[m.id]; !again {
			w.from[m.id] = r
			n++
		}
	}
	return n
}

func (a *acks) addLocked(id string, w *awaited, wait time.Duration) {
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

// confirm returns the receipt that a confirmation counts for, nil for none.
func (a *acks) confirm(id string, member uint64) *receipt {
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

// Acknowledge takes a client's word that it has the message with this id. Only of those
// that it was sent, and asked to confirm, it counts, and once.
func (h *Hub) Acknowledge(m *Member, id string) {
	if r := h.acks.confirm(id, m.id); r != nil {
		r.acked.Add(1)
		r.settle()
	}
}
