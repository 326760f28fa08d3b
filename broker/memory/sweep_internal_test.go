package memory

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// One sweep is what a node with 100,000 streams does in a second for those that
// nobody touches.
func BenchmarkMemory_Sweep(b *testing.B) {
	for _, ttl := range []time.Duration{0, time.Hour} {
		b.Run(fmt.Sprint("ttl=", ttl > 0), func(b *testing.B) {
			m := New()
			m.LimitHistory(1 << 40)
			_ = m.Start(func(broker.Message) {})
			defer func() { _ = m.Close() }()
			keep := broker.Retention{Messages: 10, Age: time.Hour}
			for i := range 100_000 {
				topic := fmt.Sprint("channel:", i)
				_ = m.Subscribe(b.Context(), broker.Subscription{Topic: topic, Keep: keep})
				for range 10 {
					m.Publish(context.Background(), []broker.Publication{{Topic: topic, Payload: []byte("m"), Keep: keep, TTL: ttl}})
				}
			}
			i := 0
			for b.Loop() {
				m.sweep(&m.shards[i%shards])
				i++
			}
		})
	}
}
