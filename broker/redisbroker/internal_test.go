package redisbroker

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/metrics"
)

func unstarted(t testing.TB, addr string) *Broker {
	t.Helper()
	b, err := New(config.Redis{Addresses: []string{addr}, Prefix: "pc"}, "node",
		metrics.New("", ""), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// What is repeated after SCRIPT FLUSH reaches only callers that still wait: the others
// were told that it failed, and may have tried again.
func TestRedis_RepeatsNothingForCallersThatAreGone(t *testing.T) {
	server := redistest.Start(t)
	p := unstarted(t, server.Addr).publisher
	defer p.hangUp()
	entryOf := func(id string, givenUp bool) *entry {
		c := &call{left: 1, givenUp: givenUp, done: make(chan struct{})}
		return &entry{Publication: broker.Publication{Topic: "user:a", ID: id}, call: c}
	}
	p.send([]*entry{entryOf("", false)}) // connects, and loads the script
	server.Do(t, "SCRIPT", "FLUSH")
	waits, gone := entryOf("waits", false), entryOf("gone", true)
	p.send([]*entry{waits, gone})
	if waits.Err != nil || !errors.Is(gone.Err, broker.ErrUnavailable) {
		t.Errorf("got %v and %v, want none and ErrUnavailable", waits.Err, gone.Err)
	}
	if got := server.Do(t, "EXISTS", p.link.keys.seen("user:a", "waits"), p.link.keys.seen("user:a", "gone")); got != "1" {
		t.Errorf("%s of two ids are recorded, want 1", got)
	}
}

// A URL brings credentials and a database; how commands are sent is ours to say.
func TestRedisOptions_AreOurs(t *testing.T) {
	o, err := newOptions(config.Redis{Addresses: []string{
		"redis://user:secret@127.0.0.1:1/7?max_retries=3&read_timeout=1h&pool_size=100&min_idle_conns=5&dial_timeout=1h",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if o.DB != 7 || o.Username != "user" || o.Password != "secret" {
		t.Errorf("got database %d, user %q", o.DB, o.Username)
	}
	// A command that is repeated by itself would deliver twice.
	if o.MaxRetries != -1 || o.ReadTimeout != commandTimeout || o.DialTimeout != commandTimeout || !o.ContextTimeoutEnabled ||
		o.PoolSize != 1 || o.MinIdleConns != 0 || o.DialerRetries != 1 {
		t.Errorf("got %+v", o)
	}
}
