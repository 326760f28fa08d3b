package redisbroker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestRedisSeats(t *testing.T) { seatsSuite(t, redistest.Start(t)) }

func TestRedisSeats_InOneSlotEach(t *testing.T) {
	server := redistest.StartCluster(t)
	seatsSuite(t, server)
	server.WantNoError(t, "CROSSSLOT")
}

func seatsSuite(t *testing.T, server *redistest.Server) { seatsSuiteAt(t, server.Addr, server) }

// seatsSuiteAt is for nodes that find the server behind another address.
func seatsSuiteAt(t *testing.T, addr string, server *redistest.Server) {
	brokertest.RunSeats(t, func(t *testing.T, l config.Limits, evict []func(string)) (all []broker.Seats) {
		prefix := fmt.Sprint("test", time.Now().UnixNano())
		for i := range evict {
			_, s := startSeats(t, addr, prefix, i, l, evict[i])
			all = append(all, s)
		}
		if l.ConnectionsPerUser > 0 {
			awaitNodes(t, client(t, server.Addr), prefix, len(evict))
		}
		return all
	})
}

func startSeats(t testing.TB, addr, prefix string, i int, l config.Limits, evict func(string)) (*redisbroker.Broker, broker.Seats) {
	t.Helper()
	b := newRedis(t, addr, prefix, i)
	s := b.NewSeats(l)
	s.Start(evict)
	if err := b.Start(func(broker.Message) {}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b, s
}

// client looks into Redis from outside.
func client(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func awaitNodes(t *testing.T, c *redis.Client, prefix string, n int) {
	t.Helper()
	testkit.Eventually(t, "Redis counts the nodes", func() bool {
		return c.ZCard(context.Background(), redisbroker.LeasesKey(prefix)).Val() == int64(n)
	})
}

// seatsOf is how many a user has; those of names that nodes gave up do not count.
func seatsOf(c *redis.Client, user string) (n int) {
	ctx := context.Background()
	nodesKey, seatsKey := redisbroker.SeatsKeys("pc", user)
	nodes := c.ZRange(ctx, nodesKey, 0, -1).Val()
	for _, seat := range c.ZRange(ctx, seatsKey, 0, -1).Val() {
		if name, _, _ := strings.Cut(seat, "/"); slices.Contains(nodes, name) {
			n++
		}
	}
	return n
}

// pair is two nodes with a limit of three.
func pair(t *testing.T, policy string) (*redistest.Server, *redis.Client, [2]broker.Seats, *atomic.Int64) {
	t.Helper()
	server := redistest.Start(t)
	look := client(t, server.Addr)
	var all [2]broker.Seats
	var evicted atomic.Int64
	for i := range all {
		_, all[i] = startSeats(t, server.Addr, "pc", i, config.Limits{ConnectionsPerUser: 3, PerUserPolicy: policy},
			func(string) { evicted.Add(1) })
	}
	awaitNodes(t, look, "pc", 2)
	return server, look, all, &evicted
}

// count is how many of so many more are let in.
func count(s broker.Seats, user, prefix string, n int) (in int) {
	for i := range n {
		if s.Take(user, fmt.Sprint(prefix, i)) {
			in++
		}
	}
	return in
}

func TestRedisSeats_EmptiedRedisIsWrittenAnewWithin2s(t *testing.T) {
	const users = 2000
	_, look, all, _ := pair(t, config.PolicyReject)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < users; i += 16 {
				if got := count(all[0], fmt.Sprint("u", i), fmt.Sprint("c", i, "-"), 3); got != 3 {
					t.Errorf("user %d: %d of 3 are in", i, got)
				}
			}
		})
	}
	wg.Wait()
	began := time.Now()
	look.FlushAll(t.Context())
	testkit.Eventually(t, "all seats are there again", func() bool {
		for _, u := range []int{0, 1, users / 2, users - 1} {
			if seatsOf(look, fmt.Sprint("u", u)) != 3 {
				return false
			}
		}
		return look.DBSize(context.Background()).Val() >= users+64+1 // the nodes' names in all partitions, and their leases
	})
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("rewritten after %v, want 2 s", d)
	}
	if got := count(all[1], "u7", "late", 1); got != 0 {
		t.Error("the other node let a fourth one in")
	}
}

