package brokertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/testkit"
)

// lasting runs the part of the suite that is about lists.
func lasting(t *testing.T, cluster Cluster) {
	for _, c := range []struct {
		name string
		test func(*testing.T, []*listNode)
	}{
		{"NamesAreAddedAndRemovedOnce", changesLists},
		{"AFullListRefuses", fullLists},
		{"AChangeIsAMessage", changesAreMessages},
		{"MessagesHaveTheOrderOfTheChanges", changesInOrder},
		{"WithoutListsNoneMayBe", noLists},
		{"WhoSubscribesFirstMissesNoChange", missesNoChange},
		{"ManyReadAtOnce", manyReaders},
		{"ClosedBrokersRefuse", listsRefuseWhenClosed},
	} {
		for n := 1; n <= 2; n++ {
			t.Run(fmt.Sprint(c.name, "/", n, " nodes"), func(t *testing.T) { c.test(t, startLists(t, cluster, n)) })
		}
	}
}

type listNode struct {
	*node
	broker.Lasting
}

func startLists(t *testing.T, cluster Cluster, n int) (nodes []*listNode) {
	t.Helper()
	for _, nd := range start(t, cluster, n) {
		nodes = append(nodes, &listNode{nd, nd.Broker.(broker.Lasting)})
	}
	return nodes
}

// roomy is more names than any test adds.
const roomy = 100

func (n *listNode) add(t *testing.T, topic, name string) {
	t.Helper()
	n.change(t, broker.LastingChange{Topic: topic, Name: name, Most: roomy, Payload: []byte("+" + name)})
}

func (n *listNode) remove(t *testing.T, topic, name string) {
	t.Helper()
	n.change(t, broker.LastingChange{Topic: topic, Name: name, Remove: true, Payload: []byte("-" + name)})
}

func (n *listNode) change(t *testing.T, c broker.LastingChange) {
	t.Helper()
	if _, err := n.ChangeLasting(context.Background(), c); err != nil {
		t.Errorf("change %+v: %v", c, err)
	}
}

func (n *listNode) list(t *testing.T, topic string) []string {
	t.Helper()
	lists, err := n.Lasting.Lasting(context.Background(), topic)
	if err != nil || len(lists) != 1 {
		t.Errorf("list of %q: %q, %v", topic, lists, err)
		return nil
	}
	return lists[0]
}

func (n *listNode) wantList(t *testing.T, topic string, want ...string) {
	t.Helper()
	if got := n.list(t, topic); !slices.Equal(got, want) {
		t.Errorf("list of %q: got %q, want %q", topic, got, want)
	}
}

func changesLists(t *testing.T, nodes []*listNode) {
	a, b := nodes[0], nodes[len(nodes)-1]
	odd := "user:a{b}:c *é"
	a.wantList(t, odd)
	for _, name := range []string{"news", "a:b {c}", "ü", "news"} {
		b.add(t, odd, name)
	}
	a.add(t, "user:b", "news")
	a.wantList(t, odd, "a:b {c}", "news", "ü")
	b.remove(t, odd, "news")
	b.remove(t, odd, "news")
	b.remove(t, odd, "never there")
	a.wantList(t, odd, "a:b {c}", "ü")
	b.wantList(t, "user:b", "news")
	a.remove(t, "user:b", "news")
	b.wantList(t, "user:b")
	lists, err := a.Lasting.Lasting(t.Context(), "user:b", odd, "user:x")
	if err != nil || len(lists) != 3 || len(lists[0])+len(lists[2]) != 0 || !slices.Equal(lists[1], []string{"a:b {c}", "ü"}) {
		t.Errorf("three at once: %q, %v", lists, err)
	}
}

func fullLists(t *testing.T, nodes []*listNode) {
	a, b := nodes[0], nodes[len(nodes)-1]
	add := func(n *listNode, name string, want error) {
		t.Helper()
		_, err := n.ChangeLasting(t.Context(), broker.LastingChange{Topic: "user:a", Name: name, Most: 2, Payload: []byte(name)})
		if !errors.Is(err, want) {
			t.Errorf("add %s: got %v, want %v", name, err, want)
		}
	}
	a.subscribe(t, "user:a")
	add(a, "x", nil)
	add(b, "y", nil)
	add(a, "z", broker.ErrFull)
	add(b, "x", nil) // it has that
	a.remove(t, "user:a", "x")
	add(b, "z", nil)
	a.wantList(t, "user:a", "y", "z")
	testkit.Eventually(t, "the last message", func() bool { return len(a.received("user:a")) == 5 })
	if got := a.received("user:a"); !slices.Equal(got, []string{"x", "y", "x", "-x", "z"}) {
		t.Errorf("messages: got %q: what is refused is none", got)
	}
}

