package brokertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/testkit"
)

func offsets(t *testing.T, nodes []*streamNode) {
	nodes[0].listen(t, "channel:x")
	opened := nodes[0].heard("channel:x")[0].Position
	if opened.Offset != 0 || opened.Epoch == "" {
		t.Errorf("a new stream was opened at %+v", opened)
	}
	for i := range 6 {
		node := nodes[i%len(nodes)]
		want := broker.Position{Offset: uint64(i + 1), Epoch: opened.Epoch}
		if got := node.keep(t, "channel:x", fmt.Sprint(i), kept); got != want {
			t.Errorf("message %d: got %+v, want %+v", i, got, want)
		}
		if r := node.read(t, broker.Query{Topic: "channel:x"}); r.Current != want {
			t.Errorf("after message %d the stream is at %+v, want %+v", i, r.Current, want)
		}
	}
	other := nodes[0].keep(t, "channel:y", "y", kept)
	if other.Offset != 1 || other.Epoch == opened.Epoch {
		t.Errorf("another stream's message is at %+v, the first one's epoch is %s", other, opened.Epoch)
	}
	wantFeed(t, nodes[0].awaitHeard(t, "channel:x", 7))
}

func openedFirst(t *testing.T, nodes []*streamNode) {
	last := nodes[len(nodes)-1]
	before := last.keep(t, "user:a", "before", kept)
	topics := []string{"user:a"}
	for i := range 100 {
		topics = append(topics, fmt.Sprint("channel:", i))
	}
	nodes[0].listen(t, topics...)
	for _, topic := range topics {
		got := nodes[0].heard(topic)
		if len(got) != 1 || got[0].Kind != broker.Opened || got[0].Position.Epoch == "" {
			t.Fatalf("%s: Subscribe returned after %+v", topic, got)
		}
	}
	if got := nodes[0].heard("user:a")[0].Position; got != before {
		t.Errorf("opened at %+v, want %+v", got, before)
	}
	after := last.keep(t, "user:a", "after", kept)
	got := nodes[0].awaitHeard(t, "user:a", 2)[1]
	if got.Kind != broker.Published || string(got.Payload) != "after" || got.Position != after {
		t.Errorf("got %s, want it at %+v", brief(got), after)
	}
}

// publishing keeps numbers on a topic from every node until it is told to stop.
func publishing(t *testing.T, nodes []*streamNode, topic string) (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			for number := 0; ; number++ {
				select {
				case <-end:
					return
				default:
				}
				if p := n.put(broker.Publication{Topic: topic, Payload: fmt.Appendf(nil, "%d %d", i, number), Keep: kept}); p.Err != nil {
					t.Errorf("publish: %v", p.Err)
					return
				}
			}
		})
	}
	return func() { close(end); wg.Wait() }
}

func openedWhilePublishing(t *testing.T, nodes []*streamNode) {
	stop := publishing(t, nodes, "channel:x")
	testkit.Eventually(t, "something was published", func() bool {
		return nodes[0].read(t, broker.Query{Topic: "channel:x"}).Current.Offset > 10
	})
	for _, n := range nodes {
		n.listen(t, "channel:x")
	}
	for _, n := range nodes {
		n.awaitHeard(t, "channel:x", 50)
	}
	stop()
	last := nodes[0].keep(t, "channel:x", "last", kept)
	for _, n := range nodes {
		testkit.Eventually(t, "the last arrives", func() bool {
			all := n.heard("channel:x")
			return all[len(all)-1].Position == last
		})
		all := n.heard("channel:x")
		wantFeed(t, all)
		if all[0].Position.Offset <= 10 {
			t.Errorf("opened at %+v, which is long past", all[0].Position)
		}
	}
}

func plainSubscribers(t *testing.T, nodes []*streamNode) {
	first, last := nodes[0], nodes[len(nodes)-1]
	first.subscribe(t, broker.Topics("channel:x")...)
	last.put(broker.Publication{Topic: "channel:x", Payload: []byte("plain")})
	at := last.keep(t, "channel:x", "kept", kept)
	got := first.awaitHeard(t, "channel:x", 2)
	if len(got) != 2 || got[0].Kind != broker.Published || string(got[0].Payload) != "plain" || got[0].Position.Offset != 0 {
		t.Errorf("got %+v, want the plain message alone", got)
	}
	if got[1].Kind != broker.Published || got[1].Position != at {
		t.Errorf("got %s, want it at %+v", brief(got[1]), at)
	}
	// A reload gave the topic a rule.
	first.listen(t, "channel:x")
	if got = first.heard("channel:x"); len(got) != 3 || got[2].Kind != broker.Opened || got[2].Position != at {
		t.Errorf("got %+v, want Opened at %+v last", got, at)
	}
}

