package redisbroker_test

import (
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// A Redis that comes back empty: what was there is a gap, for live nodes and for readers,
// and a new epoch begins.
func TestRedisStreams_AnEmptyRedisIsAGap(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := witnesses(t, server.Addr, server.Addr)
	for _, n := range nodes {
		n.listen(t, "channel:silent", "channel:busy")
	}
	old := nodes[0].keep(t, "channel:silent", "a")
	nodes[1].keep(t, "channel:busy", "a")
	for _, n := range nodes {
		n.await(t, "channel:silent", "a", 0)
		n.await(t, "channel:busy", "a", 0)
	}
	server.Kill()
	server.Restart(t)
	first := nodes[1].keep(t, "channel:busy", "b")
	for _, n := range nodes {
		n.await(t, "channel:silent", "", 1)
		n.await(t, "channel:busy", "b", 1)
	}
	if first.Offset != 1 {
		t.Errorf("the first after the loss is at %+v", first)
	}
	for _, n := range nodes {
		n.wantRead(t, "channel:silent", old, true, "")
		n.wantRead(t, "channel:silent", broker.Position{Epoch: old.Epoch}, true, "")
		n.wantRead(t, "channel:silent", n.last("channel:silent"), false, "")
	}
	next := nodes[0].keep(t, "channel:silent", "c")
	if next.Offset != 1 || next.Epoch == old.Epoch {
		t.Errorf("the next is at %+v, the old epoch was %s", next, old.Epoch)
	}
	for _, n := range nodes {
		n.await(t, "channel:silent", "c", 1)
	}
}

// FLUSHALL cuts nobody: a round finds it.
func TestRedisStreams_AFlushedRedisIsFoundByARound(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := witnesses(t, server.Addr, server.Addr)
	for _, n := range nodes {
		n.listen(t, "channel:silent", "channel:busy")
		n.keep(t, "channel:silent", "a")
	}
	nodes[0].keep(t, "channel:busy", "a")
	server.Do(t, "FLUSHALL")
	nodes[1].keep(t, "channel:busy", "b")
	for _, n := range nodes {
		n.await(t, "channel:busy", "b", 1)
		n.await(t, "channel:silent", "", 1)
	}
}

// A Redis that comes back with everything: the epoch forks, and nobody notices.
func TestRedisStreams_ARestartWithAllDataIsNoGap(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := witnesses(t, server.Addr, server.Addr)
	var at []broker.Position
	for i, text := range []string{"a", "b", "c"} {
		if i == 1 {
			nodes[0].listen(t, "channel:x")
			nodes[1].listen(t, "channel:x")
		}
		at = append(at, nodes[i%2].keep(t, "channel:x", text))
	}
	for range 2 {
		server.Do(t, "SAVE")
		server.Kill()
		server.RestartSaved(t)
		for i, p := range at {
			nodes[i%2].wantRead(t, "channel:x", p, false, []string{"b c", "c", ""}[i])
		}
	}
	next := nodes[1].keep(t, "channel:x", "d")
	if next.Offset != 4 || next.Epoch == at[0].Epoch {
		t.Errorf("the next is at %+v after %+v", next, at[2])
	}
	for i, p := range at {
		nodes[i%2].wantRead(t, "channel:x", p, false, []string{"b c d", "c d", "d"}[i])
	}
	nodes[0].wantRead(t, "channel:x", broker.Position{Offset: 4, Epoch: at[0].Epoch}, true, "a b c d")
	for _, n := range nodes {
		n.await(t, "channel:x", "b c d", 0)
	}
	// The ids are known over the fork.
	again := nodes[0].put(broker.Publication{Topic: "channel:x", Payload: []byte("b"), ID: "b", Digest: 1, Keep: keptLong})
	if again.Err != nil || !again.Duplicate || again.Position != at[1] {
		t.Errorf("again: %+v", again)
	}
}

// Ten forks: the oldest epochs are forgotten, the latest eight are not.
func TestRedisStreams_TheLatestForksAreKnown(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	node := witnesses(t, server.Addr)[0]
	var at []broker.Position
	for i := range 10 {
		at = append(at, node.keep(t, "channel:x", string(rune('a'+i))))
		server.Do(t, "DEBUG", "CHANGE-REPL-ID")
		server.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	}
	all := "abcdefghij"
	for i, p := range at {
		if i > 0 && p.Epoch == at[i-1].Epoch {
			t.Fatalf("no fork before %+v", p)
		}
		want := ""
		for _, c := range all[i+1:] {
			want += " " + string(c)
		}
		if i == 0 {
			continue // nine forks ago
		}
		if want != "" {
			want = want[1:]
		}
		node.wantRead(t, "channel:x", p, false, want)
	}
	node.wantRead(t, "channel:x", at[0], true, "a b c d e f g h i j")
}

// A Redis that lost the last messages: who was given them is told so at once, and they
// make the whole epoch a gap. Nobody gets two messages at one position.
func TestRedisStreams_ARestartWithoutTheLastMessagesIsAGap(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{true, false} {
		server := redistest.Start(t)
		vip := redistest.NewVIP(t, server.Addr)
		live, deaf := newWitness(t, server.Addr, 0), newWitness(t, vip.Addr, 1)
		testkit.Eventually(t, "both are up", func() bool { return live.Up() && deaf.Up() })
		live.listen(t, "channel:x")
		deaf.listen(t, "channel:x")
		var at []broker.Position
		for _, text := range []string{"a", "b"} {
			at = append(at, live.keep(t, "channel:x", text))
		}
		deaf.await(t, "channel:x", "a b", 0)
		server.Do(t, "SAVE")
		release := vip.Hold()
		for _, text := range []string{"c", "d"} {
			at = append(at, live.keep(t, "channel:x", text))
		}
		live.await(t, "channel:x", "a b c d", 0)
		server.Kill()
		server.RestartSaved(t)
		want := ""
		if silent {
			live.await(t, "channel:x", "", 1)
		} else {
			want = "e"
			if next := live.keep(t, "channel:x", "e"); next.Offset != 3 || next.Epoch == at[0].Epoch {
				t.Errorf("the next is at %+v", next)
			}
			live.await(t, "channel:x", "e", 1)
		}
		for _, p := range append(at, broker.Position{Epoch: at[0].Epoch}) {
			r := live.read(t, broker.Query{Topic: "channel:x", After: p})
			if !r.Gap {
				t.Errorf("silent %v: after %+v: no gap", silent, p)
			}
		}
		live.wantRead(t, "channel:x", live.last("channel:x"), false, "")
		release()
		vip.Cut()
		deaf.await(t, "channel:x", want, 1)
		last := deaf.keep(t, "channel:x", "f")
		for _, n := range []*witness{live, deaf} {
			testkit.Eventually(t, "the last arrives", func() bool { return n.last("channel:x") == last })
			noTwoAtOnePosition(t, n, "channel:x")
		}
	}
}

// noTwoAtOnePosition wants every position to have one message.
func noTwoAtOnePosition(t *testing.T, n *witness, topic string) {
	t.Helper()
	seen := map[broker.Position]string{}
	for _, m := range n.heard(topic) {
		if m.Kind != broker.Published || m.Position.Offset == 0 {
			continue
		}
		if before, ok := seen[m.Position]; ok {
			t.Errorf("%+v is %q and %q", m.Position, before, m.Payload)
		}
		seen[m.Position] = string(m.Payload)
	}
}

// nothingTwice wants every payload once.
func nothingTwice(t *testing.T, n *witness, topic string) {
	t.Helper()
	seen := map[string]broker.Position{}
	for _, m := range n.heard(topic) {
		if before, ok := seen[string(m.Payload)]; ok && m.Kind == broker.Published {
			t.Errorf("%s: %q came at %+v and %+v", topic, m.Payload, before, m.Position)
		}
		seen[string(m.Payload)] = m.Position
	}
}

// Killed and restarted with what was saved some time ago, again and again, while others
// publish: a node hears every message that a reader finds, or a loss, and never two at one
// position.
func TestRedisStreams_RestartsWithOldDataUnderLoad(t *testing.T) {
	t.Parallel()
	const streams, rounds = 3, 6
	server := redistest.Start(t)
	nodes := witnesses(t, server.Addr, server.Addr)
	for _, n := range nodes {
		for s := range streams {
			n.listen(t, loadTopic(s))
		}
	}
	l := startLoad(t, nodes, 4, streams, true)
	for round := range rounds {
		pass := func() {
			before := l.sent.Load()
			testkit.Eventually(t, "messages pass", func() bool { return l.sent.Load() > before+100 })
		}
		pass()
		if round%3 == 0 { // and then the same twice more
			server.Do(t, "SAVE")
			pass()
		}
		server.Kill()
		server.RestartSaved(t)
	}
	l.end()
	for s := range streams {
		topic := loadTopic(s)
		last := nodes[0].keep(t, topic, "last")
		read := map[uint64]string{}
		for after := (broker.Position{}); ; {
			r := nodes[0].read(t, broker.Query{Topic: topic, After: after})
			for _, m := range r.Messages {
				read[m.Position.Offset] = string(m.Payload)
			}
			if after = (broker.Position{Offset: r.Reached, Epoch: r.Current.Epoch}); !r.More {
				break
			}
		}
		for i, n := range nodes {
			testkit.Eventually(t, "the last arrives", func() bool { return n.last(topic) == last })
			noTwoAtOnePosition(t, n, topic)
			nothingTwice(t, n, topic)
			lost, final := n.count(topic, broker.Lost), map[uint64]string{}
			for _, m := range n.heard(topic) {
				if m.Position.Offset > 0 && m.Kind == broker.Published {
					final[m.Position.Offset] = string(m.Payload)
				}
			}
			missed := 0
			for offset, text := range read {
				if final[offset] != text {
					missed++
				}
			}
			if missed > 0 && lost == 0 || lost > rounds {
				t.Errorf("%s: node %d misses %d of %d, and was told of %d losses", topic, i, missed, len(read), lost)
			}
		}
	}
}
