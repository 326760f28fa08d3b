package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// storm shows what many connects at once do to those that are connected: 10,000
// within two seconds, while 1,000 users get 1,000 pushes a second. Afterwards each
// newcomer gets a push of its own.
func storm(o options) error {
	const established, newcomers, perSecond = 1_000, 10_000, 1_000
	all, err := nodes(o)
	defer stopAll(all)
	if err != nil {
		return err
	}
	calm, during := &latencies{}, &latencies{}
	var now atomic.Pointer[latencies]
	now.Store(calm)
	f, err := newFleet(func(id int, p []byte) { now.Load().frame(id, p) })
	if err != nil {
		return err
	}
	defer f.close()
	for _, s := range all {
		if err := f.dial(s.public, established/len(all), userHeader); err != nil {
			return err
		}
	}
	pushes := steadily(all, perSecond, func() string { return userTarget(rand.IntN(established)) })
	time.Sleep(2 * time.Second)
	now.Store(during)
	arrived, err := newNewcomers(established, newcomers)
	if err != nil {
		return err
	}
	defer arrived.fleet.close()
	before, begin := cpuOf(all), time.Now()
	dialErr := arrived.dial(all, 2*time.Second)
	took, cpu := time.Since(begin), micros(cpuOf(all)-before)
	sent, err := pushes.stop()
	if err := errors.Join(err, dialErr, f.awaitFrames(0, sent), arrived.pushEach(all)); err != nil {
		return err
	}
	fmt.Printf("storm: %d connects in %.1f s, none lost, each then got its push; pushes to %d others at %d/s: p99 %.1f ms, before the storm %.1f ms; %.0f CPU-µs of %d node(s) per connect, pushes included\n",
		newcomers, took.Seconds(), established, perSecond, during.quantile(.99), calm.quantile(.99), cpu/newcomers, len(all))
	return nil
}

func userHeader(id int) string { return bearer(fmt.Sprint("u", id), "") }

func userTarget(id int) string { return fmt.Sprintf(`{"users":["u%d"]}`, id) }

// newcomers are the users of a storm; their tokens are made before it.
type newcomers struct {
	first   int
	headers []string
	fleet   *fleet
	got     []atomic.Int32
}

func newNewcomers(first, n int) (*newcomers, error) {
	w := &newcomers{first: first, headers: make([]string, n), got: make([]atomic.Int32, n)}
	for i := range w.headers {
		w.headers[i] = userHeader(first + i)
	}
	var err error
	w.fleet, err = newFleet(func(id int, _ []byte) { w.got[id].Add(1) })
	return w, err
}

// dial begins the connects evenly over a time, however long each takes.
func (w *newcomers) dial(all []*server, over time.Duration) error {
	var next atomic.Int64
	perSecond := int(float64(len(w.headers)) / over.Seconds())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	return paced(ctx, perSecond, 512, func(int, time.Time) error {
		i := int(next.Add(1)) - 1
		if i >= len(w.headers)-1 {
			cancel()
		}
		if i >= len(w.headers) {
			return nil
		}
		return w.fleet.open(all[i%len(all)].public, i, w.headers[i])
	})
}

// pushEach pushes once to each newcomer and waits for all to arrive.
func (w *newcomers) pushEach(all []*server) error {
	var next atomic.Int64
	if err := publish(all, len(w.headers), func() []byte {
		return body(userTarget(w.first + int(next.Add(1)) - 1))
	}); err != nil {
		return err
	}
	if err := w.fleet.awaitFrames(0, int64(len(w.headers))); err != nil {
		return err
	}
	for i := range w.got {
		if n := w.got[i].Load(); n != 1 {
			return fmt.Errorf("newcomer %d got %d frames, want 1", i, n)
		}
	}
	return nil
}
