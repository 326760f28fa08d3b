package memory

import (
	"container/list"
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// letters are the dead letters of a single node: they end with it.
type letters struct {
	mu     sync.Mutex // guards all below
	limits broker.OutboxLimits
	order  list.List // of *letter, the oldest first
	byID   map[string]*list.Element
	last   uint64
}

// letter is one with its number, which is the cursor of pages.
type letter struct {
	number uint64
	broker.DeadLetter
}

// LimitOutbox implements Outbox. What waits is bounded by who tells it.
func (b *Broker) LimitOutbox(l broker.OutboxLimits) {
	b.letters.mu.Lock()
	defer b.letters.mu.Unlock()
	b.letters.limits = l
	b.letters.boundLocked()
}

// Settle implements Outbox: nothing is kept.
func (b *Broker) Settle(string) {}

// Bury implements Outbox.
func (b *Broker) Bury(l broker.DeadLetter) {
	all := &b.letters
	all.mu.Lock()
	defer all.mu.Unlock()
	all.removeLocked(l.ID)
	if all.byID == nil {
		all.byID = map[string]*list.Element{}
	}
	all.last++
	all.byID[l.ID] = all.order.PushBack(&letter{all.last, l})
	all.boundLocked()
}

func (all *letters) removeLocked(id string) bool {
	e := all.byID[id]
	if e == nil {
		return false
	}
	all.order.Remove(e)
	delete(all.byID, id)
	return true
}

// boundLocked forgets the oldest past the limits.
func (all *letters) boundLocked() {
	ended := time.Now().Add(-all.limits.Age).UnixMilli()
	for e := all.order.Front(); e != nil; e = all.order.Front() {
		l := e.Value.(*letter)
		if all.order.Len() <= all.limits.DeadLetters && l.At > ended {
			return
		}
		all.removeLocked(l.ID)
	}
}

// DeadLetters implements Outbox.
func (b *Broker) DeadLetters(_ context.Context, cursor string, limit int) (page []broker.DeadLetter, next string, err error) {
	all := &b.letters
	all.mu.Lock()
	defer all.mu.Unlock()
	all.boundLocked()
	after, _ := strconv.ParseUint(cursor, 10, 64) // of another kind: from the beginning
	for e := all.order.Front(); e != nil; e = e.Next() {
		l := e.Value.(*letter)
		if l.number <= after {
			continue
		}
		if len(page) == limit {
			return page, next, nil
		}
		page, next = append(page, l.DeadLetter), strconv.FormatUint(l.number, 10)
	}
	return page, "", nil
}

// DeadLetter implements Outbox.
func (b *Broker) DeadLetter(_ context.Context, id string) (broker.DeadLetter, bool, error) {
	all := &b.letters
	all.mu.Lock()
	defer all.mu.Unlock()
	all.boundLocked()
	e := all.byID[id]
	if e == nil {
		return broker.DeadLetter{}, false, nil
	}
	return e.Value.(*letter).DeadLetter, true, nil
}

// Drop implements Outbox.
func (b *Broker) Drop(_ context.Context, id string) (bool, error) {
	all := &b.letters
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.removeLocked(id), nil
}

// OutboxSize implements Outbox.
func (b *Broker) OutboxSize() (waiting, dead int) {
	all := &b.letters
	all.mu.Lock()
	defer all.mu.Unlock()
	all.boundLocked()
	return 0, all.order.Len()
}
