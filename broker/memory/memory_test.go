package memory_test

import (
	"context"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestMemory(t *testing.T) {
	brokertest.Run(t, func(t *testing.T, n int) []broker.Broker {
		if n > 1 {
			t.Skip("memory is one node")
		}
		return []broker.Broker{memory.New()}
	})
}

func TestMemory_PublishesWithoutAllocating(t *testing.T) {
	b := memory.New()
	_ = b.Start(func(broker.Message) {})
	_ = b.Subscribe(t.Context(), broker.Topics("user:a")...)
	batch := []broker.Publication{{Topic: "user:a", Payload: []byte("m")}}
	if n := testing.AllocsPerRun(100, func() { b.Publish(context.Background(), batch) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMemory_Publish(b *testing.B) {
	m := memory.New()
	_ = m.Start(func(broker.Message) {})
	_ = m.Subscribe(b.Context(), broker.Topics("user:a")...)
	batch := []broker.Publication{{Topic: "user:a", Payload: []byte("m")}}
	b.ReportAllocs()
	for b.Loop() {
		m.Publish(context.Background(), batch)
	}
}
