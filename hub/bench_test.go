package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/pushcart/pushcart/hub/internal/receipt"
	"github.com/pushcart/pushcart/internal/testkit"
)

// sink is a connection that costs nothing.
type sink struct{ member Member }

func (s *sink) Member() *Member { return &s.member }
func (s *sink) Send(messages []*Message) {
	for _, m := range messages {
		m.Done(receipt.Written)
	}
}
func (s *sink) End(*Cause)               {}
func (s *sink) Info() Info               { return Info{} }
func (s *sink) SetState(json.RawMessage) {}

func sinks(b testing.TB, h *Hub, n int, channels ...string) {
	b.Helper()
	for i := range n {
		c := &sink{member: h.NewMember()}
		if err := h.Join(context.Background(), c, fmt.Sprint("u", i), channels); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHub_Publish is one push to a channel; a delivery here is a call.
func BenchmarkHub_Publish(b *testing.B) {
	for _, subs := range []int{1, 1000, 10000} {
		b.Run(fmt.Sprintf("subs=%d", subs), func(b *testing.B) {
			h := alone(b)
			sinks(b, h, subs, "news")
			p := &Push{To: Targets{Channels: []string{"channel:news"}}, Kind: JSON, Data: []byte(`{"a":"0123456789"}`)}
			var out [1]Published
			pushes := []*Push{p}
			b.ReportAllocs()
			for b.Loop() {
				h.Publish(b.Context(), pushes, out[:])
			}
			b.StopTimer()
			testkit.Eventually(b, "delivered", func() bool { return h.lanes.waiting() == 0 })
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(subs), "ns/delivery")
		})
	}
}

// BenchmarkHub_PublishUser is one push to one of 10,000 users.
func BenchmarkHub_PublishUser(b *testing.B) {
	h := alone(b)
	sinks(b, h, 10_000)
	p := &Push{To: Targets{Users: []string{"user:u77"}}, Kind: JSON, Data: []byte(`{"a":"0123456789"}`)}
	var out [1]Published
	pushes := []*Push{p}
	b.ReportAllocs()
	for b.Loop() {
		h.Publish(b.Context(), pushes, out[:])
	}
}

// BenchmarkHub_PublishKept is one push to a channel that keeps history.
func BenchmarkHub_PublishKept(b *testing.B) {
	for _, subs := range []int{1, 1000} {
		b.Run(fmt.Sprintf("subs=%d", subs), func(b *testing.B) {
			h := alone(b)
			h.Apply(keeping(b, "news", false))
			sinks(b, h, subs, "news")
			p := &Push{To: Targets{Channels: []string{"channel:news"}}, Kind: JSON, Data: []byte(`{"a":"0123456789"}`)}
			var out [1]Published
			pushes := []*Push{p}
			b.ReportAllocs()
			for b.Loop() {
				h.Publish(b.Context(), pushes, out[:])
			}
			b.StopTimer()
			testkit.Eventually(b, "delivered", func() bool { return h.lanes.waiting() == 0 })
		})
	}
}
