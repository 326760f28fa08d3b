package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/testkit"
)

// Cluster makes n brokers that are connected with each other and not started yet.
// One of memory gives up on n > 1 with t.Skip.
type Cluster func(t *testing.T, n int) []broker.Broker

// Run runs the suite.
func Run(t *testing.T, cluster Cluster) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Cluster)
	}{
		{"DeliversToSubscribersOnly", deliversToSubscribersOnly},
		{"CountsNodes", countsNodes},
		{"OneTopicHasOneOrderForAll", oneOrder},
		{"AnIDIsPublishedOnce", publishedOnce},
		{"AnIDIsOfItsTopicAlone", idPerTopic},
		{"AnIDOfTwoAtOnceIsPublishedOnce", racingIDs},
		{"SubscribingIsNotCounted", notCounted},
		{"ComesBackAfterUnsubscribing", comesBack},
		{"BatchesKeepTheirOrderAndOutcomes", batches},
		{"ClosedBrokersRefuse", refusesWhenClosed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, cluster) })
	}
	t.Run("Streams", func(t *testing.T) { streams(t, cluster) })
	t.Run("Lasting", func(t *testing.T) { lasting(t, cluster) })
}

// node is a started broker with what it received.
type node struct {
	broker.Broker
	mu  sync.Mutex // guards got
	got map[string][]string
}

func start(t *testing.T, cluster Cluster, n int) []*node {
	t.Helper()
	var nodes []*node
	for _, b := range cluster(t, n) {
		nd := &node{Broker: b, got: map[string][]string{}}
		if err := b.Start(nd.receive); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		testkit.Eventually(t, "the broker is up", b.Up)
		nodes = append(nodes, nd)
	}
	return nodes
}

func (n *node) receive(m broker.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got[m.Topic] = append(n.got[m.Topic], string(m.Payload))
}

func (n *node) received(topic string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.got[topic])
}

func (n *node) subscribe(t *testing.T, topics ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := n.Subscribe(ctx, broker.Topics(topics...)...); err != nil {
		t.Fatal(err)
	}
}

func (n *node) publish(p broker.Publication) broker.Publication {
	batch := []broker.Publication{p}
	n.Publish(context.Background(), batch)
	return batch[0]
}

func deliversToSubscribersOnly(t *testing.T, cluster Cluster) {
	nodes := start(t, cluster, 1)
	n := nodes[0]
	n.subscribe(t, "user:a", "user:ünï{x}\x20")
	n.publish(broker.Publication{Topic: "user:b", Payload: []byte("not for us")})
	payload := strings.Repeat("\x00\xff\r\n", 1000)
	for _, topic := range []string{"user:a", "user:ünï{x}\x20"} {
		if p := n.publish(broker.Publication{Topic: topic, Payload: []byte(payload)}); p.Err != nil || p.Nodes != 1 {
			t.Errorf("%q: got %+v, want one node", topic, p.Nodes)
		}
		testkit.Eventually(t, "the message arrives", func() bool { return len(n.received(topic)) == 1 })
		if n.received(topic)[0] != payload {
			t.Errorf("%q: the payload changed", topic)
		}
	}
	if got := n.received("user:b"); got != nil {
		t.Errorf("got %q of a topic that nobody here wants", got)
	}
}

func countsNodes(t *testing.T, cluster Cluster) {
	nodes := start(t, cluster, 3)
	nodes[0].subscribe(t, "channel:x")
	nodes[2].subscribe(t, "channel:x", "channel:y")
	f := func(topic string, want int) {
		t.Helper()
		for i, n := range nodes {
			if p := n.publish(broker.Publication{Topic: topic, Payload: []byte("m")}); p.Err != nil || p.Nodes != want {
				t.Errorf("%s from node %d: got %d, %v, want %d", topic, i, p.Nodes, p.Err, want)
			}
		}
	}
	f("channel:x", 2)
	f("channel:y", 1)
	f("channel:z", 0)
	testkit.Eventually(t, "what was published arrives", func() bool {
		return len(nodes[0].received("channel:x")) == 3 && len(nodes[2].received("channel:x")) == 3 && len(nodes[2].received("channel:y")) == 3
	})
	if got := nodes[1].got; len(got) > 0 {
		t.Errorf("a node without subscription got %v", got)
	}
}

func oneOrder(t *testing.T, cluster Cluster) {
	for _, n := range []int{1, 2} {
		t.Run(fmt.Sprint(n, " nodes"), func(t *testing.T) {
			const publishers, each = 16, 100
			nodes := start(t, cluster, n)
			for _, nd := range nodes {
				nd.subscribe(t, "channel:x")
			}
			var wg sync.WaitGroup
			for p := range publishers {
				wg.Go(func() {
					for i := range each {
						out := nodes[p%n].publish(broker.Publication{Topic: "channel:x", Payload: fmt.Appendf(nil, "%d %d", p, i)})
						if out.Err != nil || out.Nodes != n {
							t.Errorf("publish: %d nodes, %v", out.Nodes, out.Err)
						}
					}
				})
			}
			wg.Wait()
			for _, nd := range nodes {
				testkit.Eventually(t, "all arrive", func() bool { return len(nd.received("channel:x")) == publishers*each })
			}
			first := nodes[0].received("channel:x")
			for i, nd := range nodes[1:] {
				if !slices.Equal(first, nd.received("channel:x")) {
					t.Errorf("node %d saw another order than node 0", i+1)
				}
			}
			eachInOrder(t, first)
		})
	}
}

