package link

import (
	"context"
	"io"
	"net"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/redisbroker/access"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

// silentFirst is an address in front of a server, at which the first connection gets no
// answer.
func silentFirst(t *testing.T, server string) (addr string) {
	ln := testkit.Listen(t)
	var work sync.WaitGroup
	work.Go(func() {
		for first := true; ; first = false {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			if first {
				continue
			}
			to, err := net.Dial("tcp", server)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = to.Close() })
			work.Go(func() { _, _ = io.Copy(to, conn) })
			work.Go(func() { _, _ = io.Copy(conn, to) })
		}
	})
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().String()
}

// A Redis that hung while a connection to it was made was connected to a second time by
// go-redis, one of whose goroutines then tried to connect every second, forever.
func TestLine_AServerThatHungLeavesNothingBehind(t *testing.T) {
	l, err := New(config.Redis{Addresses: []string{silentFirst(t, redistest.Start(t).Addr)}, Mode: config.RedisStandalone}, "n", metrics.New("", ""), testkit.Logger(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	line := l.Line()
	ping := func(pipe redis.Pipeliner) { pipe.Ping(context.Background()) }
	began := time.Now()
	if _, err := line.Exchange(context.Background(), ping); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("a server that says nothing: %v", err)
	}
	if d := time.Since(began); d > access.CommandTimeout+time.Second {
		t.Errorf("given up after %v", d)
	}
	for range 3 {
		if _, err := line.Exchange(context.Background(), ping); err != nil {
			t.Errorf("the second connection: %v", err)
		}
	}
	testkit.Eventually(t, "nothing tries to connect", func() bool {
		var all strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&all, 2)
		return !strings.Contains(all.String(), "tryDial")
	})
	line.HangUp()
	l.Close()
}

// What the shard knew as its server's name was a field of a connection, which was written
// when that read the name again.
func TestLine_NamesAreReadWhileOthersConnect(t *testing.T) {
	l, err := New(config.Redis{Addresses: []string{redistest.Start(t).Addr}}, "n", metrics.New("", ""), testkit.Logger(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ping := func(pipe redis.Pipeliner) { pipe.Ping(context.Background()) }
	var work sync.WaitGroup
	defer work.Wait()
	one, other := l.Line(), l.Line()
	defer one.HangUp()
	defer other.HangUp()
	for _, line := range []*Line{one, other} {
		if _, err := line.Exchange(context.Background(), ping); err != nil {
			t.Fatal(err)
		}
	}
	over := make(chan struct{})
	work.Go(func() {
		defer close(over)
		for range 50 {
			other.HangUp()
			if _, err := other.Exchange(context.Background(), ping); err != nil {
				t.Error(err)
			}
		}
	})
	for {
		select {
		case <-over:
			return
		default:
		}
		if err := one.Greet(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// refusal is what a server answers.
type refusal string

func (r refusal) Error() string { return string(r) }
func (r refusal) RedisError()   {}

// What stands between may spread keys by something else than their tags.
func TestLine_CrossSlotSaysWhatToDo(t *testing.T) {
	var log testkit.Log
	l, err := New(config.Redis{Addresses: []string{"127.0.0.1:1"}}, "n", metrics.New("", ""), testkit.Logger(&log))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := &lane{line: l.Line(), shard: l.newShard("")}
	a.judgeOne(refusal("CROSSSLOT Keys in request don't hash to the same slot"))
	if !log.Has("redis.addresses") || !log.Has("is a proxy in front of it?") {
		t.Errorf("log:\n%s", &log)
	}
	if a.wrong != nil || a.cut != nil {
		t.Error("the server is given up, and another one would answer the same")
	}
}
