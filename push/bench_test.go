package push

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/hub/hubtest"
)

// sink is a connection that costs nothing.
type sink struct{ member hub.Member }

func (s *sink) Member() *hub.Member { return &s.member }
func (s *sink) Send(messages []*hub.Message) {
	for _, m := range messages {
		m.Done(hub.Written)
	}
}
func (s *sink) End(*hub.Cause)           {}
func (s *sink) Info() hub.Info           { return hub.Info{} }
func (s *sink) SetState(json.RawMessage) {}

func newAPI(t testing.TB, h *hub.Hub, change ...func(*config.Push)) *API {
	t.Helper()
	cfg := config.Default().Push
	for _, c := range change {
		c(&cfg)
	}
	return NewAPI(APIOptions{Settings: NewSettings(cfg, config.Limits{ChannelsPerConnection: 4}, nil), MaxBody: cfg.MaxBody, Hub: h, Log: slog.New(slog.DiscardHandler)})
}

// BenchmarkAPI_PushUser is POST /v1/push to one of 10,000 users, from the parsed
// request to the answer, delivery to a connection that costs nothing included.
func BenchmarkAPI_PushUser(b *testing.B) {
	h := hubtest.Alone(b)
	for i := range 10_000 {
		c := &sink{member: h.NewMember()}
		if err := h.Join(b.Context(), c, fmt.Sprint("u", i), nil); err != nil {
			b.Fatal(err)
		}
	}
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

// BenchmarkAPI_History is GET of a page of 100 messages.
func BenchmarkAPI_History(b *testing.B) {
	h := hubtest.Alone(b)
	keeping(b, h)
	a := newAPI(b, h)
	var ctx fasthttp.RequestCtx
	call := func(method, uri, body string) {
		ctx.Request.Header.SetMethod(method)
		ctx.Request.SetRequestURI(uri)
		ctx.Request.Header.SetHost("127.0.0.1:8081")
		ctx.Request.SetBodyString(body)
		ctx.Response.Reset()
		a.handle(&ctx)
		if ctx.Response.StatusCode() != 200 {
			b.Fatalf("status %d: %s", ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
	for i := range 1000 {
		call("POST", "/v1/push", fmt.Sprintf(`{"to":{"channels":["kn"]},"data":{"text":"hello, this is a message of some length","n":%d}}`, i))
	}
	b.ReportAllocs()
	for b.Loop() {
		call("GET", "/v1/channels/kn/history?after=500", "")
	}
}
