package push

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/config"
)

// sink is a connection that costs nothing.
type sink struct{ member Member }

func (s *sink) Member() *Member { return &s.member }
func (s *sink) Send(messages []*Message) {
	for _, m := range messages {
		m.Done(Written)
	}
}
func (s *sink) Close(int, string)        {}
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
			p := &Push{to: targets{channels: []string{"channel:news"}}, kind: JSON, data: []byte(`{"a":"0123456789"}`)}
			var out [1]outcome
			pushes := []*Push{p}
			b.ReportAllocs()
			for b.Loop() {
				h.publish(b.Context(), pushes, out[:])
			}
			b.StopTimer()
			eventually(b, "delivered", func() bool { return h.lanes.waiting() == 0 })
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(subs), "ns/delivery")
		})
	}
}

// BenchmarkHub_PublishUser is one push to one of 10,000 users.
func BenchmarkHub_PublishUser(b *testing.B) {
	h := alone(b)
	sinks(b, h, 10_000)
	p := &Push{to: targets{users: []string{"user:u77"}}, kind: JSON, data: []byte(`{"a":"0123456789"}`)}
	var out [1]outcome
	pushes := []*Push{p}
	b.ReportAllocs()
	for b.Loop() {
		h.publish(b.Context(), pushes, out[:])
	}
}

func newAPI(t testing.TB, h *Hub, change ...func(*config.Push)) *API {
	t.Helper()
	cfg := config.Default().Push
	for _, c := range change {
		c(&cfg)
	}
	return NewAPI(APIOptions{Config: cfg, Hub: h, ChannelsPerConnection: 4, Log: discard()})
}

// BenchmarkAPI_PushUser is POST /v1/push to one of 10,000 users, from the parsed
// request to the answer, delivery to a connection that costs nothing included.
func BenchmarkAPI_PushUser(b *testing.B) {
	h := alone(b)
	sinks(b, h, 10_000)
	a := newAPI(b, h)
	bodies := make([][]byte, 1000)
	for i := range bodies {
		bodies[i] = fmt.Appendf(nil, `{"to":{"users":["u%d"]},"data":{"text":"hello, this is a message of some length","n":%d}}`, i*7, i)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetMethod("POST")
		ctx.Request.SetRequestURI("/v1/push")
		ctx.Request.Header.SetHost("127.0.0.1:8081")
		ctx.Request.Header.SetContentType("application/json")
		for i := 0; pb.Next(); i++ {
			ctx.Request.SetBodyRaw(bodies[i%len(bodies)])
			ctx.Response.ResetBody()
			a.handle(&ctx)
			if ctx.Response.StatusCode() != 200 {
				b.Fatalf("status %d: %s", ctx.Response.StatusCode(), ctx.Response.Body())
			}
		}
	})
}
