package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// fairness shows what a broadcast to 10,000 does to pushes to single users who
// are not among them. Those have a fleet of their own, so that what is measured is
// not the order in which the bench itself reads.
func fairness(o options) error {
	const crowd, quiet, perSecond = 10_000, 200, 500
	all, err := nodes(o)
	defer stopAll(all)
	if err != nil {
		return err
	}
	many, err := newFleet(nil)
	if err != nil {
		return err
	}
	defer many.close()
	var now atomic.Pointer[latencies]
	now.Store(&latencies{})
	few, err := newFleet(func(id int, p []byte) { now.Load().frame(id, p) })
	if err != nil {
		return err
	}
	defer few.close()
	for _, s := range all {
		err := few.dial(s.public, quiet/len(all), userHeader)
		if err = errors.Join(err, many.dial(s.public, crowd/len(all), func(id int) string {
			return bearer(fmt.Sprint("c", id), `"news"`)
		})); err != nil {
			return err
		}
	}
	for _, b := range []struct {
		how        string
		broadcasts int
		pace       time.Duration
	}{{"no broadcast", 0, 0}, {"a broadcast each 400ms", 20, 400 * time.Millisecond}, {"broadcasts flat out", 300, 0}} {
		now.Store(&latencies{})
		before, frames := few.frames.Load(), many.frames.Load()
		pushes := steadily(all, perSecond, func() string { return userTarget(rand.IntN(quiet)) })
		begin := time.Now()
		err := pacedPublish(all, b.broadcasts, b.pace)
		err = errors.Join(err, many.awaitFrames(frames, int64(b.broadcasts)*crowd))
		took := time.Since(begin)
		time.Sleep(max(0, 3*time.Second-took))
		sent, stopErr := pushes.stop()
		if err := errors.Join(err, stopErr, few.awaitFrames(before, sent)); err != nil {
			return err
		}
		fmt.Printf("fairness, %s to %d on %d node(s): %d pushes to one user each at %d/s, p50 %.2f ms p99 %.1f ms\n",
			b.how, crowd, len(all), sent, perSecond, now.Load().quantile(.5), now.Load().quantile(.99))
	}
	return nil
}
