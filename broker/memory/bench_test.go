package memory_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/memory"
)

var kept = broker.Retention{Messages: 100, Age: time.Hour}

// newMemory is a started broker that keeps so many bytes.
func newMemory(t testing.TB, limit int64, receive broker.Receiver) *memory.Broker {
	t.Helper()
	b := memory.New()
	b.LimitHistory(limit)
	if err := b.Start(receive); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func ignore(broker.Message) {}

// fillStreams keeps messages of so many bytes in each of the streams that are named.
func fillStreams(b *memory.Broker, topics []string, messages, size int) {
	for range messages {
		for _, topic := range topics {
			b.Publish(context.Background(), []broker.Publication{{Topic: topic, Payload: make([]byte, size), Keep: kept}})
		}
	}
}

func topicNames(n int) []string {
	topics := make([]string, n)
	for i := range topics {
		topics[i] = fmt.Sprint("channel:", 1_000_000+i)
	}
	return topics
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What a record and a message take beside their topic and payload, and what they
// count for in the total, with 100,000 streams.
func BenchmarkMemory_KeptBytes(b *testing.B) {
	const streams, size = 100_000, 128
	for _, messages := range []int{1, 3, 10} {
		b.Run(fmt.Sprint("messages=", messages), func(b *testing.B) {
			for b.Loop() {
				topics := topicNames(streams)
				m := newMemory(b, 1<<40, ignore)
				_ = m.Subscribe(b.Context(), broker.Topics(topics...)...)
				before := heap()
				for _, topic := range topics {
					_ = m.Subscribe(b.Context(), broker.Subscription{Topic: topic, Keep: kept})
				}
				records := heap() - before
				b.ReportMetric(float64(records)/streams, "B/record")
				b.ReportMetric(float64(m.HistoryBytes())/streams-float64(len(topics[0])), "counted/record")
				counted := m.HistoryBytes()
				fillStreams(m, topics, messages, size)
				b.ReportMetric(float64(heap()-before-records)/streams/float64(messages)-size, "B/message")
				b.ReportMetric(float64(m.HistoryBytes()-counted)/streams/float64(messages)-size, "counted/message")
				runtime.KeepAlive(topics)
				_ = m.Close()
			}
		})
	}
}

func BenchmarkMemory_PublishKept(b *testing.B) {
	for _, full := range []bool{false, true} {
		b.Run(fmt.Sprint("evicting=", full), func(b *testing.B) {
			topics, limit := topicNames(10_000), int64(1)<<40
			if full {
				limit = 4 << 20
			}
			m := newMemory(b, limit, ignore)
			fillStreams(m, topics, 1, 128)
			payload := make([]byte, 128)
			batch := []broker.Publication{{Payload: payload, Keep: broker.Retention{Messages: 10, Age: time.Hour}}}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				batch[0].Topic = topics[i%len(topics)]
				m.Publish(context.Background(), batch)
			}
		})
	}
}

func BenchmarkMemory_Read(b *testing.B) {
	m := newMemory(b, 1<<40, ignore)
	fillStreams(m, []string{"user:a"}, 100, 128)
	for _, last := range []int{1, 10, 100} {
		b.Run(fmt.Sprint("messages=", last), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r, err := m.Read(b.Context(), broker.Query{Topic: "user:a", Keep: kept, Last: last}); err != nil || len(r.Messages) != last {
					b.Fatal(len(r.Messages), err)
				}
			}
		})
	}
}
