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
	name   string
	outbox string // of the configuration
	total  int64  // its total

	node               *server
	back               *backend
	reading, sleeping  *fleet
	phase              atomic.Pointer[latencies]
	calm, asleep, late latencies    // of the readers: before, until the last sleeper was closed, and after
	woke4000, wokeElse atomic.Int64 // sleepers that woke to a Close with 4000, or to another end
}

const (
	slowReaders  = 1_000
	slowSleepers = 1_000
	slowCalm     = 1_000 // messages while all read
	slowMessages = 10_000
	slowPace     = 20 * time.Millisecond
)

// slow shows what clients that stop reading do to the node's memory and to those
// that read: of 2,000 who get one message after the other 1,000 fall asleep. The
// messages, 200 bytes each, are paced so that the machine keeps up.
func slow(o options) error {
	for _, r := range []*slowRun{
		{name: "default outbox", total: 512 << 20},
		{name: "outbox.total 16MiB", outbox: "outbox: {messages: 100000, bytes: 1MiB, total: 16MiB}", total: 16 << 20},
	} {
		if err := r.run(o); err != nil {
			return err
		}
	}
	return nil
}

func (r *slowRun) run(o options) (err error) {
	r.back, err = newBackend()
	if err != nil {
		return err
	}
	defer r.back.close()
	r.node, err = start(o, "auth: {jwt: {secret: "+secret+"}}", r.back.config("disconnected"),
		"websocket: {ping_interval: 240h, "+r.outbox+"}") // else the missing pong would end sleepers first
	if err != nil {
		return err
	}
	defer r.node.stop()
	r.phase.Store(&r.calm)
	if r.reading, err = newFleet(r.frame); err != nil {
		return err
	}
	defer r.reading.close()
	if r.sleeping, err = newFleet(nil); err != nil {
		return err
	}
	defer r.sleeping.close()
	if err := r.connect(); err != nil {
		return err
	}
	w := r.node.watchMemory()
	err = r.broadcast()
	w.stop()
	return errors.Join(err, r.report(w))
}

func (r *slowRun) connect() error {
	r.sleeping.receive, r.sleeping.onEnd, r.back.onEvent = 64<<10, r.ended, r.told
	if err := r.reading.dial(r.node.public, slowReaders, func(id int) string {
		return bearer(fmt.Sprint("r", id), `"news"`)
	}); err != nil {
		return err
	}
	return r.sleeping.dial(r.node.public, slowSleepers, func(id int) string {
		return bearer(fmt.Sprint("s", id), `"news"`)
	})
}

// broadcast pushes while all read and then while the sleepers sleep.
func (r *slowRun) broadcast() error {
	all := []*server{r.node}
	if err := pacedPublish(all, slowCalm, slowPace); err != nil {
		return err
	}
	for id := range slowSleepers {
		r.sleeping.pause(id)
	}
	r.phase.Store(&r.asleep)
	if err := pacedPublish(all, slowMessages, slowPace); err != nil {
		return err
	}
	if err := r.reading.awaitFrames(0, slowReaders*(slowCalm+slowMessages)); err != nil {
		return err
	}
	return wait(func() bool { return r.woke4000.Load()+r.wokeElse.Load() == int64(r.back.count("disconnected", "")) })
}

func (r *slowRun) frame(id int, p []byte) {
	if id%10 == 0 { // enough to tell
		r.phase.Load().frame(id, p)
	}
}

// told wakes a sleeper when the app hears of its end: it must then find the Close
// frame behind what it had left unread.
func (r *slowRun) told(e event) {
	if id, err := strconv.Atoi(strings.TrimPrefix(e.user, "s")); err == nil {
		r.sleeping.resume(id)
	}
	if r.back.count("disconnected", "slow") == slowSleepers {
		r.phase.Store(&r.late)
	}
}

func (r *slowRun) ended(_, code int) {
	if code == 4000 {
		r.woke4000.Add(1)
	} else {
		r.wokeElse.Add(1)
	}
}

// report prints the figures and holds them to what was configured.
func (r *slowRun) report(w *memoryWatch) error {
	told, saw := int64(r.back.count("disconnected", "slow")), r.woke4000.Load()
	counted := int64(r.node.metrics()["pushcart_slow_consumers_total"])
	calm, asleep := r.calm.quantile(.99), r.asleep.quantile(.99)
	fmt.Printf("slow, %s: %d readers, %d sleepers, %d messages one each %v: readers' p99 %.1f ms before they sleep, %.1f ms until the last was closed (%.1f times), %.1f ms after; RSS grew by at most %.1f MiB, outboxes held at most %.1f of %d MiB; %d closed as slow, webhooks say %v, %d saw 4000\n",
		r.name, slowReaders, slowSleepers, slowMessages, slowPace, calm, asleep, asleep/calm, r.late.quantile(.99),
		float64(w.rss.Load()-w.first)/(1<<20), float64(w.outbox.Load())/(1<<20), r.total>>20, counted, r.back.causes(), saw)
	switch held := w.outbox.Load(); {
	case counted == 0 || told != counted || saw != counted:
		return fmt.Errorf("%d closed as slow, %d webhooks say slow, %d saw 4000", counted, told, saw)
	case held > r.total:
		return fmt.Errorf("%d bytes in outboxes, bound is %d", held, r.total)
	}
	return nil
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
		for tick := time.NewTicker(200 * time.Millisecond); ; <-tick.C {
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
