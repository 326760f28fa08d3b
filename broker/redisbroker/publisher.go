package redisbroker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pushcart/pushcart/broker"
)

const (
	// publishTimeout is when a publish is given up: below the 3 s that a push may
	// take while Redis hangs.
	publishTimeout = 2500 * time.Millisecond
	// pipelineAtOnce bounds the commands of one round trip.
	pipelineAtOnce = 256
)

// publisher is the queue between callers and the one goroutine that talks to
// Redis. Joining what many callers publish at once into one round trip costs a
// sixth of a round trip each, and keeps every topic's order.
type publisher struct {
	link *link
	line line // of the loop only

	mu     sync.Mutex // guards all below
	queue  []*entry
	closed bool
	wake   chan struct{}

	proven time.Time // when a write was taken; of the loop only
}

// entry is one publication on its way. Its caller may have given up.
type entry struct {
	broker.Publication
	call *call
}

// call is one Publish that waits for its entries.
type call struct {
	mu      sync.Mutex // guards all below
	left    int
	givenUp bool
	done    chan struct{}
}

func newPublisher(l *link) *publisher {
	return &publisher{link: l, line: line{link: l, scripts: []string{onceSource, keepSource}}, wake: make(chan struct{}, 1)}
}

func (p *publisher) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

func (p *publisher) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
}

// add queues entries, all or none.
func (p *publisher) add(entries []*entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return broker.ErrClosed
	case len(p.queue)+len(entries) > MaxPending:
		return fmt.Errorf("%w: too many publications wait", broker.ErrUnavailable)
	}
	p.queue = append(p.queue, entries...)
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}

// take moves entries of callers that still wait to buf.
func (p *publisher) take(buf []*entry) []*entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.queue) && len(buf) < pipelineAtOnce {
		if e := p.queue[n]; e.call.waits() {
			buf = append(buf, e)
		}
		n++
	}
	rest := copy(p.queue, p.queue[n:])
	clear(p.queue[rest:])
	p.queue = p.queue[:rest]
	if rest > 0 {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	return buf
}

func (c *call) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.givenUp
}

func (c *call) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// giveUp says whether it came before the last entry was settled.
func (c *call) giveUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.givenUp = true
	return c.left > 0
}

// publish is Broker.Publish, also while Redis is believed to be away.
func (p *publisher) publish(ctx context.Context, batch []broker.Publication) {
	fail(batch, nil) // of an earlier try
	c := &call{left: len(batch), done: make(chan struct{})}
	entries := make([]*entry, len(batch))
	for i := range batch {
		entries[i] = &entry{Publication: batch[i], call: c}
	}
	if err := p.add(entries); err != nil {
		fail(batch, err)
		return
	}
	t := time.NewTimer(publishTimeout)
	defer t.Stop()
	select {
	case <-c.done:
	case <-t.C:
	case <-ctx.Done():
	}
	if c.giveUp() { // entries may still be written to: they are not ours any more
		fail(batch, fmt.Errorf("%w: no confirmation in time", broker.ErrUnavailable))
		return
	}
	for i, e := range entries {
		batch[i].Nodes, batch[i].Duplicate, batch[i].Position, batch[i].Err = e.Nodes, e.Duplicate, e.Position, e.Err
	}
}

func fail(batch []broker.Publication, err error) {
	for i := range batch {
		batch[i].Nodes, batch[i].Duplicate, batch[i].Position, batch[i].Err = 0, false, broker.Position{}, err
	}
}
