package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// The canary is a message through Redis and back to this node: it proves that
// what is published is delivered, which no PING does (SPEC §8).
const (
	probeEvery = 5 * time.Second
	probeWait  = 3 * time.Second
	// probeDown is how often it is tried while Redis is away.
	probeDown = 250 * time.Millisecond
)

var errOverdue = errors.New("a probe did not come back")

// watch sends the probes and judges their return.
func (b *Redis) watch() {
	t := time.NewTicker(probeDown)
	defer t.Stop()
	var number int64
	var sent time.Time
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-t.C:
		case <-b.probeNow:
		}
		back := b.heard.Load() == number
		switch {
		case !back && time.Since(sent) < probeWait && b.Up():
			continue
		case !back && b.Up():
			b.setUp(false, errOverdue)
			b.subscriber.interrupt()
		case back && b.Up() && time.Since(sent) < probeEvery:
			continue
		}
		number, sent = number+1, time.Now()
		ctx, cancel := context.WithTimeout(b.ctx, probeWait)
		b.publish(ctx, []Publication{{Topic: b.canary, Payload: strconv.AppendInt(nil, number, 10)}})
		cancel()
	}
}

// probed is called when a probe comes back.
func (b *Redis) probed(payload string) {
	n, err := strconv.ParseInt(payload, 10, 64)
	if err != nil {
		return
	}
	b.heard.Store(n)
	b.setUp(true, nil)
}

// setUp logs changes only.
func (b *Redis) setUp(up bool, why error) {
	if up {
		b.metrics.RedisUp.Set(1)
	} else {
		b.metrics.RedisUp.Set(0)
	}
	was := b.up.Swap(up)
	switch {
	case up && !was:
		b.log.Info("redis is up")
	case !up && was, !up && b.firstFailure():
		b.log.Warn("redis is away; it is tried again", "err", fmt.Sprint(why))
	}
}
