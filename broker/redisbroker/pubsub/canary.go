package pubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

const (
	probeEvery = 5 * time.Second
	probeWait  = 3 * time.Second
	// probeDown is how often it is tried while Redis is away.
	probeDown = 250 * time.Millisecond
)

var (
	errOverdue = errors.New("a probe did not come back")
	errApart   = errors.New("the subscription is at another server than what is published")
)

// Canary sends messages through each shard and back to this node, on the connections
// that publications and subscriptions use: it proves that what is published is
// delivered, which no PING does (SPEC §8).
type Canary struct {
	link       *link.Link
	publisher  *Publisher
	subscriber *Subscriber
	topics     [link.Partitions]string
	now        chan struct{} // asks for a probe: this node listens again

	mu     sync.Mutex // guards all below
	last   int64      // number of the last probe
	probes map[*link.Shard]*probe
}

// probe is the last one of a shard.
type probe struct {
	number int64
	sent   time.Time
	back   bool
}

// NewCanary returns one that listens on the last of the subscriber's topics, so
// that the return of a probe proves all of a shard's.
func NewCanary(l *link.Link, p *Publisher, s *Subscriber) *Canary {
	c := &Canary{link: l, publisher: p, subscriber: s, now: make(chan struct{}, 1), probes: map[*link.Shard]*probe{}}
	for i := range c.topics {
		c.topics[i] = link.CanaryTopic(i, l.Node())
		s.Listen(c.topics[i], Listener{Channel: l.Keys().Channel(c.topics[i]), Take: c.probed, Confirmed: c.nudge})
	}
	return c
}

func (c *Canary) nudge() {
	select {
	case c.now <- struct{}{}:
	default:
	}
}

// Start begins to send probes.
func (c *Canary) Start() { c.link.Run("probes of Redis", c.watch) }

// watch sends the probes and judges their return.
func (c *Canary) watch() {
	t := time.NewTicker(probeDown)
	defer t.Stop()
	for {
		select {
		case <-c.link.Context().Done():
			return
		case <-t.C:
		case <-c.now:
		}
		top, err := c.link.Topology(c.link.Context())
		if err != nil {
			continue // the subscriber says so
		}
		c.forget(top)
		var due []*link.Shard
		for _, s := range top.Shards {
			if c.due(s, top.Home(s)) {
				due = append(due, s)
			}
		}
		if len(due) > 0 {
			c.probe(top, due)
		}
	}
}

// forget lets go of what is known of shards that serve nothing any more.
func (c *Canary) forget(t *link.Topology) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.probes {
		if !t.Serves(s) {
			delete(c.probes, s)
		}
	}
}

// due says whether a shard is to be probed, through this partition of it, and gives up one
// whose probe did not come back. One that left a command unanswered is probed at once: where
// a network forgot the connections, the subscription is silent too.
func (c *Canary) due(s *link.Shard, partition int) bool {
	c.mu.Lock()
	last := c.probes[s]
	back, since := true, probeEvery
	if last != nil {
		back, since = last.back, time.Since(last.sent)
	}
	c.mu.Unlock()
	switch up := s.Up(); {
	case !back && up && since < probeWait:
		return false
	case !back && up:
		s.Leave(errOverdue)
	case up && since < probeEvery && !s.Doubted():
		return false
	case !up && (c.subscriber.Listening(c.topics[partition]) == 0 || s.Away()): // it could not come back
		return false
	}
	return true
}

// probe publishes the next probes. Redis says how many hear one: if it is nobody, the
// subscription is not at the server that this node publishes to.
func (c *Canary) probe(t *link.Topology, shards []*link.Shard) {
	ctx, cancel := context.WithTimeout(c.link.Context(), probeWait)
	defer cancel()
	batch, sessions := make([]broker.Publication, len(shards)), make([]int, len(shards))
	c.mu.Lock()
	for i, s := range shards {
		topic := c.topics[t.Home(s)]
		c.last++
		c.probes[s] = &probe{number: c.last, sent: time.Now()}
		sessions[i] = c.subscriber.Listening(topic)
		batch[i] = broker.Publication{Topic: topic, Payload: fmt.Appendf(nil, "%d %d", c.last, s.Fallen())}
	}
	c.mu.Unlock()
	c.publisher.Publish(ctx, batch)
	for i, s := range shards {
		p := &batch[i]
		if p.Err == nil && p.Nodes == 0 && sessions[i] > 0 && sessions[i] == c.subscriber.Listening(p.Topic) {
			s.Leave(errApart)
		}
	}
}

// probed is called when a probe comes back. One that was sent before its shard was last
// found to be away proves nothing.
func (c *Canary) probed(payload string) {
	var number, falls int64
	if _, err := fmt.Sscan(payload, &number, &falls); err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for s, p := range c.probes {
		if p.number == number {
			p.back = s.Rise(falls) || p.back
		}
	}
}
