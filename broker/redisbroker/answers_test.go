package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

// observed is a started broker with what it received and logged.
type observed struct {
	*redisbroker.Broker
	got atomic.Int64
	log testkit.Log
}

func observe(t *testing.T, node string, cfg config.Redis) *observed {
	t.Helper()
	o := &observed{}
	b, err := redisbroker.New(cfg, node, metrics.New("test", ""), slog.New(slog.NewTextHandler(&o.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	o.Broker = b
	if err := b.Start(func(broker.Message) { o.got.Add(1) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	testkit.Eventually(t, node+" is up", b.Up)
	return o
}

// A master behind a VIP is demoted, and nobody's connection is cut: pushes that it
// takes from then on are lost, so it must be left, for publishing and for receiving.
func TestRedis_ADemotedMasterIsLeft(t *testing.T) {
	t.Parallel() // the node that only listens finds out with its next probe
	old, next := redistest.Start(t), redistest.Start(t)
	vip := redistest.NewVIP(t, old.Addr)
	cfg := config.Redis{Addresses: []string{vip.Addr}, Prefix: "pc"}
	a, b := observe(t, "a", cfg), observe(t, "b", cfg)
	if err := errors.Join(a.Subscribe(t.Context(), broker.Topics("user:x")...), b.Subscribe(t.Context(), broker.Topics("user:x")...)); err != nil {
		t.Fatal(err)
	}
	vip.Point(next.Addr)
	host, port, _ := strings.Cut(next.Addr, ":")
	old.Do(t, "REPLICAOF", host, port)

	p := broker.Publication{Topic: "user:x", Payload: []byte("m")}
	testkit.Eventually(t, "nobody is at the old master", func() bool {
		return strings.Contains(old.Do(t, "PUBSUB", "NUMSUB", redisbroker.ChannelKey("pc", 0, "user:x")), " 0")
	})
	testkit.Eventually(t, "both nodes are at the new master", func() bool {
		batch := []broker.Publication{p}
		a.Publish(context.Background(), batch)
		return batch[0].Err == nil && batch[0].Nodes == 2
	})
	for _, o := range []*observed{a, b} {
		// A connection that is just made finds the other server before anybody writes.
		if !o.log.Has("READONLY") && !o.log.Has("another server") {
			t.Errorf("the log does not say why Redis was left:\n%s", &o.log)
		}
		testkit.Eventually(t, "it is well", func() bool { return o.Health() == nil })
	}
	before := b.got.Load()
	batch := []broker.Publication{p}
	a.Publish(t.Context(), batch)
	testkit.Eventually(t, "the other node receives", func() bool { return b.got.Load() > before })
}

// The moment of the demotion: what was published just after is not said to be sent.
func TestRedis_APushToADemotedMasterIsRefused(t *testing.T) {
	old := redistest.Start(t)
	o := observe(t, "a", config.Redis{Addresses: []string{old.Addr}, Prefix: "pc"})
	testkit.Eventually(t, "a push is taken", func() bool { return publish(o).Err == nil })
	old.Do(t, "REPLICAOF", "127.0.0.1", "1")
	testkit.Eventually(t, "pushes are refused", func() bool { return errors.Is(publish(o).Err, broker.ErrUnavailable) })
	for range 20 {
		if p := publish(o); p.Err == nil {
			t.Fatalf("taken by a replica: %+v", p)
		}
	}
	testkit.Eventually(t, "health says what Redis answered", func() bool {
		err := o.Health()
		return err != nil && strings.Contains(err.Error(), "READONLY")
	})
	old.Do(t, "REPLICAOF", "NO", "ONE")
	testkit.Eventually(t, "it is well again", func() bool { return o.Health() == nil && publish(o).Err == nil })
}

// A Redis that takes no writes still carries messages: pushes without id go on,
// those with one are refused, and health, metric and log say why.
func TestRedis_AFullOneStillCarriesMessages(t *testing.T) {
	server := redistest.Start(t)
	o := observe(t, "a", config.Redis{Addresses: []string{server.Addr}, Prefix: "pc"})
	if err := o.Subscribe(t.Context(), broker.Topics("user:a")...); err != nil {
		t.Fatal(err)
	}
	f := func(answer string, begin, end []any) {
		t.Helper()
		server.Do(t, begin...)
		testkit.Eventually(t, answer+" shows in health", func() bool {
			publish(o)
			err := o.Health()
			return err != nil && strings.Contains(err.Error(), answer)
		})
		if !o.log.Has(answer) {
			t.Errorf("%s is not in the log", answer)
		}
		testkit.Eventually(t, answer+": pushes without id go on", func() bool {
			p := publish(o)
			return p.Err == nil && p.Nodes == 1
		})
		with := []broker.Publication{{Topic: "user:a", Payload: []byte("m"), ID: "k" + answer}}
		o.Publish(t.Context(), with)
		if !errors.Is(with[0].Err, broker.ErrUnavailable) {
			t.Errorf("%s: with an id: %+v", answer, with[0])
		}
		server.Do(t, end...)
		testkit.Eventually(t, "health is back", func() bool { publish(o); return o.Health() == nil })
	}
	f("OOM", []any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"})
	f("NOREPLICAS", []any{"CONFIG", "SET", "min-replicas-to-write", "1"}, []any{"CONFIG", "SET", "min-replicas-to-write", "0"})
}

// A node that comes while Redis takes no writes works as well as it can.
func TestRedis_StartsWhileWritesAreRefused(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, "CONFIG", "SET", "min-replicas-to-write", "1")
	o := observe(t, "a", config.Redis{Addresses: []string{server.Addr}, Prefix: "pc"})
	if err := o.Health(); err == nil || !strings.Contains(err.Error(), "NOREPLICAS") {
		t.Errorf("health: %v", err)
	}
	if p := publish(o); p.Err != nil {
		t.Errorf("publish: %v", p.Err)
	}
}

// Credentials that Redis does not take are named in the log, not only an absence.
func TestRedis_SaysWhatRedisAnswered(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, "CONFIG", "SET", "requirepass", "right")
	f := func(password, want string) {
		t.Helper()
		o := &observed{}
		b, err := redisbroker.New(config.Redis{Addresses: []string{server.Addr}, Prefix: "pc", Password: config.Secret(password)},
			"a", metrics.New("test", ""), slog.New(slog.NewTextHandler(&o.log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if err := b.Start(func(broker.Message) {}); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, want+" is logged", func() bool { return o.log.Has(want) })
		if o.log.Has("wrong-password") {
			t.Error("the password is in the log")
		}
		if err := b.Health(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("health: %v, want %s", err, want)
		}
	}
	f("wrong-password", "WRONGPASS")
	f("", "NOAUTH")
}

// Pub/sub ignores the database, so that topics carry it: nodes of two databases are
// strangers.
func TestRedis_DatabasesAreApart(t *testing.T) {
	server := redistest.Start(t)
	f := func(one, other config.Redis, nodes int) {
		t.Helper()
		one.Prefix, other.Prefix = "pc", "pc"
		a, b := observe(t, "a", one), observe(t, "b", other)
		if err := errors.Join(a.Subscribe(t.Context(), broker.Topics("user:a")...), b.Subscribe(t.Context(), broker.Topics("user:a")...)); err != nil {
			t.Fatal(err)
		}
		if p := publish(a); p.Nodes != nodes {
			t.Errorf("%+v and %+v: %d nodes, want %d", one, other, p.Nodes, nodes)
		}
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	}
	at := func(db int) config.Redis { return config.Redis{Addresses: []string{server.Addr}, Database: db} }
	url := func(db int) config.Redis {
		return config.Redis{Addresses: []string{fmt.Sprintf("redis://%s/%d", server.Addr, db)}}
	}
	f(at(5), at(6), 1)
	f(at(0), at(6), 1)
	f(at(5), at(5), 2)
	f(url(5), at(5), 2)
	f(url(5), url(6), 1)
}

// After SCRIPT FLUSH a batch costs one more round trip, not one for each push.
func TestRedis_LoadsALostScriptOnce(t *testing.T) {
	server := redistest.Start(t)
	o := observe(t, "a", config.Redis{Addresses: []string{server.Addr}, Prefix: "pc"})
	server.Do(t, "SCRIPT", "FLUSH")
	server.Do(t, "CONFIG", "RESETSTAT")
	batch := make([]broker.Publication, 200)
	for i := range batch {
		batch[i] = broker.Publication{Topic: "user:a", Payload: []byte("m"), ID: fmt.Sprint(i)}
	}
	o.Publish(t.Context(), batch)
	for i := range batch {
		if batch[i].Err != nil {
			t.Fatalf("%d: %v", i, batch[i].Err)
		}
	}
	stats := server.Do(t, "INFO", "commandstats")
	if strings.Contains(stats, "cmdstat_eval:") || !strings.Contains(stats, "cmdstat_script|load:calls=2,") {
		t.Errorf("the two scripts were not loaded once and repeated:\n%s", stats)
	}
}
