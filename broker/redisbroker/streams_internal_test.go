package redisbroker

import (
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

var keptByTests = broker.Retention{Messages: 100_000, Age: time.Hour}

// While Redis is away the work that waits for it does not grow: a feed waits once.
func TestStreams_AnOutagePilesNothingUp(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	s := unstarted(t, server.Addr).streams
	const topics = 200
	var wanted []broker.Subscription
	for i := range topics {
		wanted = append(wanted, broker.Subscription{Topic: fmt.Sprint("channel:", i), Keep: keptByTests})
	}
	opened := s.open(wanted)
	s.compare(opened...)
	for _, f := range opened[:10] {
		f.mu.Lock()
		f.at, f.state = broker.Position{Offset: 1, Epoch: "e"}, behind
		f.mu.Unlock()
		s.fetch(f, f.wants())
	}
	for range 4 * partitions {
		s.nextRound()
		s.compare(opened[0])
		for s.turn() {
		}
	}
	if n := len(s.due) + len(s.checks); n > topics {
		t.Errorf("%d comparisons wait for %d feeds", n, topics)
	}
	if n := len(s.again) + len(s.fetches); n > 10 {
		t.Errorf("%d fetches wait for 10 feeds", n)
	}
	// Those that are given up meanwhile do not wait on.
	for i := range topics {
		s.feeds.remove([]string{wanted[i].Topic})
	}
	for range 2 {
		s.nextRound()
		for s.turn() {
		}
	}
	if n := len(s.due) + len(s.checks); n > 0 {
		t.Errorf("%d comparisons wait for nobody", n)
	}
}

// What waits while Redis is slow is bounded. Kept messages beyond that are fetched, others
// are lost, counted, and logged.
func TestStreams_WhatWaitsIsBounded(t *testing.T) {
	server := redistest.Start(t)
	var log testkit.Log
	m := metrics.New("test", "")
	b, err := New(config.Redis{Addresses: []string{server.Addr}, Prefix: "pc"}, "node", m, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	s, topic := b.streams, "channel:x"
	defer s.line.hangUp()
	var plain, last atomic.Int64
	s.hand = func(m broker.Message) {
		switch {
		case m.Kind == broker.Lost:
			t.Error("told of a loss")
		case m.Kind == broker.Published && m.Position.Offset == 0:
			plain.Add(1)
		case m.Kind == broker.Published:
			if !last.CompareAndSwap(int64(m.Position.Offset)-1, int64(m.Position.Offset)) {
				t.Errorf("%d came after %d", m.Position.Offset, last.Load())
			}
		}
	}
	opened := s.open([]broker.Subscription{{Topic: topic, Keep: keptByTests}})
	s.compare(opened...)
	s.turn()
	const messages = 3 * maxWaitingMessages
	defer b.publisher.hangUp()
	var entries []*entry
	for range messages {
		c := &call{left: 1, done: make(chan struct{})}
		entries = append(entries, &entry{Publication: broker.Publication{Topic: topic, Payload: []byte("kept"), Keep: keptByTests}, call: c})
	}
	b.publisher.send(entries)
	// The first is missed; the others come while nothing is fetched.
	for _, e := range entries[1:] {
		s.message(topic, fmt.Sprintf("\xf5%s %d 0 0 kept", e.Position.Epoch, e.Position.Offset))
		s.message(topic, "plain")
	}
	f := opened[0]
	if len(f.waiting) != maxWaitingMessages {
		t.Errorf("%d wait, want %d", len(f.waiting), maxWaitingMessages)
	}
	for s.turn() {
	}
	if last.Load() != messages || f.state != live || len(f.waiting) > 0 {
		t.Errorf("%d of %d kept messages came, state %d, %d wait", last.Load(), messages, f.state, len(f.waiting))
	}
	dropped := int64(testkit.Metric(t, m.Handler(), "pushcart_fanout_dropped_total"))
	if plain.Load() != maxWaitingMessages/2 || dropped != messages-1-plain.Load() {
		t.Errorf("%d others came, %d are counted as lost, of %d", plain.Load(), dropped, messages-1)
	}
	if !log.Has("messages dropped") || log.Lines() != 1 {
		t.Errorf("the log has\n%s", &log)
	}
}

// Readers whose answers are long share reads; one that others' answers never reach is not
// kept waiting by those that go on coming.
func TestStreams_ReadersOfOneStreamDoNotStarveEachOther(t *testing.T) {
	server := redistest.Start(t)
	b := unstarted(t, server.Addr)
	s := b.streams
	defer s.line.hangUp()
	defer b.publisher.hangUp()
	var entries []*entry
	for range 2 * entriesAtOnce {
		c := &call{left: 1, done: make(chan struct{})}
		entries = append(entries, &entry{Publication: broker.Publication{Topic: "user:a", Payload: []byte("m"), Keep: keptByTests}, call: c})
	}
	b.publisher.send(entries)
	last := &reading{topic: "user:a", after: 2*entriesAtOnce - 5, limit: broker.MaxRead, done: make(chan struct{})}
	if err := s.add(last); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.add(&reading{topic: "user:a", limit: broker.MaxRead, done: make(chan struct{})}); err != nil {
			t.Fatal(err)
		}
		s.turn()
	}
	select {
	case <-last.done:
		if last.err != nil || len(last.answer.messages) != 5 {
			t.Errorf("%d messages, %v", len(last.answer.messages), last.err)
		}
	default:
		t.Error("it still waits")
	}
}

// A receiver that panics loses one message, also one that was fetched: the feed goes on.
func TestStreams_APanicOfTheReceiverWhileItIsCaughtUpWith(t *testing.T) {
	server := redistest.Start(t)
	b := unstarted(t, server.Addr)
	var got atomic.Int64
	panicked := false
	if err := b.Start(func(m broker.Message) {
		if string(m.Payload) == "panic" && !panicked {
			panicked = true
			panic("test")
		}
		got.Store(int64(m.Position.Offset))
	}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is up", b.Up)
	if err := b.Subscribe(t.Context(), broker.Subscription{Topic: "user:a", Keep: keptByTests}); err != nil {
		t.Fatal(err)
	}
	// The node does not hear of these.
	p := unstarted(t, server.Addr).publisher
	defer p.hangUp()
	k := p.link.keys
	for _, text := range []string{"panic", "next"} {
		c := &call{left: 1, done: make(chan struct{})}
		e := &entry{Publication: broker.Publication{Topic: "user:a", Payload: []byte(text), Keep: keptByTests}, call: c}
		if err := p.line.connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		pipe := p.line.conn.Pipeline()
		p.keep(pipe, e, k.channel("user:nobody"), false)
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f := b.streams.feeds.get("user:a")
	f.doubt()
	b.streams.compare(f)
	testkit.Eventually(t, "the next comes", func() bool { return got.Load() == 2 })
	if !panicked {
		t.Error("it did not panic")
	}
}

// Spans below a millisecond are not nothing.
func TestRedis_AMillisecondIsTheLeast(t *testing.T) {
	for d, want := range map[time.Duration]int64{0: 0, 1: 1, time.Microsecond: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Hour: 3_600_000} {
		if got := millis(d); got != want {
			t.Errorf("%v: %d, want %d", d, got, want)
		}
	}
}

// A connection that was made while the server was a replica took its master's name for its
// own: a stream that this master wrote to last begins a new epoch all the same.
func TestRedis_APromotedReplicaHasANameOfItsOwn(t *testing.T) {
	a, b := redistest.Start(t), redistest.Start(t)
	host, port, _ := net.SplitHostPort(a.Addr)
	b.Do(t, "REPLICAOF", host, port)
	keep := func(p *publisher) broker.Publication {
		e := &entry{Publication: broker.Publication{Topic: "user:a", Payload: []byte("m"), Keep: keptByTests}, call: &call{left: 1, done: make(chan struct{})}}
		p.send([]*entry{e})
		return e.Publication
	}
	old, next := unstarted(t, a.Addr).publisher, unstarted(t, b.Addr).publisher
	defer old.hangUp()
	defer next.hangUp()
	first := keep(old)
	testkit.Eventually(t, "it is replicated", func() bool { return b.Do(t, "HGET", next.link.keys.record("user:a"), "o") == "1" })
	if err := next.line.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Do(t, "REPLICAOF", "NO", "ONE")
	got := keep(next)
	if got.Err != nil || got.Position.Offset != 2 || got.Position.Epoch == first.Position.Epoch {
		t.Errorf("after %+v came %+v, %v: no fork", first.Position, got.Position, got.Err)
	}
	if again := keep(next); again.Position != (broker.Position{Offset: 3, Epoch: got.Position.Epoch}) {
		t.Errorf("then %+v: another fork", again.Position)
	}
}
