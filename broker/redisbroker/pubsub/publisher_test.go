package pubsub

import (
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

func TestMain(m *testing.M) { leak.Main(m) }

var keptForAnHour = broker.Retention{Messages: 100_000, Age: time.Hour}

func unstarted(t testing.TB, addr string) *Publisher {
	t.Helper()
	l, err := link.New(config.Redis{Addresses: []string{addr}, Prefix: "pc"}, "node", metrics.New("", ""), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return NewPublisher(l)
}

// What is repeated after SCRIPT FLUSH reaches only callers that still wait: the others
// were told that it failed, and may have tried again.
func TestRedis_RepeatsNothingForCallersThatAreGone(t *testing.T) {
	server := redistest.Start(t)
	p := unstarted(t, server.Addr)
	defer p.line.HangUp()
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
	if got := server.Do(t, "EXISTS", p.link.Keys().Seen("user:a", "waits"), p.link.Keys().Seen("user:a", "gone")); got != "1" {
		t.Errorf("%s of two ids are recorded, want 1", got)
	}
}

// Spans below a millisecond are not nothing.
func TestRedis_AMillisecondIsTheLeast(t *testing.T) {
	for d, want := range map[time.Duration]int64{0: 0, 1: 1, time.Microsecond: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Hour: 3_600_000} {
		if got := millis(d); got != want {
			t.Errorf("%v: %d, want %d", d, got, want)
		}
	}
}

// A connection that was made while the server was a replica took its master's name for its
// own: a stream that this master wrote to last begins a new epoch all the same.
func TestRedis_APromotedReplicaHasANameOfItsOwn(t *testing.T) {
	a, b := redistest.Start(t), redistest.Start(t)
	host, port, _ := net.SplitHostPort(a.Addr)
	b.Do(t, "REPLICAOF", host, port)
	keep := func(p *Publisher) broker.Publication {
		e := &entry{Publication: broker.Publication{Topic: "user:a", Payload: []byte("m"), Keep: keptForAnHour}, call: &call{left: 1, done: make(chan struct{})}}
		p.send([]*entry{e})
		return e.Publication
	}
	old, next := unstarted(t, a.Addr), unstarted(t, b.Addr)
	defer old.line.HangUp()
	defer next.line.HangUp()
	first := keep(old)
	testkit.Eventually(t, "it is replicated", func() bool { return b.Do(t, "HGET", next.link.Keys().Record("user:a"), "o") == "1" })
	if _, err := next.line.Exchange(t.Context(), func(pipe redis.Pipeliner) { pipe.Ping(t.Context()) }); err != nil {
		t.Fatal(err)
	}
	b.Do(t, "REPLICAOF", "NO", "ONE")
	got := keep(next)
	if got.Err != nil || got.Position.Offset != 2 || got.Position.Epoch == first.Position.Epoch {
		t.Errorf("after %+v came %+v, %v: no fork", first.Position, got.Position, got.Err)
	}
	if again := keep(next); again.Position != (broker.Position{Offset: 3, Epoch: got.Position.Epoch}) {
		t.Errorf("then %+v: another fork", again.Position)
	}
}
