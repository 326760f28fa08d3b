package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// slowRun is one broadcast with its bounds.
type slowRun struct {
	name     string
	messages int
	readers  int
	sleepers int    // those that stop reading
	outbox   string // of the configuration
	total    int64  // its total
}

const slowPace = 20 * time.Millisecond

// slow shows what clients that stop reading do to the node's memory and to those
// that read: 10,000 messages to 2,000 of whom 1,000 sleep, beside the same without
// sleepers. The messages, 200 bytes each, are paced so that the machine keeps up.
func slow(o options) error {
	reading, err := slowOnce(o, slowRun{name: "none sleeps", messages: 2_500, readers: 2_000, total: 512 << 20})
	if err != nil {
		return err
	}
	for _, r := range []slowRun{
		{"default outbox", 10_000, 1_000, 1_000, "", 512 << 20},
		{"outbox.total 16MiB", 10_000, 1_000, 1_000, "outbox: {messages: 100000, bytes: 1MiB, total: 16MiB}", 16 << 20},
	} {
		p99, err := slowOnce(o, r)
		if err != nil {
			return err
		}
		fmt.Printf("slow, %s: the readers' p99 is %.2f times that without sleepers\n", r.name, p99/reading)
	}
	return nil
}

func slowOnce(o options, r slowRun) (p99 float64, err error) {
	b, err := newBackend()
	if err != nil {
		return 0, err
	}
	defer b.close()
	s, err := start(o, "auth: {jwt: {secret: "+secret+"}}", b.config("disconnected"), "websocket: {ping_interval: 1h, "+r.outbox+"}") // else the missing pong would end sleepers first
	if err != nil {
		return 0, err
	}
	defer s.stop()
	early, late := &latencies{}, &latencies{} // while sleepers are there, and after
	var phase atomic.Pointer[latencies]
	phase.Store(early)
	var read atomic.Int64
	var codes [2]atomic.Int64 // sleepers that woke to a Close with 4000, or to another end
	f, err := newFleet(func(id int, p []byte) {
		if id >= r.readers {
			return
		}
		read.Add(1)
		if id%10 == 0 { // enough to tell
			phase.Load().frame(id, p)
		}
	})
	if err != nil {
		return 0, err
	}
	defer f.close()
	f.onEnd = func(_, code int) {
		if code == 4000 {
			codes[0].Add(1)
		} else {
			codes[1].Add(1)
		}
	}
	// A sleeper wakes when the app hears of its end, and must then find the Close
	// frame behind what it had left unread.
	b.onEvent = func(e event) {
		if id, err := strconv.Atoi(strings.TrimPrefix(e.user, "u")); err == nil {
			f.resume(id)
		}
		if b.count("disconnected", "slow") == r.sleepers {
			phase.Store(late)
		}
	}
	if err := f.dial(s.public, r.readers+r.sleepers, func(id int) string {
		return bearer(fmt.Sprint("u", id), `"news"`)
	}); err != nil {
		return 0, err
	}
	for id := r.readers; id < r.readers+r.sleepers; id++ {
		f.pause(id)
	}
	w := s.watchMemory()
	err = pacedPublish([]*server{s}, r.messages, slowPace)
	err = errors.Join(err, wait(func() bool { return read.Load() == int64(r.readers)*int64(r.messages) }),
		wait(func() bool { return codes[0].Load()+codes[1].Load() == int64(r.sleepers) }))
	w.stop()
	r.report(s, b, w, early, late, codes[0].Load())
	closed := int64(b.count("disconnected", "slow"))
	counted := int64(s.metrics()["pushcart_slow_consumers_total"])
	if err == nil && (closed != int64(r.sleepers) || counted != closed || codes[0].Load() != closed) {
		err = fmt.Errorf("%d sleepers, %d webhooks say slow, %d counted, %d saw 4000", r.sleepers, closed, counted, codes[0].Load())
	}
	if err == nil && w.outbox.Load() > r.total+r.total/16 {
		err = fmt.Errorf("%d bytes in outboxes, bound is %d", w.outbox.Load(), r.total)
	}
	return early.quantile(.99), err
}

func (r *slowRun) report(s *server, b *backend, w *memoryWatch, early, late *latencies, saw int64) {
	fmt.Printf("slow, %s: %d readers, %d sleepers, %d messages one each %v: readers' p50 %.1f ms p99 %.1f ms while sleepers are there, p99 %.1f ms after; RSS grew by at most %.1f MiB, outboxes held at most %.1f of %d MiB; %d closed as slow, %d webhooks say slow, %d saw 4000\n",
		r.name, r.readers, r.sleepers, r.messages, slowPace, early.quantile(.5), early.quantile(.99), late.quantile(.99),
		float64(w.rss.Load()-w.first)/(1<<20), float64(w.outbox.Load())/(1<<20), r.total>>20,
		int64(s.metrics()["pushcart_slow_consumers_total"]), b.count("disconnected", "slow"), saw)
}

// memoryWatch keeps the largest RSS and pushcart_outbox_bytes of a while.
type memoryWatch struct {
	first       int64
	rss, outbox atomic.Int64
	end, ended  chan struct{}
}

func (s *server) watchMemory() *memoryWatch {
	w := &memoryWatch{first: s.rss(), end: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
			w.rss.Store(max(w.rss.Load(), s.rss()))
			w.outbox.Store(max(w.outbox.Load(), int64(s.metrics()["pushcart_outbox_bytes"])))
			select {
			case <-w.end:
				tick.Stop()
				return
			default:
			}
		}
	}()
	return w
}

func (w *memoryWatch) stop() {
	close(w.end)
	<-w.ended
}
