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
// go-redis, and from then on a goroutine of it tried to connect each second, for ever.
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
	if d := time.Since(began); d > commandTimeout+time.Second {
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
