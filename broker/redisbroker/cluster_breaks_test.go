package redisbroker_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// spread are topics in many partitions.
func spread(n int) (topics []string) {
	for i := range n {
		topics = append(topics, fmt.Sprint("channel:", i))
	}
	return topics
}

// traffic keeps messages on every topic until stop, each published until it is taken. It
// returns how many of each were, which then all must have come to every node, in order.
type traffic struct {
	nodes  []*witness
	topics []string
	stop   func() (each int)
}

func begin(t *testing.T, nodes []*witness, topics []string) *traffic {
	t.Helper()
	for _, n := range nodes {
		n.listen(t, topics...)
	}
	var over atomic.Bool
	var each int
	var work sync.WaitGroup
	work.Go(func() {
		for ; !over.Load(); each++ {
			batch := make([]broker.Publication, len(topics))
			for i, topic := range topics {
				text := fmt.Sprint(each)
				batch[i] = broker.Publication{Topic: topic, Payload: []byte(text), ID: text, Digest: 1, Keep: keptLong}
			}
			for left := batch; len(left) > 0 && t.Context().Err() == nil; {
				nodes[each%len(nodes)].Publish(t.Context(), left)
				var again []broker.Publication
				for _, p := range left {
					if p.Err != nil {
						again = append(again, p)
					}
				}
				if left = again; len(left) > 0 {
					time.Sleep(5 * time.Millisecond)
				}
			}
		}
	})
	stop := func() int {
		over.Store(true)
		work.Wait()
		return each
	}
	t.Cleanup(func() { stop() })
	return &traffic{nodes, topics, stop}
}

// await waits until every node has all of it.
func (f *traffic) await(t *testing.T) {
	t.Helper()
	each := f.stop()
	for _, topic := range f.topics {
		for i, n := range f.nodes {
			if !testkit.Until(func() bool { return n.count(topic, broker.Published) == each }) {
				t.Fatalf("node %d: %s: %d of %d, log:\n%s", i, topic, n.count(topic, broker.Published), each, &n.log)
			}
			if lost := n.count(topic, broker.Lost); lost > 0 {
				t.Errorf("node %d: %s: told of %d losses", i, topic, lost)
			}
		}
	}
}

// slotsOf are the slots of topics that a primary of the beginning has.
func slotsOf(t *testing.T, c *redistest.Cluster, primary int, topics []string) (slots []int) {
	t.Helper()
	for _, topic := range topics {
		slot, err := strconv.Atoi(c.Primaries[0].Do(t, "CLUSTER", "KEYSLOT", redisbroker.RecordKey("pc", topic)))
		if err != nil {
			t.Fatal(err)
		}
		if slot*len(c.Primaries)/16384 == primary && !slices.Contains(slots, slot) {
			slots = append(slots, slot)
		}
	}
	return slots
}

// The slots of the first primary move, one after the other, with what is kept there, to
// a server that comes; then they move to another one, and it goes.
func TestRedisCluster_SlotsMoveUnderLoad(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3, 0)
	f := begin(t, witnesses(t, c.Primaries[0].Addr, c.Primaries[1].Addr), spread(100))
	slots := slotsOf(t, c, 0, f.topics)
	fresh := c.AddShard(t)
	for _, slot := range slots {
		c.Move(t, c.Primaries[0], fresh, slot, slot)
	}
	testkit.Eventually(t, "all is up", func() bool { return f.nodes[0].Up() && f.nodes[1].Up() })
	for _, slot := range slots {
		c.Move(t, fresh, c.Primaries[1], slot, slot)
	}
	fresh.Kill()
	f.await(t)
}

// A primary dies, and its replica takes its place.
func TestRedisCluster_APrimaryIsKilled(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3, 1)
	f := begin(t, witnesses(t, c.Primaries[0].Addr, c.Primaries[1].Addr), spread(100))
	c.Primaries[1].Kill()
	redistest.WaitPrimary(t, c.Replicas[1][0])
	promoted := time.Now()
	testkit.Eventually(t, "all is up", func() bool { return f.nodes[0].Up() && f.nodes[1].Up() })
	if d := time.Since(promoted); d > 2*time.Second {
		t.Errorf("up after %v, want 2 s", d)
	}
	f.await(t)
}

// The replica takes over by command, and the old primary stays as a replica.
func TestRedisCluster_FailoverByCommand(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3, 1)
	f := begin(t, witnesses(t, c.Primaries[0].Addr, c.Primaries[1].Addr), spread(100))
	c.Failover(t, c.Replicas[0][0], false)
	testkit.Eventually(t, "all is up", func() bool { return f.nodes[0].Up() && f.nodes[1].Up() })
	f.await(t)
}

