package hub

import (
	"context"
	"encoding/json"
	"maps"
	"sync"
	"time"

	"github.com/pushcart/pushcart/hub/internal/envelope"
)

// waiters are for what this node waits to hear from others.
type waiters struct {
	mu   sync.Mutex // guards all below, and the fields of every waiter
	last uint64
	open map[uint64]*waiter
}

// waiter collects what nodes say to one push or request.
type waiter struct {
	of     *waiters
	number uint64
	want   int64 // answers to come; -1: not known yet
	got    int64
	sums   tally
	heard  []reply
	done   chan struct{} // closed when got reached want
}

// tally is what the receipts of one push say together.
type tally struct {
	nodes           map[string]struct{} // that had a connection of the targets
	messages        int64               // that were reported on
	delivered, slow uint64
	acked           uint64
}

func newWaiters() *waiters { return &waiters{open: map[uint64]*waiter{}} }

// begin makes a waiter; the caller must end it.
func (a *waiters) begin() *waiter {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	w := &waiter{of: a, number: a.last, want: -1, done: make(chan struct{})}
	a.open[w.number] = w
	return w
}

func (w *waiter) end() {
	w.of.mu.Lock()
	delete(w.of.open, w.number)
	w.of.mu.Unlock()
}

// expect says how many answers will come.
func (w *waiter) expect(n int) {
	w.of.mu.Lock()
	w.want = int64(n)
	w.checkLocked()
	w.of.mu.Unlock()
}

func (w *waiter) checkLocked() {
	if w.want < 0 || w.got < w.want {
		return
	}
	select {
	case <-w.done:
	default:
		close(w.done)
	}
}

// wait returns when all came, at the deadline, or when ctx ends; true: all came.
func (w *waiter) wait(ctx context.Context, deadline time.Time) bool {
	select {
	case <-w.done:
		return true
	default:
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-w.done:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

func (a *waiters) receipt(n envelope.Receipt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.open[n.Request]
	if w == nil {
		return // the publisher waits no longer
	}
	w.got += int64(n.Messages)
	w.sums.delivered += n.Delivered
	w.sums.slow += n.Slow
	w.sums.acked += n.Acked
	if n.Matched {
		if w.sums.nodes == nil {
			w.sums.nodes = map[string]struct{}{}
		}
		w.sums.nodes[n.Node] = struct{}{}
	}
	w.checkLocked()
}

// reply takes the JSON of a node's answer; false: it is not readable.
func (a *waiters) reply(b []byte) bool {
	var r reply
	if json.Unmarshal(b, &r) != nil {
		return false // of another version; who asked says that it is incomplete
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.open[r.Request]; w != nil {
		w.got++
		w.heard = append(w.heard, r)
		w.checkLocked()
	}
	return true
}

// collected is the tally so far.
func (w *waiter) collected() tally {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	t := w.sums
	t.messages = w.got
	t.nodes = maps.Clone(t.nodes)
	return t
}

func (w *waiter) replies() []reply {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	return append([]reply(nil), w.heard...)
}
