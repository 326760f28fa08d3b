package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// spoken is the header of clients of pushcart.json.v1.
const spoken = "Sec-WebSocket-Protocol: pushcart.json.v1\r\n"

const fastPings = "websocket: {ping_interval: 2s, pong_timeout: 1s}"

// idleJSON is idle for connections of pushcart.json.v1: with a channel that all share, in
// memory; and of a user with a stream of his own, through Redis.
func idleJSON(o options) error {
	if err := idleOf(o, idleKind{
		name: "idle json.v1 connection with one shared channel", low: 5_000, high: 15_000,
		header: func(int) string { return spoken }, clients: subscribers,
		lines: []string{anonymous, fastPings, "channels: [{match: news, subscribe: anyone}]"},
	}); err != nil {
		return err
	}
	redis, stop, err := redisFor(o)
	if err != nil {
		return err
	}
	defer stop()
	return idleOf(o, idleKind{
		name: "idle json.v1 connection of a user with history, through Redis", low: 5_000, high: 15_000,
		header: func(id int) string { return userHeader(id) + spoken }, clients: plainClients,
		lines: []string{"auth: {jwt: {secret: " + secret + "}}", fastPings, "redis: {addresses: ['" + redis + "']}",
			"users: {history: {messages: 10, age: 1h}}"},
	})
}

// subscribers subscribe to a channel when they are connected.
func subscribers() (crowd, error) {
	f, err := newFleet(nil)
	if err == nil {
		f.onOpen = func(id int) { f.say(id, `{"type":"subscribe","channel":"news"}`) }
	}
	return f, err
}

// subscribes shows what 100,000 channels with one subscriber each take, and how fast
// they are subscribed to.
func subscribes(o options) error {
	redis, stop, err := redisFor(o)
	if err != nil {
		return err
	}
	defer stop()
	for _, w := range []struct{ name, lines string }{{"in memory", ""}, {"through Redis", "redis: {addresses: ['" + redis + "']}"}} {
		if err := subscribesOf(o, w.name, w.lines); err != nil {
			return err
		}
	}
	return nil
}

func subscribesOf(o options, name, lines string) error {
	const clients, each = 1_000, 100
	s, err := start(o, anonymous, socketLines, "channels: [{match: '**', subscribe: anyone}]", lines)
	if err != nil {
		return err
	}
	defer s.stop()
	var answered atomic.Int64
	f, err := newFleet(func(_ int, p []byte) {
		if bytes.HasPrefix(p, []byte(`{"type":"ok"`)) {
			answered.Add(1)
		}
	})
	if err != nil {
		return err
	}
	defer f.close()
	if err := f.dial(s.public, clients, func(int) string { return spoken }); err != nil {
		return err
	}
	rss, cpu, began := s.rss(), s.cpu(), time.Now()
	if err := subscribeAll(f, clients, each, &answered); err != nil {
		return err
	}
	took := time.Since(began)
	fmt.Printf("%d channels with one subscriber each, %s: %.0f subscribes/s, %.1f CPU-µs each, %.0f B of RSS per subscription\n",
		clients*each, name, clients*each/took.Seconds(), micros(s.cpu()-cpu)/(clients*each), float64(s.rss()-rss)/(clients*each))
	return nil
}

// subscribeAll has each of a fleet's clients subscribe to channels of its own, and waits until
// answered counted so many.
func subscribeAll(f *fleet, clients, each int, answered *atomic.Int64) error {
	var work sync.WaitGroup
	for part := range 16 {
		work.Go(func() {
			for i := part; i < clients; i += 16 {
				for k := range each {
					f.say(i, fmt.Sprintf(`{"type":"subscribe","id":1,"channel":"room.%d.%d"}`, i, k))
				}
			}
		})
	}
	work.Wait()
	if err := wait(func() bool { return answered.Load() == int64(clients*each) }); err != nil {
		return fmt.Errorf("%d of %d are answered: %w", answered.Load(), clients*each, err)
	}
	return nil
}

