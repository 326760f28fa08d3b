package pubsub

import (
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

// heldFor is how long publications wait that could not be executed yet.
const heldFor = 20 * time.Millisecond

// held are publications of partitions that move to another server of a Cluster just now:
// if one needs several keys and only some have moved, neither server executes it. They
// wait until all are, or their callers give up, and those that come later to the partition
// wait behind them. Others need not.
type held struct {
	entries    []*entry
	partitions uint64 // theirs, as bits
	until      time.Time
	size       atomic.Int64 // of entries
}

// again is when they are to be tried; nil: there are none.
func (h *held) again() <-chan time.Time {
	if len(h.entries) == 0 {
		return nil
	}
	return time.After(time.Until(h.until))
}

// put has an entry wait.
func (h *held) put(e *entry) {
	h.entries = append(h.entries, e)
	h.partitions |= 1 << link.TopicPartition(e.Topic)
	h.size.Add(1)
}

// pass is given what came meanwhile, and returns what is to be sent now, in its order.
func (h *held) pass(come []*entry) []*entry {
	if len(h.entries) == 0 {
		return come
	}
	if time.Now().Before(h.until) {
		free := come[:0]
		for _, e := range come {
			if h.partitions>>link.TopicPartition(e.Topic)&1 == 1 {
				h.put(e)
			} else {
				free = append(free, e)
			}
		}
		return free
	}
	var due []*entry
	for _, e := range append(h.all(), come...) {
		if e.call.waits() {
			due = append(due, e)
		}
	}
	h.until = time.Now().Add(heldFor)
	return due
}

// all takes them.
func (h *held) all() []*entry {
	entries := h.entries
	h.entries, h.partitions = nil, 0
	h.size.Store(0)
	return entries
}
