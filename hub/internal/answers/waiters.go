package answers

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/pushcart/pushcart/hub/internal/envelope"
)

// Waiters are for what this node waits to hear from others.
type Waiters[R any] struct {
	mu   sync.Mutex // guards all below, and the fields of every waiter
	last uint64
	open map[uint64]*Waiter[R]
}

// Waiter collects what nodes say to one push or request.
type Waiter[R any] struct {
	// Number is what nodes name it by.
	Number uint64

	of    *Waiters[R]
	want  int64 // answers to come; -1: not known yet
	got   int64
	sums  tally
	heard []R
	done  chan struct{} // closed when got reached want
}

// tally is what the receipts of one push say together.
type tally struct {
	Nodes           map[string]struct{} // that had a connection of the targets
	Messages        int64               // that were reported on
	Delivered, Slow uint64
	Acked           uint64
}

// NewWaiters returns waiters for replies of type R.
func NewWaiters[R any]() *Waiters[R] { return &Waiters[R]{open: map[uint64]*Waiter[R]{}} }

// Begin makes a waiter; the caller must end it.
func (a *Waiters[R]) Begin() *Waiter[R] {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	w := &Waiter[R]{of: a, Number: a.last, want: -1, done: make(chan struct{})}
	a.open[w.Number] = w
	return w
}

// End forgets the waiter: what comes later is for nobody.
func (w *Waiter[R]) End() {
	w.of.mu.Lock()
	delete(w.of.open, w.Number)
	w.of.mu.Unlock()
}

// Expect says how many answers will come.
func (w *Waiter[R]) Expect(n int) {
	w.of.mu.Lock()
	w.want = int64(n)
	w.checkLocked()
	w.of.mu.Unlock()
}

func (w *Waiter[R]) checkLocked() {
	if w.want < 0 || w.got < w.want {
		return
	}
	select {
	case <-w.done:
	default:
		close(w.done)
	}
}

// Wait returns when all came, at the deadline, or when ctx ends; true: all came.
func (w *Waiter[R]) Wait(ctx context.Context, deadline time.Time) bool {
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

// Receipt takes what one node did with messages of a push.
func (a *Waiters[R]) Receipt(n envelope.Receipt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.open[n.Request]
	if w == nil {
		return // the publisher waits no longer
	}
	w.got += int64(n.Messages)
	w.sums.Delivered += n.Delivered
	w.sums.Slow += n.Slow
	w.sums.Acked += n.Acked
	if n.Matched {
		if w.sums.Nodes == nil {
			w.sums.Nodes = map[string]struct{}{}
		}
		w.sums.Nodes[n.Node] = struct{}{}
	}
	w.checkLocked()
}

// Reply takes one node's answer to a request.
func (a *Waiters[R]) Reply(request uint64, r R) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.open[request]; w != nil {
		w.got++
		w.heard = append(w.heard, r)
		w.checkLocked()
	}
}

// Collected is the tally so far.
func (w *Waiter[R]) Collected() tally {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	t := w.sums
	t.Messages = w.got
	t.Nodes = maps.Clone(t.Nodes)
	return t
}

// Replies are the answers so far.
func (w *Waiter[R]) Replies() []R {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	return append([]R(nil), w.heard...)
}
