package descriptors

import (
	"context"
	"math"
	"sync/atomic"
)

// Budget counts the descriptors that clients take: one for a connection of theirs,
// one more for each connection to the backend. A nil Budget has no bound.
type Budget struct {
	max     atomic.Int64 // in all
	enter   atomic.Int64 // up to which connections are let in; the rest is for their requests
	used    atomic.Int64
	waiting atomic.Int64
	freed   chan struct{} // wakes one that waits
}

// roomFor is the part of a budget that is kept for requests: an eighth, so that
// those of some clients are answered when idle ones have taken the rest.
const roomFor = 8

// NewBudget returns a budget of limit descriptors.
func NewBudget(limit int64) *Budget {
	b := &Budget{freed: make(chan struct{}, 1)}
	b.Resize(limit)
	return b
}

// Resize makes it a budget of limit. What is taken beyond that stays taken.
func (b *Budget) Resize(limit int64) {
	b.max.Store(limit)
	b.enter.Store(limit - max(2, limit/roomFor))
	b.Wake()
}

// Connections is how many connections are let in at most.
func (b *Budget) Connections() int64 {
	if b == nil {
		return math.MaxInt64
	}
	return b.enter.Load()
}

// Enter takes a descriptor for a connection that comes in; false: there is none.
func (b *Budget) Enter() bool { return b == nil || b.take(b.enter.Load()) }

// Take takes one for the work of a connection that is in; false: there is none.
func (b *Budget) Take() bool { return b == nil || b.take(b.max.Load()) }

func (b *Budget) take(limit int64) bool {
	if b.used.Add(1) > limit {
		b.Give()
		return false
	}
	return true
}

// Give returns one, after it was closed.
func (b *Budget) Give() {
	if b != nil {
		b.used.Add(-1)
		b.Wake()
	}
}

// Wake makes one that waits try again.
func (b *Budget) Wake() {
	if b != nil && b.waiting.Load() > 0 {
		select {
		case b.freed <- struct{}{}:
		default: // it was woken before
		}
	}
}

// Wait calls try now and after each Give and Wake, until it succeeds or ctx ends.
func (b *Budget) Wait(ctx context.Context, try func() bool) bool {
	if b == nil {
		return try()
	}
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	for !try() {
		select {
		case <-b.freed:
		case <-ctx.Done():
			return false
		}
	}
	b.Wake() // two may have been freed at once
	return true
}