// beside are topics of one partition that a primary of the beginning has.
func beside(t *testing.T, c *redistest.Cluster, primary int) (slot int, topics []string) {
	t.Helper()
	slot = slotsOf(t, c, primary, spread(100))[0]
	for _, topic := range spread(500) {
		if c.Primaries[0].Do(t, "CLUSTER", "KEYSLOT", redisbroker.RecordKey("pc", topic)) == strconv.Itoa(slot) {
			topics = append(topics, topic)
		}
	}
	return slot, topics
}

// While a slot moves neither server executes what needs a key that is there and one that
// is not. Such a push waits, and nobody else's; one that needs its id only is executed by
// the server to come, and heard by those who listen at the other.
func TestRedisCluster_PushesToASlotThatMovesWaitAndOthersDoNot(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3, 0)
	n := witnesses(t, c.Primaries[2].Addr)[0]
	slot, topics := beside(t, c, 0)
	kept, plain := topics[0], topics[1]
	var others []string
	for _, topic := range spread(100) {
		if !slices.Contains(topics, topic) {
			others = append(others, topic)
		}
	}
	n.listen(t, append(others, kept, plain)...)
	n.keep(t, kept, "a")
	c.Primaries[1].Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.Primaries[0].Do(t, "CLUSTER", "MYID"))
	c.Primaries[0].Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.Primaries[1].Do(t, "CLUSTER", "MYID"))

	if p := n.put(broker.Publication{Topic: plain, Payload: []byte("once"), ID: "once", Digest: 1}); p.Err != nil || p.Nodes != 1 {
		t.Errorf("a push with an id: %d nodes, %v", p.Nodes, p.Err)
	}
	testkit.Eventually(t, "it is heard", func() bool { return n.count(plain, broker.Published) == 1 })
	waits := make(chan broker.Publication, 1)
	go func() {
		waits <- n.put(broker.Publication{Topic: kept, Payload: []byte("b"), ID: "b", Digest: 1, Keep: keptLong})
	}()
	behind := make(chan broker.Publication, 1)
	go func() {
		behind <- n.put(broker.Publication{Topic: plain, Payload: []byte("behind"), ID: "behind", Digest: 1})
	}()
	began := time.Now()
	for i, topic := range others {
		n.keep(t, topic, strconv.Itoa(i))
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("%d pushes to others took %v", len(others), d)
	}
	select {
	case p := <-waits:
		t.Errorf("it did not wait: %v", p.Err)
		waits <- p
	default:
	}
	c.Move(t, c.Primaries[0], c.Primaries[1], slot, slot)
	if p := <-waits; p.Err != nil {
		t.Errorf("the push that waited: %v", p.Err)
	}
	if p := <-behind; p.Err != nil {
		t.Errorf("a push that perhaps waited behind it: %v", p.Err)
	}
	n.await(t, kept, "a b", 0)
	if p := n.put(broker.Publication{Topic: plain, Payload: []byte("once"), ID: "once", Digest: 1}); !p.Duplicate {
		t.Errorf("the id was forgotten: %+v", p)
	}
}

// A server comes and takes slots from one, and then hands them to another and is removed
// for good, under pushes with and without history: nothing is lost, comes twice or out of
// order, and nobody stays connected to a server without slots.
func TestRedisCluster_AServerComesAndIsRemovedForGood(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3, 0)
	nodes := witnesses(t, c.Primaries[2].Addr, c.Primaries[1].Addr)
	f := begin(t, nodes, spread(40))
	ids := beginUnkept(t, nodes)
	tags := tagSlots(t, c, 0)
	fresh := c.AddShard(t)
	for _, slot := range tags {
		c.Move(t, c.Primaries[0], fresh, slot, slot)
	}
	abandoned(t, c.Primaries[0])
	for _, slot := range tags {
		c.Move(t, fresh, c.Primaries[1], slot, slot)
	}
	abandoned(t, fresh)
	c.Remove(t, fresh)
	testkit.Eventually(t, "all is up", func() bool { return nodes[0].Up() && nodes[1].Up() })
	ids()
	f.await(t)
	abandoned(t, fresh)
}

// abandoned waits until nobody of ours is connected to a server, or subscribed there.
func abandoned(t *testing.T, s *redistest.Server) {
	t.Helper()
	testkit.Eventually(t, "nobody is connected to a server without slots", func() bool {
		return !strings.Contains(s.Try("CLIENT", "LIST"), "pushcart-") && len(s.Subscribers(t)) == 0
	})
}

