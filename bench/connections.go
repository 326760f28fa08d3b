package main

import (
	"fmt"
	"slices"
	"time"
)

const anonymous = "auth: {anonymous: true}"

func noHeader(int) string { return "" }

// idle shows what one idle connection costs: the RSS difference between 5,000
// and 15,000 of them, after some pings.
func idle(o options) error {
	const low, high = 5_000, 15_000
	var each []float64
	for range o.rounds {
		per, err := idleOnce(o, low, high)
		if err != nil {
			return err
		}
		each = append(each, per)
	}
	fmt.Printf("idle connection: %.0f B of RSS each (%d to %d, median of %d)\n", median(each), low, high, o.rounds)
	return nil
}

func idleOnce(o options, low, high int) (float64, error) {
	s, err := start(o, anonymous, "websocket: {ping_interval: 2s, pong_timeout: 1s}")
	if err != nil {
		return 0, err
	}
	defer s.stop()
	f, err := newFleet(nil)
	if err != nil {
		return 0, err
	}
	defer f.close()
	if err := f.dial(s.public, low, noHeader); err != nil {
		return 0, err
	}
	first, err := settledRSS(s, f, low)
	if err != nil {
		return 0, err
	}
	if err := f.dial(s.public, high-low, noHeader); err != nil {
		return 0, err
	}
	second, err := settledRSS(s, f, high)
	return float64(second-first) / float64(high-low), err
}

// settledRSS waits for two pings of every connection.
func settledRSS(s *server, f *fleet, connections int) (int64, error) {
	begin := f.pings.Load()
	if err := wait(func() bool { return f.pings.Load()-begin > int64(2*connections) }); err != nil {
		return 0, fmt.Errorf("pings: %w", err)
	}
	return s.rss(), nil
}

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
