package broker

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// The canary is a message through Redis and back to this node, on the connections
// that publications and subscriptions use: it proves that what is published is
// delivered, which no PING does (SPEC §8). A write goes before it: a replica takes a
// PUBLISH too, and delivers it to few.
const (
	probeEvery = 5 * time.Second
	probeWait  = 3 * time.Second
	// probeDown is how often it is tried while Redis is away.
	probeDown = 250 * time.Millisecond
	// proofKept is how long the key lives that is written to prove that it can be.
	proofKept = time.Minute
)

var (
	errStarting = errors.New("not connected yet")
	errOverdue  = errors.New("a probe did not come back")
	errApart    = errors.New("the subscription is at another server than what is published")
)

// watch sends the probes and judges their return.
func (b *Redis) watch() {
	t := time.NewTicker(probeDown)
	defer t.Stop()
	var sent time.Time
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-t.C:
		case <-b.probeNow:
		}
		back := b.heard.Load() == b.probes.Load()
		switch {
		case !back && time.Since(sent) < probeWait && b.Up():
			continue
		case !back && b.Up():
			b.setDown(errOverdue)
			b.subscriber.interrupt()
		case back && b.Up() && time.Since(sent) < probeEvery:
			continue
		}
		sent = time.Now()
		b.probe()
	}
}

// probe publishes the next probe. Redis says how many hear it: if it is nobody, the
// subscription is not at the server that this node publishes to.
func (b *Redis) probe() {
	ctx, cancel := context.WithTimeout(b.ctx, probeWait)
	defer cancel()
	session := b.subscriber.listening(b.canary)
	p := []Publication{{Topic: b.canary, Payload: strconv.AppendInt(nil, b.probes.Add(1), 10)}}
	b.publish(ctx, p)
	if p[0].Err == nil && p[0].Nodes == 0 && session > 0 && session == b.subscriber.listening(b.canary) {
		b.setDown(errApart)
		b.subscriber.interrupt()
	}
}

// probed is called when a probe comes back.
func (b *Redis) probed(payload string) {
	n, err := strconv.ParseInt(payload, 10, 64)
	if err != nil {
		return
	}
	b.health.mu.Lock()
	void := n <= b.health.void
	b.health.mu.Unlock()
	if void {
		return
	}
	b.heard.Store(n)
	b.setUp()
}

// prove adds a write to what goes to Redis.
func (b *Redis) prove(ctx context.Context, to redis.Cmdable) *redis.StatusCmd {
	return to.Set(ctx, b.keys+"probe:"+b.node, "", proofKept)
}
