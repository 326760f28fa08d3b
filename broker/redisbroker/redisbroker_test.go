package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestRedis(t *testing.T) { suite(t, redistest.Start(t)) }

// A server in cluster mode refuses what touches more than one slot.
func TestRedis_InOneSlotEach(t *testing.T) {
	server := redistest.StartCluster(t)
	suite(t, server)
	server.WantNoError(t, "CROSSSLOT")
}

func suite(t *testing.T, server *redistest.Server) {
	brokertest.Run(t, func(t *testing.T, n int) (all []broker.Broker) {
		prefix := fmt.Sprint("test", time.Now().UnixNano())
		for i := range n {
			all = append(all, newRedis(t, server.Addr, prefix, i))
		}
		return all
	})
}

func newRedis(t testing.TB, addr, prefix string, i int) *redisbroker.Broker {
	t.Helper()
	b, err := redisbroker.New(config.Redis{Addresses: []string{addr}, Prefix: prefix}, fmt.Sprint("node", i),
		metrics.New("test", ""), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// started is a Redis broker that counts what it receives.
func started(t testing.TB, addr string) (*redisbroker.Broker, *atomic.Int64) {
	t.Helper()
	b, got := newRedis(t, addr, "pc", 0), &atomic.Int64{}
	if err := b.Start(func(broker.Message) { got.Add(1) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b, got
}

func publish(b broker.Broker) broker.Publication {
	batch := []broker.Publication{{Topic: "user:a", Payload: []byte("m")}}
	b.Publish(context.Background(), batch)
	return batch[0]
}

func TestRedis_DownAtStartIsTriedAgain(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	b, got := started(t, server.Addr)
	if p := publish(b); !errors.Is(p.Err, broker.ErrUnavailable) {
		t.Errorf("publish: got %v, want ErrUnavailable", p.Err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Subscribe(ctx, broker.Topics("user:a")...); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("subscribe: got %v, want ErrUnavailable", err)
	}
	server.Restart(t)
	testkit.Eventually(t, "it is up", b.Up)
	testkit.Eventually(t, "what was wanted is subscribed to", func() bool { publish(b); return got.Load() > 0 })
}

func TestRedis_KilledAndRestartedIsSubscribedAnewWithin2s(t *testing.T) {
	const topics = 20_000
	server := redistest.Start(t)
	b, got := started(t, server.Addr)
	all := make([]string, topics)
	for i := range all {
		all[i] = fmt.Sprint("user:", i)
	}
	if err := b.Subscribe(t.Context(), broker.Topics(append(all, "user:a")...)...); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is up", b.Up)
	server.Kill()
	testkit.Eventually(t, "it is down", func() bool { return !b.Up() })
	server.Restart(t)
	began := time.Now()
	testkit.Eventually(t, "it is up again", b.Up)
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("up after %v, want 2 s", d)
	}
	before := got.Load()
	batch := []broker.Publication{{Topic: all[0], Payload: []byte("m")}, {Topic: all[topics-1], Payload: []byte("m")}}
	b.Publish(t.Context(), batch)
	if batch[0].Nodes != 1 || batch[1].Nodes != 1 {
		t.Errorf("up, and not subscribed to all: %+v", batch)
	}
	testkit.Eventually(t, "both arrive", func() bool { return got.Load() == before+2 })
}

func TestRedis_HangingFailsWithin3sAndRecovers(t *testing.T) {
	server := redistest.Start(t)
	b, _ := started(t, server.Addr)
	testkit.Eventually(t, "it is up", b.Up)
	server.Pause()
	defer server.Resume()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			began := time.Now()
			p := publish(b)
			if d := time.Since(began); !errors.Is(p.Err, broker.ErrUnavailable) || d > 3*time.Second {
				t.Errorf("got %v after %v, want ErrUnavailable within 3 s", p.Err, d)
			}
		})
	}
	wg.Wait()
	testkit.Eventually(t, "it is down", func() bool { return !b.Up() })
	server.Resume()
	testkit.Eventually(t, "it is up again", b.Up)
	if p := publish(b); p.Err != nil {
		t.Errorf("afterwards: %v", p.Err)
	}
}

func BenchmarkRedis_Publish(b *testing.B) { benchmarkPublish(b, broker.Retention{}) }

// With history: 100 messages are kept.
func BenchmarkRedis_PublishKept(b *testing.B) {
	benchmarkPublish(b, broker.Retention{Messages: 100, Age: time.Hour})
}

func benchmarkPublish(b *testing.B, keep broker.Retention) {
	server := redistest.Start(b)
	r, _ := started(b, server.Addr)
	testkit.Eventually(b, "it is up", r.Up)
	for _, callers := range []int{16, 64, 512} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			b.SetParallelism(callers)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r.Publish(context.Background(), []broker.Publication{{Topic: "user:a", Payload: []byte("m"), Keep: keep}})
				}
			})
		})
	}
}
