package redisbroker_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

// layoutNode is a node with seats that is not started yet.
func layoutNode(t *testing.T, addr string) (*observed, broker.Seats) {
	t.Helper()
	o := &observed{}
	b, err := redisbroker.New(config.Redis{Addresses: []string{addr}, Prefix: "pc"}, "a",
		metrics.New("test", ""), slog.New(slog.NewTextHandler(&o.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	o.Broker = b
	s := b.NewSeats(config.Limits{ConnectionsPerUser: 1, PerUserPolicy: config.PolicyReject})
	s.Start(func(string) {})
	return o, s
}

func TestRedis_TheFirstNodeNotesTheLayout(t *testing.T) {
	server := redistest.Start(t)
	observe(t, "a", config.Redis{Addresses: []string{server.Addr}, Prefix: "pc"})
	observe(t, "b", config.Redis{Addresses: []string{server.Addr}, Prefix: "pc"})
	if got, ttl := server.Do(t, "GET", "pc:layout"), server.Do(t, "TTL", "pc:layout"); got != "2" || ttl != "-1" {
		t.Errorf("layout %q for %s s, want 2 for ever", got, ttl)
	}
	server.Do(t, "FLUSHALL")
	server.Do(t, "CLIENT", "KILL", "TYPE", "pubsub")
	testkit.Eventually(t, "the layout is noted in an emptied Redis", func() bool { return server.Do(t, "GET", "pc:layout") == "2" })
}

func TestRedis_DoesNotStartWithAnotherLayout(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, "SET", "pc:layout", "0")
	o, _ := layoutNode(t, server.Addr)
	err := o.Start(func(broker.Message) {})
	if !errors.Is(err, link.ErrLayout) {
		t.Fatalf("start: %v, want ErrLayout", err)
	}
	for _, want := range []string{"pc:layout", `"0"`, `"2"`, "redis.prefix"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
	if got := server.Do(t, "DBSIZE"); got != "1" {
		t.Errorf("%s keys, want the layout's alone", got)
	}
}

// Redis is away while the node starts; what comes then has another layout. The node
// stays as it is without Redis, and says why, until it is put right.
func TestRedis_StaysDownWhileRedisHasAnotherLayout(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	vip := redistest.NewVIP(t, server.Addr)
	o, seats := layoutNode(t, vip.Addr)
	if err := o.Start(func(broker.Message) {}); err != nil {
		t.Fatal(err)
	}
	other := redistest.Start(t)
	other.Do(t, "SET", "pc:layout", "3")
	vip.Point(other.Addr)
	testkit.Eventually(t, "health says so", func() bool { return errors.Is(o.Health(), link.ErrLayout) })
	testkit.Eventually(t, "the log has an error", func() bool { return o.log.Has("level=ERROR") && o.log.Has("pc:layout") })
	if p := publish(o); !errors.Is(p.Err, broker.ErrUnavailable) {
		t.Errorf("publish: %v, want ErrUnavailable", p.Err)
	}
	for i, want := range []bool{true, false} {
		if got := seats.Take("ann", fmt.Sprint("c", i)); got != want {
			t.Errorf("connection %d: let in %v, want %v: this node's own are counted", i, got, want)
		}
	}
	if got := other.Do(t, "KEYS", "*"); got != "[pc:layout]" {
		t.Errorf("%s were written", got)
	}
	other.Do(t, "DEL", "pc:layout")
	testkit.Eventually(t, "it is up", o.Up)
	if p := publish(o); p.Err != nil {
		t.Errorf("publish: %v", p.Err)
	}
}
