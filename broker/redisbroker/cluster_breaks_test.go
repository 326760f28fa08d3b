package redisbroker_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker"
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
