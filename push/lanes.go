package push

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	unicastLanes   = 64
	broadcastLanes = 16
	// maxWaiting bounds the messages that wait for their fan-out, over all lanes.
	maxWaiting = 1 << 16
	// batchAtOnce bounds how many messages of one topic are joined, so that a busy
	// topic does not keep its lane from the others.
	batchAtOnce = 64
)

// task is a message on its way to this node's connections of a topic.
type task struct {
	topic   string
	payload []byte
}

// lanes are queues between the broker, which must never wait, and the delivery:
// one topic is always in the same lane, so its order holds. Destinations with
// few connections and those with many have lanes apart, as a broadcast takes
// long. A lane has a goroutine only while it has work.
type lanes struct {
	hub       *Hub
	seed      maphash.Seed
	unicast   [unicastLanes]lane
	broadcast [broadcastLanes]lane
	waiting   atomic.Int64
	lastLog   atomic.Int64 // Unix seconds of the last report of a drop
}

type lane struct {
	mu      sync.Mutex // guards all below
	queue   []task
	spare   []task // the slice that the last run emptied
	running bool
}

func newLanes(h *Hub) *lanes { return &lanes{hub: h, seed: maphash.MakeSeed()} }

func (l *lanes) of(topic string) *lane {
	n := maphash.String(l.seed, topic)
	switch kind, _ := splitTopic(topic); kind {
	case topicAll, channelTopic:
		return &l.broadcast[n%broadcastLanes]
	}
	return &l.unicast[n%unicastLanes]
}

// push queues a task and never waits; past the bound the task is dropped and
// counted.
func (l *lanes) push(t task) {
	if l.waiting.Add(1) > maxWaiting {
		l.waiting.Add(-1)
		l.dropped()
		return
	}
	ln := l.of(t.topic)
	ln.mu.Lock()
	if ln.queue == nil {
		ln.queue, ln.spare = ln.spare, nil
	}
	ln.queue = append(ln.queue, t)
	begin := !ln.running
	ln.running = true
	ln.mu.Unlock()
	if begin {
		l.hub.work.Go(func() { l.run(ln) })
	}
}

func (l *lanes) dropped() {
	l.hub.metrics.FanoutDropped.Inc()
	now := time.Now().Unix()
	if last := l.lastLog.Load(); now > last && l.lastLog.CompareAndSwap(last, now) {
		l.hub.log.Error("messages dropped: fan-out cannot keep up", "waiting", maxWaiting)
	}
}

// run works until the lane is empty.
func (l *lanes) run(ln *lane) {
	d := deliveries.Get().(*delivery)
	defer deliveries.Put(d)
	for {
		ln.mu.Lock()
		work := ln.queue
		if len(work) == 0 {
			ln.running = false
			ln.mu.Unlock()
			return
		}
		ln.queue = nil
		ln.mu.Unlock()
		for rest := work; len(rest) > 0; {
			n := sameTopic(rest)
			l.hub.deliver(d, rest[:n])
			l.waiting.Add(-int64(n))
			rest = rest[n:]
		}
		clear(work)
		ln.mu.Lock()
		if cap(work) <= 4096 {
			ln.spare = work[:0]
		}
		ln.mu.Unlock()
	}
}

// sameTopic counts the tasks at the start of work that can be delivered together.
func sameTopic(work []task) int {
	n := 1
	for n < len(work) && n < batchAtOnce && work[n].topic == work[0].topic {
		n++
	}
	return n
}