// returns shows 10,000 clients that come back at once after a node's restart, each to two
// channels where it missed ten messages, beside pushes to users of another node.
func returns(o options) error {
	const clients, channels, missed = 10_000, 100, 10
	redis, stop, err := redisFor(o)
	if err != nil {
		return err
	}
	defer stop()
	lines := []string{"auth: {anonymous: true, jwt: {secret: " + secret + "}}", "redis: {addresses: ['" + redis + "']}", socketLines,
		"channels: [{match: 's.*', subscribe: anyone, history: {messages: 100, age: 1h}}]"}
	a, err := start(o, lines...)
	if err != nil {
		return err
	}
	b, err := start(o, lines...)
	if err != nil {
		return err
	}
	defer b.stop()
	r := &returning{epochs: map[string]string{}}
	if r.fleet, err = newFleet(r.frame); err != nil {
		return err
	}
	defer r.fleet.close()
	if err := r.come(a, clients, channels, ""); err != nil {
		return err
	}
	idle := a.rss()
	a.stop()
	others := &latencies{}
	beside, err := newFleet(others.frame)
	if err != nil {
		return err
	}
	defer beside.close()
	if err := beside.dial(b.public, 200, userHeader); err != nil {
		return err
	}
	for n := range missed {
		for c := range channels {
			if err := newPoster(b.push).post(fmt.Appendf(nil, `{"to":{"channels":["s.%d"]},"data":%d}`, c, n)); err != nil {
				return err
			}
		}
	}
	if a, err = a.restart(o, lines...); err != nil {
		return err
	}
	defer a.stop()
	return r.storm(a, b, others, idle, clients, channels, missed)
}

// returning is clients that remember positions.
type returning struct {
	fleet              *fleet
	answered, messages atomic.Int64
	gaps               atomic.Int64

	mu     sync.Mutex // guards epochs
	epochs map[string]string
}

func (r *returning) frame(_ int, p []byte) {
	text := string(p)
	switch {
	case strings.HasPrefix(text, `{"type":"ok"`):
		r.answered.Add(1)
		channel, rest, _ := strings.Cut(between(text, `"channel":"`), `"`)
		epoch, _, _ := strings.Cut(between(rest, `"epoch":"`), `"`)
		r.mu.Lock()
		r.epochs[channel] = epoch
		r.mu.Unlock()
	case strings.HasPrefix(text, `{"type":"message"`):
		r.messages.Add(1)
	case strings.HasPrefix(text, `{"type":"gap"`):
		r.gaps.Add(1)
	}
}

func between(text, start string) string {
	_, rest, _ := strings.Cut(text, start)
	return rest
}

// come connects the clients and subscribes each to two channels, after position 0 of
// their epochs if after says so.
func (r *returning) come(s *server, clients, channels int, after string) error {
	first := r.fleet.dialed
	before := r.answered.Load()
	if err := r.fleet.dial(s.public, clients, func(int) string { return spoken }); err != nil {
		return err
	}
	for i := range clients {
		for k := range 2 {
			channel := fmt.Sprint("s.", (i+k*channels/2)%channels)
			position := ""
			if after != "" {
				r.mu.Lock()
				position = fmt.Sprintf(`,"position":{"offset":0,"epoch":%q}`, r.epochs[channel])
				r.mu.Unlock()
			}
			r.fleet.say(first+i, fmt.Sprintf(`{"type":"subscribe","id":1,"channel":%q%s}`, channel, position))
		}
	}
	return wait(func() bool { return r.answered.Load()-before == int64(2*clients) })
}

func (r *returning) storm(a, b *server, others *latencies, idle int64, clients, channels, missed int) error {
	stop := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		p := newPoster(b.push)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case due := <-tick.C:
				_ = p.post(bodyAt(fmt.Sprintf(`{"users":["u%d"]}`, i%200), due))
			}
		}
	})
	began, peak := time.Now(), int64(0)
	watch := make(chan struct{})
	go func() {
		defer close(watch)
		for {
			peak = max(peak, a.rss())
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	err := r.come(a, clients, channels, "after")
	if err == nil {
		err = wait(func() bool { return r.messages.Load() >= int64(2*clients*missed) })
	}
	took := time.Since(began)
	close(stop)
	beside.Wait()
	<-watch
	fmt.Printf("%d clients come back to 2 channels with %d missed messages each: %.1f s, %d messages, %d gaps; p99 of pushes to others %.0f ms; RSS at most %.2f times that of them idle\n",
		clients, missed, took.Seconds(), r.messages.Load(), r.gaps.Load(), others.quantile(.99), float64(peak)/float64(idle))
	return err
}