func changesAreMessages(t *testing.T, nodes []*listNode) {
	for _, n := range nodes {
		n.subscribe(t, "user:a")
	}
	payload := strings.Repeat("\x00\xff\r\n", 100)
	got, err := nodes[0].ChangeLasting(t.Context(), broker.LastingChange{Topic: "user:a", Name: "x", Most: 1, Payload: []byte(payload)})
	if err != nil || got != len(nodes) {
		t.Errorf("to %d nodes, %v, want %d", got, err, len(nodes))
	}
	for _, n := range nodes {
		testkit.Eventually(t, "it arrives", func() bool { return slices.Equal(n.received("user:a"), []string{payload}) })
		n.Unsubscribe("user:a")
	}
	testkit.Eventually(t, "nobody is there", func() bool {
		got, err := nodes[0].ChangeLasting(context.Background(), broker.LastingChange{Topic: "user:a", Name: "x", Remove: true})
		return err == nil && got == 0
	})
}

// What all nodes hear is what the list comes to.
func changesInOrder(t *testing.T, nodes []*listNode) {
	const each = 200
	for _, n := range nodes {
		n.subscribe(t, "user:a")
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			n := nodes[w%len(nodes)]
			for range each {
				name := fmt.Sprint("c", rand.IntN(3))
				if rand.IntN(2) == 0 {
					n.add(t, "user:a", name)
				} else {
					n.remove(t, "user:a", name)
				}
			}
		})
	}
	wg.Wait()
	for i, n := range nodes {
		testkit.Eventually(t, "all messages", func() bool { return len(n.received("user:a")) == 4*each })
		has := map[string]bool{}
		for _, m := range n.received("user:a") {
			has[m[1:]] = m[0] == '+'
		}
		var want []string
		for _, name := range []string{"c0", "c1", "c2"} {
			if has[name] {
				want = append(want, name)
			}
		}
		if got := n.list(t, "user:a"); !slices.Equal(got, want) {
			t.Errorf("node %d: the list is %q, messages say %q", i, got, want)
		}
	}
}

func noLists(t *testing.T, nodes []*listNode) {
	a, b := nodes[0], nodes[len(nodes)-1]
	for _, n := range nodes {
		testkit.Eventually(t, "it knows that there are none", func() bool { return !n.MayLast("user:a") && !n.MayLast("user:b") })
	}
	a.subscribe(t, "user:a")
	b.add(t, "user:a", "x")
	testkit.Eventually(t, "the message", func() bool { return len(a.received("user:a")) == 1 })
	if !a.MayLast("user:a") {
		t.Error("who heard of a list says that there is none")
	}
}

// missesNoChange has lists begin while others subscribe to their topics and read them.
func missesNoChange(t *testing.T, nodes []*listNode) {
	a, b := nodes[0], nodes[len(nodes)-1]
	for _, n := range nodes {
		testkit.Eventually(t, "it knows that there are none", func() bool { return !n.MayLast("user:0") })
	}
	var wg sync.WaitGroup
	for i := range 300 {
		topic := fmt.Sprint("user:", i)
		wg.Go(func() { b.add(t, topic, "x") })
		wg.Go(func() {
			a.subscribe(t, topic)
			may := a.MayLast(topic)
			var read []string
			if may {
				read = a.list(t, topic)
			}
			if len(read) == 0 {
				testkit.Eventually(t, topic+": the change comes as a message", func() bool { return len(a.received(topic)) == 1 })
			}
		})
		if i%10 == 9 {
			wg.Wait()
		}
	}
	wg.Wait()
}

func manyReaders(t *testing.T, nodes []*listNode) {
	const users = 50
	for i := range users {
		nodes[0].add(t, fmt.Sprint("user:", i), fmt.Sprint("c", i))
	}
	var wg sync.WaitGroup
	for r := range 200 {
		wg.Go(func() {
			n := nodes[r%len(nodes)]
			n.wantList(t, fmt.Sprint("user:", r%users), fmt.Sprint("c", r%users))
			topics, want := []string{}, [][]string{}
			for i := range users {
				topics, want = append(topics, fmt.Sprint("user:", i)), append(want, []string{fmt.Sprint("c", i)})
			}
			got, err := n.Lasting.Lasting(context.Background(), topics...)
			if err != nil || !slices.EqualFunc(got, want, slices.Equal) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	wg.Wait()
}

func listsRefuseWhenClosed(t *testing.T, nodes []*listNode) {
	n := nodes[0]
	n.add(t, "user:a", "x")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := n.Lasting.Lasting(ctx, "user:a")
	_, changeErr := n.ChangeLasting(ctx, broker.LastingChange{Topic: "user:a", Name: "y", Most: roomy})
	for _, err := range []error{err, changeErr} {
		if !errors.Is(err, broker.ErrClosed) && !errors.Is(err, broker.ErrUnavailable) {
			t.Errorf("got %v, want ErrClosed or ErrUnavailable", err)
		}
	}
}