func notKept(t *testing.T, nodes []*streamNode) {
	for _, n := range nodes {
		n.listen(t, "channel:x")
	}
	const messages = 60
	var want []string
	for i := range messages {
		p := broker.Publication{Topic: "channel:x", Payload: fmt.Append(nil, i)}
		if i%3 == 0 {
			p.Keep = kept
		}
		got := nodes[i%len(nodes)].put(p)
		if got.Err != nil || got.Nodes != len(nodes) || (got.Position.Offset > 0) != p.Keep.Keeps() {
			t.Fatalf("message %d: %d nodes, position %+v, %v", i, got.Nodes, got.Position, got.Err)
		}
		want = append(want, fmt.Sprint(i))
	}
	for _, n := range nodes {
		all := n.awaitHeard(t, "channel:x", messages+1)
		wantFeed(t, all)
		if got := textsOf(all[1:]); !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		for i, m := range all[1:] {
			if (m.Position.Offset > 0) != (i%3 == 0) {
				t.Errorf("%s: every third was kept", brief(m))
			}
		}
	}
	if got := nodes[0].read(t, broker.Query{Topic: "channel:x"}); len(got.Messages) != messages/3 || got.Current.Offset != messages/3 {
		t.Errorf("%d messages are kept up to %+v, want %d", len(got.Messages), got.Current, messages/3)
	}
}

// opensAgain comes and goes while others publish: no message comes twice, and
// none is missing between an Opened and the last before the end.
func opensAgain(t *testing.T, nodes []*streamNode) {
	n := nodes[0]
	stop := publishing(t, nodes, "channel:x")
	for range 20 {
		before := len(n.heard("channel:x"))
		n.listen(t, "channel:x")
		n.awaitHeard(t, "channel:x", before+5)
		n.Unsubscribe("channel:x")
	}
	stop()
	n.listen(t, "channel:x")
	last := n.keep(t, "channel:x", "last", kept)
	testkit.Eventually(t, "the last arrives", func() bool {
		all := n.heard("channel:x")
		return all[len(all)-1].Position == last
	})
	all := n.heard("channel:x")
	wantFeed(t, all)
	opened := 0
	for _, m := range all {
		if m.Kind == broker.Opened {
			opened++
		}
	}
	if opened != 21 {
		t.Errorf("opened %d times, want 21", opened)
	}
}

func onePublishedOrder(t *testing.T, nodes []*streamNode) {
	const publishers, each = 12, 60
	for _, n := range nodes {
		n.listen(t, "channel:x")
	}
	answers := make([][each]broker.Position, publishers)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				got := nodes[p%len(nodes)].put(broker.Publication{Topic: "channel:x", Payload: fmt.Appendf(nil, "%d %d", p, i), Keep: kept})
				if got.Err != nil || got.Nodes != len(nodes) {
					t.Errorf("publish: %d nodes, %v", got.Nodes, got.Err)
				}
				answers[p][i] = got.Position
			}
		})
	}
	wg.Wait()
	all := nodes[0].readAll(t, broker.Query{Topic: "channel:x", Whole: true, Limit: 100})
	if len(all) != publishers*each {
		t.Fatalf("%d messages are kept, want %d", len(all), publishers*each)
	}
	eachInOrder(t, textsOf(all))
	for i, m := range all {
		var p, number int
		_, _ = fmt.Sscan(string(m.Payload), &p, &number)
		if m.Position.Offset != uint64(i+1) || m.Time == 0 || answers[p][number] != m.Position {
			t.Fatalf("%s is message %d, and its publisher was told %+v", brief(m), i, answers[p][number])
		}
	}
	for i, n := range nodes {
		heard := n.awaitHeard(t, "channel:x", publishers*each+1)
		wantFeed(t, heard)
		if !slices.Equal(textsOf(heard[1:]), textsOf(all)) {
			t.Fatalf("node %d heard another order than what is kept", i)
		}
		for k, m := range heard[1:] {
			if m.Time != all[k].Time {
				t.Errorf("node %d heard %s with time %d, read is %d", i, brief(m), m.Time, all[k].Time)
			}
		}
	}
}

