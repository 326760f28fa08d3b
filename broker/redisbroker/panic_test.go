package redisbroker_test

import (
	"context"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// A message that makes its receiver panic is lost; the next is not, and the
// connection to Redis stays.
func TestRedis_APanicOfTheReceiverLosesOneMessage(t *testing.T) {
	b := newRedis(t, redistest.Start(t).Addr, "pc", 0)
	got := make(chan string, 8)
	if err := b.Start(func(m broker.Message) {
		payload := m.Payload
		if string(payload) == "panic" {
			panic("test")
		}
		got <- string(payload)
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	testkit.Eventually(t, "the broker is up", b.Up)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := b.Subscribe(ctx, broker.Topics("user:ann")...); err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{"panic", "next"} {
		batch := []broker.Publication{{Topic: "user:ann", Payload: []byte(payload)}}
		if b.Publish(ctx, batch); batch[0].Err != nil {
			t.Fatal(batch[0].Err)
		}
	}
	select {
	case p := <-got:
		if p != "next" {
			t.Errorf("got %q", p)
		}
	case <-ctx.Done():
		t.Error("the next message did not come")
	}
	if !b.Up() {
		t.Error("the broker is down")
	}
}
