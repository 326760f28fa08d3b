package redisbroker_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// load publishes from several publishers on several streams, kept messages and others,
// until it is stopped.
type load struct {
	stop chan struct{}
	work sync.WaitGroup
	sent atomic.Int64
	kept []atomic.Int64 // by stream
	// once: a push that fails is not tried again. Otherwise it is, with its id.
	once bool
}

func loadTopic(i int) string { return fmt.Sprint("channel:", i) }

func startLoad(t *testing.T, nodes []*witness, publishers, streams int, once bool) *load {
	l := &load{once: once, stop: make(chan struct{}), kept: make([]atomic.Int64, streams)}
	for p := range publishers {
		node := nodes[p%len(nodes)]
		l.work.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				default:
				}
				stream := (i + p) % streams
				name := fmt.Sprint(p, ".", i)
				if i%5 == 4 { // a plain one may be lost
					node.put(broker.Publication{Topic: loadTopic(stream), Payload: []byte("plain " + name)})
					continue
				}
				if l.keep(t, node, loadTopic(stream), name) {
					l.kept[stream].Add(1)
					l.sent.Add(1)
				}
			}
		})
	}
	return l
}

func (l *load) keep(t *testing.T, node *witness, topic, name string) bool {
	if l.once {
		return node.put(broker.Publication{Topic: topic, Payload: []byte(name), Keep: keptLong}).Err == nil
	}
	node.keep(t, topic, name)
	return true
}

func (l *load) end() { close(l.stop); l.work.Wait() }

// check wants every kept message of every stream at every node, once and in the order that
// is read by positions.
func (l *load) check(t *testing.T, nodes []*witness) {
	t.Helper()
	for s := range l.kept {
		topic, want := loadTopic(s), int(l.kept[s].Load())
		var read []broker.Message
		for after := (broker.Position{}); ; {
			r := nodes[0].read(t, broker.Query{Topic: topic, After: after})
			if r.Gap {
				t.Fatalf("%s after %+v: a gap", topic, after)
			}
			read = append(read, r.Messages...)
			if after = (broker.Position{Offset: r.Reached, Epoch: r.Current.Epoch}); !r.More {
				break
			}
		}
		if len(read) != want {
			t.Fatalf("%s: %d messages are read, %d were kept", topic, len(read), want)
		}
		for i, n := range nodes {
			testkit.Eventually(t, fmt.Sprint(topic, " arrives at node ", i), func() bool { return n.last(topic).Offset == uint64(want) })
			heard := slices.DeleteFunc(n.heard(topic), func(m broker.Message) bool { return m.Position.Offset == 0 || m.Kind != broker.Published })
			if n.count(topic, broker.Lost) > 0 {
				t.Errorf("%s: node %d was told of a loss", topic, i)
			}
			if !slices.EqualFunc(heard, read, func(a, b broker.Message) bool {
				return a.Position.Offset == b.Position.Offset && string(a.Payload) == string(b.Payload)
			}) {
				t.Errorf("%s: node %d heard something else than what is read: %d and %d messages", topic, i, len(heard), len(read))
			}
		}
	}
}

// Connections are cut while others publish: nobody misses a kept message.
func TestRedisStreams_CutConnectionsLoseNothing(t *testing.T) {
	const streams, rounds = 5, 30
	for _, kind := range []string{"pubsub", "normal", "all"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			nodes := witnesses(t, server.Addr, server.Addr)
			for _, n := range nodes {
				for s := range streams {
					n.listen(t, loadTopic(s))
				}
			}
			l := startLoad(t, nodes, 4, streams, false)
			for range rounds {
				before := l.sent.Load()
				if kind != "normal" {
					server.Do(t, "CLIENT", "KILL", "TYPE", "pubsub")
				}
				if kind != "pubsub" {
					server.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
				}
				testkit.Eventually(t, "messages pass", func() bool { return l.sent.Load() > before+50 })
			}
			l.end()
			l.check(t, nodes)
		})
	}
}

// A Redis that hangs until it is given up, and one node that hears nothing for a while
// without being told: both catch up.
func TestRedisStreams_AHangingRedisLosesNothing(t *testing.T) {
	t.Parallel()
	const streams = 3
	server := redistest.Start(t)
	vip := redistest.NewVIP(t, server.Addr)
	nodes := witnesses(t, server.Addr, server.Addr, vip.Addr)
	for _, n := range nodes {
		for s := range streams {
			n.listen(t, loadTopic(s))
		}
	}
	l := startLoad(t, nodes[:2], 4, streams, false)
	pass := func() {
		before := l.sent.Load()
		testkit.Eventually(t, "messages pass", func() bool { return l.sent.Load() > before+2000 })
	}
	pass()
	release := vip.Hold()
	pass()
	release()
	pass()
	server.Pause()
	defer server.Resume()
	testkit.Eventually(t, "it is given up", func() bool { return !nodes[0].Up() && !nodes[2].Up() })
	server.Resume()
	pass()
	l.end()
	l.check(t, nodes)
}

// A server that hears and is not heard: what was published then is known by its id.
func TestRedisStreams_ALostAnswerIsADuplicateAfterwards(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	vip := redistest.NewVIP(t, server.Addr)
	nodes := witnesses(t, vip.Addr, server.Addr)
	nodes[1].listen(t, "user:a")
	first := nodes[0].keep(t, "user:a", "first")
	hear := vip.Mute()
	p := broker.Publication{Topic: "user:a", Payload: []byte("second"), ID: "k", Digest: 1, Keep: keptLong}
	if got := nodes[0].put(p); got.Err == nil || got.Position != (broker.Position{}) {
		t.Errorf("without an answer: %+v, %v", got.Position, got.Err)
	}
	hear()
	server.Do(t, "SCRIPT", "FLUSH")
	if !testkit.Until(func() bool { p = nodes[0].put(p); return p.Err == nil }) {
		t.Fatalf("%v %v %v\n%s", p.Err, nodes[0].Up(), nodes[0].Health(), &nodes[0].log)
	}
	if !p.Duplicate || p.Position != (broker.Position{Offset: 2, Epoch: first.Epoch}) {
		t.Errorf("again: %+v, duplicate %v", p.Position, p.Duplicate)
	}
	nodes[1].await(t, "user:a", "first second", 0)
}

// A connection that was cut while nothing was sent on it costs nobody a push or a read.
func TestRedisStreams_AnIdleConnectionMayBeCut(t *testing.T) {
	server := redistest.Start(t)
	node := witnesses(t, server.Addr)[0]
	p := broker.Publication{Topic: "user:a", Payload: []byte("m"), Keep: keptLong}
	f := func(where string) {
		t.Helper()
		if got := node.put(p); got.Err != nil {
			t.Errorf("%s: publish: %v", where, got.Err)
		}
		if r, err := node.Read(context.Background(), broker.Query{Topic: "user:a", Whole: true, Keep: keptLong}); err != nil || len(r.Messages) == 0 {
			t.Errorf("%s: read %d messages, %v", where, len(r.Messages), err)
		}
	}
	f("before")
	server.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	f("after a cut")
	server.Do(t, "SCRIPT", "FLUSH")
	f("after SCRIPT FLUSH")
	if node.log.Has("refuses to read") {
		t.Errorf("the log complains:\n%s", &node.log)
	}
}