func TestRedisSeats_RedisAwayCountsThisNodeAndOverAllAfterwards(t *testing.T) {
	server, look, all, evicted := pair(t, config.PolicyReject)
	if got := count(all[0], "ann", "a", 2); got != 2 {
		t.Fatalf("%d of 2 are in", got)
	}
	server.Kill()
	testkit.Eventually(t, "node 1 decides alone", func() bool { return all[1].Take("ann", "b0") })
	began := time.Now()
	if got := count(all[0], "ann", "more", 5); got != 1 {
		t.Errorf("node 0 let in %d more, want 1: it has 2 of 3", got)
	}
	if got := count(all[1], "ann", "b", 5); got != 3 {
		t.Errorf("node 1 has %d, want 3", got)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("11 decisions without Redis took %v", d)
	}
	all[1].Leave("ann", "b1")
	server.Restart(t)
	back := time.Now()
	testkit.Eventually(t, "all are counted", func() bool { return seatsOf(look, "ann") == 5 })
	if d := time.Since(back); d > 2*time.Second {
		t.Errorf("counted after %v, want 2 s", d)
	}
	if got := count(all[0], "ann", "late", 1) + count(all[1], "ann", "late", 1); got != 0 {
		t.Error("a sixth one was let in")
	}
	if evicted.Load() != 0 {
		t.Errorf("%d were evicted: reject closes nobody", evicted.Load())
	}
}

func TestRedisSeats_WhatIsTooMuchAfterAnOutageMakesRoom(t *testing.T) {
	server, look, all, evicted := pair(t, config.PolicyReplace)
	server.Kill()
	for _, s := range all {
		testkit.Eventually(t, "it decides alone", func() bool { return count(s, "ann", fmt.Sprintf("%p", s), 3) == 3 })
	}
	server.Restart(t)
	testkit.Eventually(t, "three are evicted", func() bool { return evicted.Load() == 3 && seatsOf(look, "ann") == 3 })
}

func TestRedisSeats_HangingRedisHoldsNobodyUp(t *testing.T) {
	server, look, all, _ := pair(t, config.PolicyReject)
	count(all[0], "ann", "a", 3)
	server.Pause()
	defer server.Resume()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			began := time.Now()
			got := all[1].Take(fmt.Sprint("user", i), fmt.Sprint("c", i))
			if d := time.Since(began); !got || d > 1500*time.Millisecond {
				t.Errorf("got %v after %v, want a seat within the second", got, d)
			}
		})
	}
	wg.Wait()
	began := time.Now()
	if !all[1].Take("ann", "b") {
		t.Error("refused, though this node has none of this user")
	}
	if d := time.Since(began); d > 100*time.Millisecond {
		t.Errorf("Redis is known to be away, and was waited for: %v", d)
	}
	// What left while Redis hung is not counted afterwards.
	all[0].Leave("ann", "a0")
	all[0].Leave("ann", "a1")
	server.Resume()
	testkit.Eventually(t, "all are counted", func() bool { return seatsOf(look, "user7") == 1 && seatsOf(look, "ann") == 2 })
	if got := count(all[1], "ann", "late", 2); got != 1 {
		t.Errorf("%d more were let in, want 1", got)
	}
}