// tagSlots are the slots of the partitions that a primary of the beginning has.
func tagSlots(t *testing.T, c *redistest.Cluster, primary int) (slots []int) {
	t.Helper()
	for p := range link.Partitions {
		slot, err := strconv.Atoi(c.Primaries[0].Do(t, "CLUSTER", "KEYSLOT", link.NewKeys("pc", 0).In(p)))
		if err != nil {
			t.Fatal(err)
		}
		if slot*len(c.Primaries)/16384 == primary {
			slots = append(slots, slot)
		}
	}
	return slots
}

// moves is how often a topic of beginUnkept moves: with each, what was on its way from the
// server before may be lost, as nothing is kept (SPEC §8: at most once).
const moves = 2

// beginUnkept keeps pushes with an id and without history on topics, one after the other,
// each until it is taken. The end waits until all came to both nodes, in order, but for one
// with each move.
func beginUnkept(t *testing.T, nodes []*witness) (end func()) {
	t.Helper()
	var topics []string
	for i := range 20 {
		topics = append(topics, fmt.Sprint("channel:unkept", i))
	}
	for _, n := range nodes {
		n.listen(t, topics...)
	}
	var over atomic.Bool
	var work sync.WaitGroup
	taken := make([][]string, len(topics))
	work.Go(func() {
		for i := 0; !over.Load(); i++ {
			for at, topic := range topics {
				text := strconv.Itoa(i)
				if p := nodes[i%2].put(broker.Publication{Topic: topic, Payload: []byte(text), ID: text, Digest: 1}); p.Err == nil && p.Nodes == len(nodes) {
					taken[at] = append(taken[at], text)
				}
			}
		}
	})
	stop := sync.OnceFunc(func() {
		over.Store(true)
		work.Wait()
	})
	t.Cleanup(stop)
	return func() {
		stop()
		for at, topic := range topics {
			for i, n := range nodes {
				testkit.Eventually(t, fmt.Sprintf("node %d: all that was said to have gone to both came on %s", i, topic), func() bool {
					got, _ := n.text(topic)
					return missing(taken[at], strings.Fields(got)) <= moves
				})
				got, _ := n.text(topic)
				if texts := strings.Fields(got); !slices.IsSortedFunc(texts, byNumber) || len(slices.Compact(slices.Clone(texts))) != len(texts) {
					t.Errorf("node %d: %s: out of order, or twice: %s", i, topic, got)
				}
			}
			if len(taken[at]) == 0 {
				t.Errorf("%s: nothing went to both nodes", topic)
			}
		}
	}
}

func byNumber(a, b string) int {
	m, _ := strconv.Atoi(a)
	n, _ := strconv.Atoi(b)
	return m - n
}

// missing counts those of some that are not among others.
func missing(some, others []string) (n int) {
	have := map[string]bool{}
	for _, o := range others {
		have[o] = true
	}
	for _, s := range some {
		if !have[s] {
			n++
		}
	}
	return n
}

// All of a Cluster dies and comes back empty: a node is subscribed to everything again.
func TestRedisCluster_AllIsSubscribedAnew(t *testing.T) {
	t.Parallel()
	const topics = 5_000
	c := redistest.NewCluster(t, 3, 0)
	b, got := started(t, c.Primaries[1].Addr)
	all := make([]string, topics)
	for i := range all {
		all[i] = fmt.Sprint("user:", i)
	}
	if err := b.Subscribe(t.Context(), broker.Topics(all...)...); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is up", b.Up)
	for _, s := range c.Primaries {
		s.Kill()
	}
	testkit.Eventually(t, "it is down", func() bool { return !b.Up() })
	for _, s := range c.Primaries {
		s.RestartSaved(t) // nothing was saved but the cluster's layout
	}
	testkit.Eventually(t, "it is up again", b.Up)
	before := got.Load()
	batch := make([]broker.Publication, topics)
	for i := range batch {
		batch[i] = broker.Publication{Topic: all[i], Payload: []byte("m")}
	}
	b.Publish(t.Context(), batch)
	for _, p := range batch {
		if p.Err != nil || p.Nodes != 1 {
			t.Fatalf("up, and not subscribed to %s: %d nodes, %v", p.Topic, p.Nodes, p.Err)
		}
	}
	testkit.Eventually(t, "all arrive", func() bool { return got.Load() == before+topics })
}
