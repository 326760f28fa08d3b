package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

const lastingFor = 30 * 24 * time.Hour

// listed are two nodes on one Redis that know whether there are lists.
func listed(t *testing.T, addr string) (nodes []*redisbroker.Broker, missed *[2]atomic.Int64) {
	t.Helper()
	missed = &[2]atomic.Int64{}
	for i := range 2 {
		b := newRedis(t, addr, "pc", i)
		b.WatchLasting(func() { missed[i].Add(1) })
		if err := b.Start(func(broker.Message) {}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		testkit.Eventually(t, "it knows that there are no lists", func() bool { return b.Up() && !b.MayLast("user:ann") })
		nodes = append(nodes, b)
	}
	return nodes, missed
}

func TestRedis_ListsLive30DaysFromTheirLastUse(t *testing.T) {
	server := redistest.Start(t)
	nodes, _ := listed(t, server.Addr)
	look := client(t, server.Addr)
	brokertest.AddName(t, nodes[0], "user:ann", "x")
	list, mark := redisbroker.LastingKeys("pc", "user:ann")
	lives := func(when string) {
		t.Helper()
		for _, key := range []string{list, mark} {
			if ttl := look.PTTL(t.Context(), key).Val(); ttl > lastingFor || ttl < lastingFor-time.Minute {
				t.Errorf("%s: %s lives for %v", when, key, ttl)
			}
		}
	}
	lives("added")
	for _, use := range []func(){
		func() { brokertest.WantNames(t, nodes[1], "user:ann", "x") },
		func() { brokertest.AddName(t, nodes[1], "user:ann", "x") },
	} {
		look.PExpire(t.Context(), list, time.Hour)
		look.PExpire(t.Context(), mark, time.Hour)
		use()
		lives("used")
	}
	look.PExpire(t.Context(), list, time.Millisecond)
	testkit.Eventually(t, "it ends", func() bool { return look.Exists(context.Background(), list).Val() == 0 })
	brokertest.WantNames(t, nodes[1], "user:ann")
	for _, key := range look.Keys(t.Context(), "pc:*").Val() {
		if key != "pc:layout" && look.PTTL(t.Context(), key).Val() <= 0 {
			t.Errorf("%s lives for ever", key)
		}
	}
}

// What is known of lists is known on one connection: when the next one comes, it is asked
// for again, and whoever watches is told.
func TestRedis_ANodeThatHeardNothingAsksForListsAgain(t *testing.T) {
	server := redistest.Start(t)
	vip := redistest.NewVIP(t, server.Addr)
	nodes, missed := listed(t, vip.Addr)
	other := newRedis(t, server.Addr, "pc", 2)
	if err := other.Start(func(broker.Message) {}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	testkit.Eventually(t, "it is up", other.Up)
	release := vip.Hold()
	defer release()
	vip.Cut()
	brokertest.AddName(t, other, "user:ann", "x")
	before := [2]int64{missed[0].Load(), missed[1].Load()}
	release()
	for i, b := range nodes {
		testkit.Eventually(t, "it is told", func() bool { return missed[i].Load() > before[i] })
		if !b.MayLast("user:ann") {
			t.Error("it still says that there are none")
		}
		testkit.Eventually(t, "it is up", b.Up)
		brokertest.WantNames(t, b, "user:ann", "x")
	}
}

func TestRedis_ListsAreGoneWithAnEmptyRedis(t *testing.T) {
	server := redistest.Start(t)
	nodes, _ := listed(t, server.Addr)
	brokertest.AddName(t, nodes[0], "user:ann", "x")
	server.Kill()
	testkit.Eventually(t, "it is away", func() bool { return !nodes[0].Up() && !nodes[1].Up() })
	for _, b := range nodes {
		if !b.MayLast("user:bob") {
			t.Error("away, and it says that there are no lists")
		}
		_, err := b.Lasting(t.Context(), "user:ann")
		_, changeErr := b.ChangeLasting(t.Context(), broker.LastingChange{Topic: "user:ann", Name: "y", Most: 10})
		if !errors.Is(err, broker.ErrUnavailable) || !errors.Is(changeErr, broker.ErrUnavailable) {
			t.Errorf("away: %v and %v, want ErrUnavailable", err, changeErr)
		}
	}
	server.Restart(t)
	for _, b := range nodes {
		testkit.Eventually(t, "it knows that there are none", func() bool { return b.Up() && !b.MayLast("user:ann") })
		brokertest.WantNames(t, b, "user:ann")
	}
	brokertest.AddName(t, nodes[1], "user:ann", "z")
	brokertest.WantNames(t, nodes[0], "user:ann", "z")
}

// Redis that hangs, and one that takes no writes.
func TestRedis_ListsOfARedisThatDoesNotServe(t *testing.T) {
	server := redistest.Start(t)
	nodes, _ := listed(t, server.Addr)
	brokertest.AddName(t, nodes[0], "user:ann", "x")
	server.Do(t, "CONFIG", "SET", "maxmemory", "1")
	if _, err := nodes[0].ChangeLasting(t.Context(), broker.LastingChange{Topic: "user:ann", Name: "y", Most: 10}); !errors.Is(err, broker.ErrUnavailable) || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("full: %v, want ErrUnavailable of OOM", err)
	}
	brokertest.WantNames(t, nodes[0], "user:ann", "x")
	server.Do(t, "CONFIG", "SET", "maxmemory", "0")
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := nodes[0].Lasting(ctx, "user:ann"); !errors.Is(err, broker.ErrUnavailable) || time.Since(began) > time.Second {
		t.Errorf("hanging: %v after %v", err, time.Since(began))
	}
	server.Resume()
	testkit.Eventually(t, "it serves again", func() bool {
		lists, err := nodes[0].Lasting(context.Background(), "user:ann")
		return err == nil && slices.Equal(lists[0], []string{"x"})
	})
}

func BenchmarkRedis_Lasting(b *testing.B) {
	server := redistest.Start(b)
	r := newRedis(b, server.Addr, "pc", 0)
	if err := r.Start(func(broker.Message) {}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close() })
	testkit.Eventually(b, "it knows that there are no lists", func() bool { return r.Up() && !r.MayLast("user:1") })
	users := make([]string, 10_000)
	for i := range users {
		users[i] = fmt.Sprint("user:", i)
	}
	var next atomic.Int64
	read := func(b *testing.B) {
		b.SetParallelism(32)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				topic := users[next.Add(1)%int64(len(users))]
				if r.MayLast(topic) {
					if _, err := r.Lasting(context.Background(), topic); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	b.Run("nobody has any", read)
	for p := range 20_000 { // one in each partition at least
		if topic := fmt.Sprint("user:x", p); !r.MayLast(topic) {
			brokertest.AddName(b, r, topic, "x")
		}
	}
	b.Run("others have", read)
	for _, u := range users {
		for n := range 3 {
			brokertest.AddName(b, r, u, fmt.Sprint("channel", n))
		}
	}
	b.Run("each has three", read)
}
