package main

import (
	"fmt"
	"slices"
	"time"
)

// connect shows what a handshake costs, from accept to registered.
func connect(o options) error {
	const connections = 5_000
	var each []float64
	for range o.rounds {
		s, err := start(o, anonymous)
		if err != nil {
			return err
		}
		f, err := newFleet(nil)
		if err != nil {
			return err
		}
		before := s.cpu()
		err = f.dial(s.public, connections, noHeader)
		each = append(each, micros(s.cpu()-before)/connections)
		f.close()
		s.stop()
		if err != nil {
			return err
		}
	}
	fmt.Printf("connect: %.1f CPU-µs each (%d, median of %d)\n", median(each), connections, o.rounds)
	return nil
}

// ping shows what a ping and its pong cost.
func ping(o options) error {
	const connections = 15_000
	s, err := start(o, anonymous, "websocket: {ping_interval: 25s}")
	if err != nil {
		return err
	}
	defer s.stop()
	f, err := newFleet(nil)
	if err != nil {
		return err
	}
	defer f.close()
	if err := f.dial(s.public, connections, noHeader); err != nil {
		return err
	}
	var each []float64
	for range o.rounds {
		before, pings := s.cpu(), f.pings.Load()
		if err := wait(func() bool { return f.pings.Load()-pings >= 2*connections }); err != nil {
			return err
		}
		each = append(each, micros(s.cpu()-before)/float64(f.pings.Load()-pings))
	}
	fmt.Printf("ping: %.1f CPU-µs each, pong included (%d connections, median of %d)\n", median(each), connections, o.rounds)
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[min(len(v)-1, int(q*float64(len(v))))]
}
