package streams

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/internal/redistest"
)

// cpu is what this process has used so far.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// redisCPU is what a server has used so far.
func redisCPU(b *testing.B, server *redistest.Server) (used time.Duration) {
	lines := bufio.NewScanner(strings.NewReader(server.Do(b, "INFO", "cpu")))
	for lines.Scan() {
		for _, name := range []string{"used_cpu_user:", "used_cpu_sys:"} {
			if value, ok := strings.CutPrefix(lines.Text(), name); ok {
				seconds, _ := strconv.ParseFloat(value, 64)
				used += time.Duration(seconds * float64(time.Second))
			}
		}
	}
	return used
}

// One operation is what an idle node does in 25.6 s for the streams that somebody is
// subscribed to: each is compared with its record once. The figures are shares of a core.
func BenchmarkRedis_IdleRounds(b *testing.B) {
	const streams = 100_000
	server := redistest.Start(b)
	s := unstarted(b, server.Addr, func() {})
	s.hand = func(broker.Message) {}
	defer s.line.HangUp()
	for i := range streams {
		s.Open([]broker.Subscription{{Topic: fmt.Sprintf("user:%08d-1234-1234-1234-123456789012", i), Keep: keptByTests}})
	}
	round := func() {
		for range link.Partitions {
			s.nextRound()
			for s.turn() {
			}
		}
	}
	round()
	for p := range link.Partitions {
		for _, f := range s.feeds.of(p) {
			if f.at.Epoch == "" {
				b.Fatal("a feed is not opened")
			}
		}
	}
	node, other := cpu(b), redisCPU(b, server)
	b.ReportAllocs()
	for b.Loop() {
		round()
	}
	cycle := (link.Partitions * roundEvery).Seconds() * float64(b.N)
	b.ReportMetric(100*(cpu(b)-node).Seconds()/cycle, "%core")
	b.ReportMetric(100*(redisCPU(b, server)-other).Seconds()/cycle, "%core-redis")
}