// eachInOrder wants the numbers of every publisher in order.
func eachInOrder(t *testing.T, messages []string) {
	t.Helper()
	last := map[string]int{}
	for _, m := range messages {
		p, number, _ := strings.Cut(m, " ")
		i, _ := strconv.Atoi(number)
		if i != last[p] {
			t.Fatalf("publisher %s: got %d, want %d", p, i, last[p])
		}
		last[p]++
	}
}

func publishedOnce(t *testing.T, cluster Cluster) {
	n := start(t, cluster, 1)[0]
	n.subscribe(t, "user:a")
	p := broker.Publication{Topic: "user:a", Payload: []byte("m"), ID: "k", Digest: 1}
	if got := n.publish(p); got.Err != nil || got.Duplicate || got.Nodes != 1 {
		t.Errorf("first: %+v", got)
	}
	if got := n.publish(p); got.Err != nil || !got.Duplicate || got.Nodes != 0 {
		t.Errorf("again: %+v", got)
	}
	p.Digest = 2
	if got := n.publish(p); !errors.Is(got.Err, broker.ErrConflict) {
		t.Errorf("other content: %+v", got)
	}
	n.publish(broker.Publication{Topic: "user:a", Payload: []byte("end")})
	testkit.Eventually(t, "the end arrives", func() bool { return slices.Contains(n.received("user:a"), "end") })
	if got := n.received("user:a"); len(got) != 2 {
		t.Errorf("got %q", got)
	}
}

func idPerTopic(t *testing.T, cluster Cluster) {
	n := start(t, cluster, 1)[0]
	for _, topic := range []string{"user:a", "user:b", "channel:a"} {
		if got := n.publish(broker.Publication{Topic: topic, Payload: []byte("m"), ID: "k", Digest: 1}); got.Err != nil || got.Duplicate {
			t.Errorf("%s: %+v", topic, got)
		}
	}
}

func racingIDs(t *testing.T, cluster Cluster) {
	n := start(t, cluster, 1)[0]
	var sent atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if p := n.publish(broker.Publication{Topic: "user:a", Payload: []byte("m"), ID: "k", Digest: 1}); p.Err == nil && !p.Duplicate {
				sent.Add(1)
			}
		})
	}
	wg.Wait()
	if sent.Load() != 1 {
		t.Errorf("published %d times", sent.Load())
	}
}

func notCounted(t *testing.T, cluster Cluster) {
	n := start(t, cluster, 1)[0]
	n.subscribe(t, "user:a")
	n.subscribe(t, "user:a")
	if p := n.publish(broker.Publication{Topic: "user:a", Payload: []byte("m")}); p.Nodes != 1 {
		t.Errorf("subscribed twice: %d nodes", p.Nodes)
	}
	n.Unsubscribe("user:a")
	testkit.Eventually(t, "one Unsubscribe ends it", func() bool {
		return n.publish(broker.Publication{Topic: "user:a", Payload: []byte("m")}).Nodes == 0
	})
	n.Unsubscribe("user:a", "never:subscribed")
}

// comesBack changes its mind as fast as connections come and go: what was asked
// for last holds.
func comesBack(t *testing.T, cluster Cluster) {
	n := start(t, cluster, 1)[0]
	for range 200 {
		n.subscribe(t, "user:a")
		if p := n.publish(broker.Publication{Topic: "user:a", Payload: []byte("m")}); p.Nodes != 1 {
			t.Fatalf("after Subscribe returned: %d nodes", p.Nodes)
		}
		n.Unsubscribe("user:a")
	}
	n.subscribe(t, "user:a")
	before := len(n.received("user:a"))
	n.publish(broker.Publication{Topic: "user:a", Payload: []byte("last")})
	testkit.Eventually(t, "the last arrives", func() bool { return len(n.received("user:a")) > before })
}

func batches(t *testing.T, cluster Cluster) {
	n := start(t, cluster, 1)[0]
	n.subscribe(t, "user:a")
	batch := []broker.Publication{
		{Topic: "user:a", Payload: []byte("1"), ID: "k", Digest: 1},
		{Topic: "user:b", Payload: []byte("2")},
		{Topic: "user:a", Payload: []byte("1"), ID: "k", Digest: 1},
		{Topic: "user:a", Payload: []byte("x"), ID: "k", Digest: 2},
		{Topic: "user:a", Payload: []byte("3")},
	}
	n.Publish(context.Background(), batch)
	n.Publish(context.Background(), nil)
	want := []string{"1 false <nil>", "0 false <nil>", "0 true <nil>", "0 false " + broker.ErrConflict.Error(), "1 false <nil>"}
	for i, p := range batch {
		if got := fmt.Sprint(p.Nodes, " ", p.Duplicate, " ", p.Err); got != want[i] {
			t.Errorf("publication %d: got %s, want %s", i, got, want[i])
		}
	}
	testkit.Eventually(t, "both arrive in order", func() bool { return slices.Equal(n.received("user:a"), []string{"1", "3"}) })
}

func refusesWhenClosed(t *testing.T, cluster Cluster) {
	n := start(t, cluster, 1)[0]
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if p := n.publish(broker.Publication{Topic: "user:a", Payload: []byte("m")}); p.Err == nil {
		t.Error("a closed broker published")
	}
}
