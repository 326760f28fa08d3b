package pubsub

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
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

// Canary sends messages through Redis and back to this node, on the connections
// that publications and subscriptions use: it proves that what is published is
// delivered, which no PING does (SPEC §8).
type Canary struct {
	link       *link.Link
	publisher  *Publisher
	subscriber *Subscriber
	topic      string
	sent       atomic.Int64  // number of the last probe
	heard      atomic.Int64  // and of the last that came back
	now        chan struct{} // asks for a probe: this node listens again
}

// NewCanary returns one that listens on the last of the subscriber's topics, so
// that its return proves all of them.
func NewCanary(l *link.Link, p *Publisher, s *Subscriber) *Canary {
	c := &Canary{link: l, publisher: p, subscriber: s, topic: link.CanaryTopic(l.Node()), now: make(chan struct{}, 1)}
	s.Listen(c.topic, Listener{Channel: l.Keys().Channel(c.topic), Take: c.probed, Confirmed: c.nudge})
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
	var sent time.Time
	for {
		select {
		case <-c.link.Context().Done():
			return
		case <-t.C:
		case <-c.now:
		}
		back, up := c.heard.Load() == c.sent.Load(), c.link.Up()
		switch {
		case !back && up && time.Since(sent) < probeWait:
			continue
		case !back && up:
			c.link.Leave(errOverdue)
		case up && time.Since(sent) < probeEvery:
			continue
		case !up && c.subscriber.Listening(c.topic) == 0: // it could not come back
			continue
		}
		sent = time.Now()
		c.probe()
	}
}

// probe publishes the next probe. Redis says how many hear it: if it is nobody, the
// subscription is not at the server that this node publishes to.
func (c *Canary) probe() {
	ctx, cancel := context.WithTimeout(c.link.Context(), probeWait)
	defer cancel()
	session := c.subscriber.Listening(c.topic)
	falls := c.link.Health().Fallen()
	p := []broker.Publication{{Topic: c.topic, Payload: fmt.Appendf(nil, "%d %d", c.sent.Add(1), falls)}}
	c.publisher.Publish(ctx, p)
	if p[0].Err == nil && p[0].Nodes == 0 && session > 0 && session == c.subscriber.Listening(c.topic) {
		c.link.Leave(errApart)
	}
}

// probed is called when a probe comes back. One that was sent before Redis was last
// found to be away proves nothing.
func (c *Canary) probed(payload string) {
	var number, falls int64
	if _, err := fmt.Sscan(payload, &number, &falls); err != nil {
		return
	}
	if c.link.Health().Rise(falls) {
		c.heard.Store(number)
	}
}