func TestRedisSeats_AClosedNodeGivesAllBackAtOnce(t *testing.T) {
	server := redistest.Start(t)
	look := client(t, server.Addr)
	l := config.Limits{ConnectionsPerUser: 3, PerUserPolicy: config.PolicyReject}
	b, leaving := startSeats(t, server.Addr, "pc", 0, l, func(string) {})
	_, staying := startSeats(t, server.Addr, "pc", 1, l, func(string) {})
	awaitNodes(t, look, "pc", 2)
	count(leaving, "ann", "a", 3)
	if staying.Take("ann", "b") {
		t.Error("a fourth one was let in")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := count(staying, "ann", "b", 5); got != 3 {
		t.Errorf("%d of the other node's are in, want 3", got)
	}
}

// TestRedisSeats_ASilentNodeStartsOver: what a node wrote before it was silent is
// void, as others may have given its seats away.
func TestRedisSeats_ASilentNodeStartsOver(t *testing.T) {
	t.Parallel() // for its waits
	server := redistest.Start(t)
	look, vip := client(t, server.Addr), redistest.NewVIP(t, server.Addr)
	l := config.Limits{ConnectionsPerUser: 3, PerUserPolicy: config.PolicyReject}
	_, silent := startSeats(t, vip.Addr, "pc", 0, l, func(string) {})
	_, other := startSeats(t, server.Addr, "pc", 1, l, func(string) {})
	awaitNodes(t, look, "pc", 2)
	count(silent, "ann", "a", 2)
	release := vip.Hold()
	defer release()
	age(t, look, "node0:")
	testkit.Eventually(t, "its seats are void", func() bool { return seatsOf(look, "ann") == 0 })
	if in := count(other, "ann", "b", 3); in != 3 {
		t.Errorf("%d are in, want 3: a silent node is not counted", in)
	}
	release()
	testkit.Eventually(t, "it is counted again", func() bool { return seatsOf(look, "ann") == 5 })
	if other.Take("ann", "late") || silent.Take("ann", "late") {
		t.Error("a sixth one was let in")
	}
}

// age lets a lease look as if its node's last beat were six seconds ago.
func age(t *testing.T, look *redis.Client, node string) {
	t.Helper()
	key := redisbroker.LeasesKey("pc")
	for _, n := range look.ZRangeWithScores(t.Context(), key, 0, -1).Val() {
		if strings.HasPrefix(n.Member.(string), node) {
			n.Score -= 6e6
			look.ZAdd(t.Context(), key, n)
		}
	}
}

// A node that nobody buried, because it is the only one, finds out by itself; and one
// whose beat comes late is refused even before others know.
func TestRedisSeats_ANodeThatWasSilentItselfStartsOver(t *testing.T) {
	server := redistest.Start(t)
	look := client(t, server.Addr)
	_, s := startSeats(t, server.Addr, "pc", 0, config.Limits{ConnectionsPerUser: 3, PerUserPolicy: config.PolicyReject}, func(string) {})
	awaitNodes(t, look, "pc", 1)
	count(s, "ann", "a", 2)
	age(t, look, "node0:1")
	testkit.Eventually(t, "it has another name", func() bool {
		names := look.ZRange(context.Background(), redisbroker.LeasesKey("pc"), 0, -1).Val()
		return len(names) == 1 && names[0] == "node0:2" && seatsOf(look, "ann") == 2
	})
	nodes, _ := redisbroker.SeatsKeys("pc", "ann")
	if names := look.ZRange(t.Context(), nodes, 0, -1).Val(); !slices.Equal(names, []string{"node0:2"}) {
		t.Errorf("seats of %q count", names)
	}
}

// A partition that was lost alone, as in a cluster, is noticed by what is written
// there, and the node counts on under another name.
func TestRedisSeats_ALostPartitionIsWrittenAgain(t *testing.T) {
	_, look, all, _ := pair(t, config.PolicyReject)
	count(all[0], "ann", "a", 2)
	nodes, seats := redisbroker.SeatsKeys("pc", "ann")
	look.ZRem(t.Context(), nodes, "node0:1")
	look.Del(t.Context(), seats)
	if !all[0].Take("ann", "b") {
		t.Error("the third one was refused")
	}
	testkit.Eventually(t, "all three are counted", func() bool { return seatsOf(look, "ann") == 3 })
	testkit.Eventually(t, "also by the other node", func() bool { return !all[1].Take("ann", "late") })
}

// Seats are written, so that a node learns with its next beat that the master is one no
// more, and counts at the new one.
func TestRedisSeats_ADemotedMasterIsLeft(t *testing.T) {
	old, next := redistest.Start(t), redistest.Start(t)
	vip := redistest.NewVIP(t, old.Addr)
	_, s := startSeats(t, vip.Addr, "pc", 0, config.Limits{ConnectionsPerUser: 3, PerUserPolicy: config.PolicyReject}, func(string) {})
	awaitNodes(t, client(t, old.Addr), "pc", 1)
	count(s, "ann", "a", 2)
	vip.Point(next.Addr)
	host, port, _ := strings.Cut(next.Addr, ":")
	old.Do(t, "REPLICAOF", host, port)
	look := client(t, next.Addr)
	testkit.Eventually(t, "the seats are at the new master", func() bool { return seatsOf(look, "ann") == 2 })
	if in := count(s, "ann", "b", 2); in != 1 {
		t.Errorf("%d more are in, want 1", in)
	}
}

func TestRedisSeats_LeavesNothingForEver(t *testing.T) {
	_, look, all, evicted := pair(t, config.PolicyReplace)
	count(all[0], "ann", "a", 3)
	count(all[1], "ann", "b", 3)
	testkit.Eventually(t, "the old ones are evicted", func() bool { return evicted.Load() == 3 })
	for _, key := range look.Keys(t.Context(), "*").Val() {
		if key == "pc:layout" {
			continue // says what all others mean
		}
		if ttl := look.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > time.Hour {
			t.Errorf("%s lives for %v", key, ttl)
		}
		if strings.Count(key, "{") != 1 || strings.Count(key, "}") != 1 || !strings.HasPrefix(key, "pc:{") {
			t.Errorf("%s: not under one hash tag", key)
		}
	}
	// The expiry of what lives is put off in time, also while others come and go.
	_, ann := redisbroker.SeatsKeys("pc", "ann")
	look.PExpire(t.Context(), ann, time.Minute)
	n := 0
	testkit.Eventually(t, "the seats are renewed", func() bool {
		n++
		all[0].Take("bob", fmt.Sprint("b", n))
		all[1].Take("bob", fmt.Sprint("b", n))
		return look.PTTL(context.Background(), ann).Val() > 10*time.Minute
	})
}

func BenchmarkRedisSeats_TakeAndLeave(b *testing.B) {
	server := redistest.Start(b)
	_, s := startSeats(b, server.Addr, "pc", 0, config.Limits{ConnectionsPerUser: 3, PerUserPolicy: config.PolicyReject}, func(string) {})
	testkit.Eventually(b, "it holds a lease", func() bool {
		return client(b, server.Addr).ZCard(context.Background(), redisbroker.LeasesKey("pc")).Val() > 0
	})
	var next atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			user := fmt.Sprint(next.Add(1))
			s.Take(user, user)
			s.Leave(user, user)
		}
	})
}
