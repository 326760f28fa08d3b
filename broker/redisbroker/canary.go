package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/broker"
)

const (
	probeEvery = 5 * time.Second
	probeWait  = 3 * time.Second
	// probeDown is how often it is tried while Redis is away.
	probeDown = 250 * time.Millisecond
)

var (
	errStarting = errors.New("not connected yet")
	errOverdue  = errors.New("a probe did not come back")
	errApart    = errors.New("the subscription is at another server than what is published")
)

// canary sends messages through Redis and back to this node, on the connections
// that publications and subscriptions use: it proves that what is published is
// delivered, which no PING does (SPEC §8).
type canary struct {
	link       *link
	publisher  *publisher
	subscriber *subscriber
	topic      string
	sent       atomic.Int64  // number of the last probe
	heard      atomic.Int64  // and of the last that came back
	now        chan struct{} // asks for a probe: this node listens again
}

// newCanary returns one that listens on the last of the subscriber's topics, so
// that its return proves all of them.
func newCanary(l *link, p *publisher, s *subscriber) *canary {
	c := &canary{link: l, publisher: p, subscriber: s, topic: canaryTopic(l.node), now: make(chan struct{}, 1)}
	s.listen(c.topic, listener{channel: l.keys.channel(c.topic), take: c.probed, confirmed: c.nudge})
	return c
}

func (c *canary) nudge() {
	select {
	case c.now <- struct{}{}:
	default:
	}
}

// watch sends the probes and judges their return.
func (c *canary) watch() {
	t := time.NewTicker(probeDown)
	defer t.Stop()
	var sent time.Time
	for {
		select {
		case <-c.link.ctx.Done():
			return
		case <-t.C:
		case <-c.now:
		}
		back, up := c.heard.Load() == c.sent.Load(), c.link.health.isUp()
		switch {
		case !back && up && time.Since(sent) < probeWait:
			continue
		case !back && up:
			c.link.leave(errOverdue)
		case up && time.Since(sent) < probeEvery:
			continue
		case !up && c.subscriber.table.listening(c.topic) == 0: // it could not come back
			continue
		}
		sent = time.Now()
		c.probe()
	}
}

// probe publishes the next probe. Redis says how many hear it: if it is nobody, the
// subscription is not at the server that this node publishes to.
func (c *canary) probe() {
	ctx, cancel := context.WithTimeout(c.link.ctx, probeWait)
	defer cancel()
	session := c.subscriber.table.listening(c.topic)
	falls := c.link.health.fallen()
	p := []broker.Publication{{Topic: c.topic, Payload: fmt.Appendf(nil, "%d %d", c.sent.Add(1), falls)}}
	c.publisher.publish(ctx, p)
	if p[0].Err == nil && p[0].Nodes == 0 && session > 0 && session == c.subscriber.table.listening(c.topic) {
		c.link.leave(errApart)
	}
}

// probed is called when a probe comes back. One that was sent before Redis was last
// found to be away proves nothing.
func (c *canary) probed(payload string) {
	var number, falls int64
	if _, err := fmt.Sscan(payload, &number, &falls); err != nil {
		return
	}
	if c.link.health.rise(falls) {
		c.heard.Store(number)
	}
}
