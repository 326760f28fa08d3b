package streams

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/internal/record"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

func TestMain(m *testing.M) { leak.Main(m) }

var keptByTests = broker.Retention{Messages: 100_000, Age: time.Hour}

func unstarted(t testing.TB, addr string, lost func()) *Streams {
	t.Helper()
	l, err := link.New(config.Redis{Addresses: []string{addr}, Prefix: "pc"}, "node", metrics.New("", ""), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return New(l, lost)
}

// keepAll has so many messages kept, and returns their positions. Nobody hears of them.
func keepAll(t testing.TB, s *Streams, topic, payload string, messages int) (at []broker.Position) {
	t.Helper()
	line, k := s.link.Line(KeepSource), s.link.Keys()
	defer line.HangUp()
	cmds, err := line.Exchange(t.Context(), func(pipe redis.Pipeliner) {
		for range messages {
			KeepScript.EvalSha(t.Context(), pipe, []string{k.Record(topic), k.Messages(topic)}, line.Server(link.TopicPartition(topic)), "", record.NewEpoch(),
				keptByTests.Messages, keptByTests.Age.Milliseconds(), record.Life(keptByTests.Age).Milliseconds(), 0, k.Channel("user:nobody"), payload)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cmds {
		reply, err := c.(*redis.Cmd).Slice()
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, broker.Position{Offset: parseOffset(link.Text(reply, 1)), Epoch: link.Text(reply, 2)})
	}
	return at
}

// While Redis is away the work that waits for it does not grow: a feed waits once.
func TestStreams_AnOutagePilesNothingUp(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	s := unstarted(t, server.Addr, func() {})
	const topics = 200
	var wanted []broker.Subscription
	for i := range topics {
		wanted = append(wanted, broker.Subscription{Topic: fmt.Sprint("channel:", i), Keep: keptByTests})
	}
	opened := s.Open(wanted).feeds
	s.compare(opened...)
	for _, f := range opened[:10] {
		f.mu.Lock()
		f.at, f.state = broker.Position{Offset: 1, Epoch: "e"}, behind
		f.mu.Unlock()
		s.fetch(f, f.wants())
	}
	for range 4 * link.Partitions {
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
	var dropped atomic.Int64
	l, err := link.New(config.Redis{Addresses: []string{server.Addr}, Prefix: "pc"}, "node", metrics.New("test", ""), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	s, topic := New(l, func() { dropped.Add(1) }), "channel:x"
	defer s.line.HangUp()
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
	opened := s.Open([]broker.Subscription{{Topic: topic, Keep: keptByTests}}).feeds
	s.compare(opened...)
	s.turn()
	const messages = 3 * maxWaitingMessages
	positions := keepAll(t, s, topic, "kept", messages)
	// The first is missed; the others come while nothing is fetched.
	for _, at := range positions[1:] {
		s.Message(topic, fmt.Sprintf("\xf5%s %d 0 0 kept", at.Epoch, at.Offset))
		s.Message(topic, "plain")
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
	if plain.Load() != maxWaitingMessages/2 || dropped.Load() != messages-1-plain.Load() {
		t.Errorf("%d others came, %d are counted as lost, of %d", plain.Load(), dropped.Load(), messages-1)
	}
	if !log.Has("messages dropped") || log.Lines() != 1 {
		t.Errorf("the log has\n%s", &log)
	}
}

// Readers whose answers are long share reads; one that others' answers never reach is not
// kept waiting by those that go on coming.
func TestStreams_ReadersOfOneStreamDoNotStarveEachOther(t *testing.T) {
	server := redistest.Start(t)
	s := unstarted(t, server.Addr, func() {})
	defer s.line.HangUp()
	keepAll(t, s, "user:a", "m", 2*entriesAtOnce)
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
