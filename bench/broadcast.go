package main

import (
	"fmt"
	"time"
)

// broadcasts shows what a delivery costs when one push goes to many.
func broadcasts(o options) error {
	for _, b := range []struct {
		subscribers, pushes int
		pace                time.Duration
	}{{1_000, 2_000, 0}, {1_000, 500, 20 * time.Millisecond}, {10_000, 150, 0}, {10_000, 50, 400 * time.Millisecond}} {
		if err := broadcast(o, b.subscribers, b.pushes, b.pace); err != nil {
			return err
		}
	}
	return nil
}

// broadcast pushes to one channel, flat out from 16 connections or one at a time
// at a pace.
func broadcast(o options, subscribers, n int, pace time.Duration) error {
	all, err := nodes(o)
	defer stopAll(all)
	if err != nil {
		return err
	}
	late := &latencies{}
	f, err := newFleet(late.frame)
	if err != nil {
		return err
	}
	defer f.close()
	for _, s := range all {
		if err := f.dial(s.public, subscribers/len(all), func(id int) string {
			return bearer(fmt.Sprint("u", id), `"news"`)
		}); err != nil {
			return err
		}
	}
	var cpu []float64
	for range o.rounds {
		before, frames := cpuOf(all), f.frames.Load()
		if err := pacedPublish(all, n, pace); err != nil {
			return err
		}
		want := int64(n) * int64(subscribers)
		if err := f.awaitFrames(frames, want); err != nil {
			return err
		}
		cpu = append(cpu, micros(cpuOf(all)-before)/float64(want))
	}
	how := "flat out"
	if pace > 0 {
		how = "one each " + pace.String()
	}
	fmt.Printf("broadcast to %d, %s, %d node(s): %.2f CPU-µs per delivery, %.2f frames per write, p50 %.1f ms p99 %.1f ms (median of %d)\n",
		subscribers, how, len(all), median(cpu), framesPerWrite(all), late.quantile(.5), late.quantile(.99), o.rounds)
	return nil
}

func pacedPublish(all []*server, n int, pace time.Duration) error {
	to := func() []byte { return body(`{"channels":["news"]}`) }
	if pace == 0 {
		return publish(all, n, to)
	}
	p := newPoster(all[0].push)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for range n {
		if err := p.post(to()); err != nil {
			return err
		}
		<-tick.C
	}
	return nil
}

// framesPerWrite reads the servers' own counters.
func framesPerWrite(all []*server) float64 {
	var frames, writes float64
	for _, s := range all {
		m := s.metrics()
		frames += m["pushcart_deliveries_total"]
		writes += m["pushcart_socket_writes_total"]
	}
	return frames / max(1, writes)
}