func everyByte(t *testing.T, nodes []*streamNode) {
	var bytes [256]byte
	for i := range bytes {
		bytes[i] = byte(i)
	}
	payloads := []string{"", string(bytes[:]), strings.Repeat("\xff\x00\r\n\xf5", 1<<20/5), "\r\n", ":1\r\n", "0"}
	nodes[0].listen(t, "user:a")
	for _, p := range payloads {
		nodes[len(nodes)-1].keep(t, "user:a", p, kept)
		nodes[len(nodes)-1].put(broker.Publication{Topic: "user:a", Payload: []byte(p)})
	}
	heard := textsOf(nodes[0].awaitHeard(t, "user:a", 2*len(payloads)+1)[1:])
	read := textsOf(nodes[0].readAll(t, broker.Query{Topic: "user:a"}))
	if len(read) != len(payloads) || len(heard) != 2*len(payloads) {
		t.Fatalf("heard %d and read %d", len(heard), len(read))
	}
	for i, p := range payloads {
		if heard[2*i] != p || heard[2*i+1] != p || read[i] != p {
			t.Errorf("payload %d, %.20q: kept, not kept and read are %.20q, %.20q and %.20q", i, p, heard[2*i], heard[2*i+1], read[i])
		}
	}
}

func anyName(t *testing.T, nodes []*streamNode) {
	names := []string{"user:ann", "channel:ann", "user:a{b}c", "user:{}", "user:}{", "channel:a b", "user:ünï{x}\x20", "user:*?[a]",
		"channel:a:b:", "user:" + strings.Repeat("é", 127), "channel:0", "user:%s", "user:\"'\\"}
	for i, name := range names {
		nodes[0].listen(t, name)
		if got := nodes[i%len(nodes)].keep(t, name, name, kept); got.Offset != 1 {
			t.Errorf("%q begins at %+v", name, got)
		}
	}
	for i, name := range names {
		wantFeed(t, nodes[0].awaitHeard(t, name, 2))
		got := nodes[i%len(nodes)].read(t, broker.Query{Topic: name})
		if len(got.Messages) != 1 || string(got.Messages[0].Payload) != name || got.Messages[0].Topic != name {
			t.Errorf("%q has %+v", name, got.Messages)
		}
		if err := nodes[0].Forget(context.Background(), name); err != nil {
			t.Error(err)
		}
		if i+1 < len(names) {
			wantRange(t, nodes[0].read(t, broker.Query{Topic: names[i+1], Whole: true}), false, names[i+1])
		}
	}
}

// twoRules: the publishing node's rule decides, for each message (SPEC §8).
func twoRules(t *testing.T, nodes []*streamNode) {
	first, last := nodes[0], nodes[len(nodes)-1]
	first.listen(t, "channel:x")
	if last != first {
		last.subscribe(t, broker.Topics("channel:x")...)
	}
	few, more := broker.Retention{Messages: 3, Age: time.Hour}, broker.Retention{Messages: 5, Age: 2 * time.Hour}
	whole := func(want string) {
		t.Helper()
		for _, n := range nodes {
			wantRange(t, n.read(t, broker.Query{Topic: "channel:x", Whole: true}), false, want)
		}
	}
	for i := range 5 {
		first.keep(t, "channel:x", fmt.Sprint(i), more)
	}
	whole("0 1 2 3 4")
	last.put(broker.Publication{Topic: "channel:x", Payload: []byte("not kept")})
	whole("0 1 2 3 4")
	last.keep(t, "channel:x", "5", few)
	whole("3 4 5")
	first.keep(t, "channel:x", "6", more)
	whole("3 4 5 6")
	first.keep(t, "channel:x", "7", more)
	first.keep(t, "channel:x", "8", more)
	whole("4 5 6 7 8")
	heard := first.awaitHeard(t, "channel:x", 11)
	wantFeed(t, heard)
	if got := strings.Join(textsOf(heard[1:]), " "); got != "0 1 2 3 4 not kept 5 6 7 8" {
		t.Errorf("heard %q", got)
	}
}
