package redisbroker

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/internal/record"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/broker/redisbroker/streams"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
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

var keptLong = broker.Retention{Messages: 100_000, Age: time.Hour}

// A receiver that panics loses one message, also one that was fetched: the feed goes on.
func TestStreams_APanicOfTheReceiverWhileItIsCaughtUpWith(t *testing.T) {
	server := redistest.Start(t)
	b := unstarted(t, server.Addr)
	var got atomic.Int64
	panicked := false
	if err := b.Start(func(m broker.Message) {
		if string(m.Payload) == "panic" && !panicked {
			panicked = true
			panic("test")
		}
		got.Store(int64(m.Position.Offset))
	}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is up", b.Up)
	if err := b.Subscribe(t.Context(), broker.Subscription{Topic: "user:a", Keep: keptLong}); err != nil {
		t.Fatal(err)
	}
	// The node does not hear of these.
	line, k := b.link.Line(streams.KeepSource), b.link.Keys()
	defer line.HangUp()
	cmds, err := line.Exchange(t.Context(), func(pipe redis.Pipeliner) {
		for _, text := range []string{"panic", "next"} {
			streams.KeepScript.EvalSha(t.Context(), pipe, []string{k.Record("user:a"), k.Messages("user:a")}, line.Server(link.TopicPartition("user:a")), "", record.NewEpoch(),
				keptLong.Messages, keptLong.Age.Milliseconds(), record.Life(keptLong.Age).Milliseconds(), 0, k.Channel("user:nobody"), text)
		}
	})
	if err := errors.Join(err, cmds[0].Err(), cmds[1].Err()); err != nil {
		t.Fatal(err)
	}
	b.streams.Subscribed("user:a")
	testkit.Eventually(t, "the next comes", func() bool { return got.Load() == 2 })
	if !panicked {
		t.Error("it did not panic")
	}
}
