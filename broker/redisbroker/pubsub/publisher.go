package pubsub

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/broker/redisbroker/streams"
)

// Publisher is the queue between callers and the one goroutine that talks to
// Redis. Joining what many callers publish at once into one round trip costs a
// sixth of a round trip each, and keeps every topic's order.
type Publisher struct {
	link *link.Link

	// Of the loop only.
	line *link.Line
	held held

	mu     sync.Mutex // guards all below
	queue  []*entry
	closed bool
	wake   chan struct{}
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

// NewPublisher returns one that publishes from Start on.
func NewPublisher(l *link.Link) *Publisher {
	return &Publisher{link: l, line: l.ProvingLine(onceSource, streams.KeepSource), wake: make(chan struct{}, 1)}
}

// Start begins to publish.
func (p *Publisher) Start() { p.link.Run("publishing to Redis", p.run) }

// Waiting is how many publications wait for Redis.
func (p *Publisher) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue) + int(p.held.size.Load())
}

// Close has what comes fail with ErrClosed. What waits fails when the link ends.
func (p *Publisher) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
}

// add queues entries, all or none.
func (p *Publisher) add(entries []*entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return broker.ErrClosed
	case len(p.queue)+int(p.held.size.Load())+len(entries) > link.MaxPending:
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
func (p *Publisher) take(buf []*entry) []*entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.queue) && len(buf) < link.PipelineAtOnce {
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

// Publish is broker.Broker's Publish, also while Redis is believed to be away.
func (p *Publisher) Publish(ctx context.Context, batch []broker.Publication) {
	Fail(batch, nil) // of an earlier try
	c := &call{left: len(batch), done: make(chan struct{})}
	entries := make([]*entry, len(batch))
	for i := range batch {
		entries[i] = &entry{Publication: batch[i], call: c}
	}
	if err := p.add(entries); err != nil {
		Fail(batch, err)
		return
	}
	t := time.NewTimer(link.AnswerTimeout)
	defer t.Stop()
	select {
	case <-c.done:
	case <-t.C:
	case <-ctx.Done():
	}
	if c.giveUp() { // entries may still be written to: they are not ours any more
		Fail(batch, fmt.Errorf("%w: no confirmation in time", broker.ErrUnavailable))
		return
	}
	for i, e := range entries {
		batch[i].Nodes, batch[i].Duplicate, batch[i].Position, batch[i].Err = e.Nodes, e.Duplicate, e.Position, e.Err
	}
}

// Fail has none of a batch published, for a reason.
func Fail(batch []broker.Publication, err error) {
	for i := range batch {
		batch[i].Nodes, batch[i].Duplicate, batch[i].Position, batch[i].Err = 0, false, broker.Position{}, err
	}
}
