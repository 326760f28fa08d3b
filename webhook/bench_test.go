package webhook

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// BenchmarkAsk is a message and its reply, over a real connection and with a
// signature; cpu-µs/op has both ends in it, as both are this process.
func BenchmarkAsk(b *testing.B) {
	l := testkit.Listen(b)
	s := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("hello") }}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { _ = s.Shutdown() })
	cfg := testConfig("http://" + l.Addr().String() + "/hooks")
	cfg.Secrets = []config.Secret{secret1}
	d := newDispatcher(b, cfg)
	const senders = 32
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			answered := make(chan struct{}, 1)
			done := func(Answer, error) { answered <- struct{}{} }
			for range b.N/senders + min(1, max(0, b.N%senders-i)) {
				d.Ask(&Event{
					Source: Source{ConnectionID: "0123456789abc-0123456789abc", UserID: "42", ForwardedFor: "10.1.2.3", Proto: "https", Host: "app.example.com"},
					Name:   Message, Sequence: 7, ContentType: "text/plain; charset=utf-8", Body: []byte("hello"),
				}, done)
				<-answered
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// BenchmarkFloor is the same exchange with bare bytes: what the kernel and the
// backend cost.
func BenchmarkFloor(b *testing.B) {
	l := testkit.Listen(b)
	s := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("hello") }}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { _ = s.Shutdown() })
	const senders = 32
	before := cpu()
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			for range b.N / senders {
				_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func BenchmarkEncode(b *testing.B) {
	cfg := testConfig("http://127.0.0.1:3000/hooks")
	cfg.Secrets = []config.Secret{secret1}
	d := newDispatcher(b, cfg)
	j := newJob(&Event{
		Source: Source{ConnectionID: "0123456789abc-0123456789abc", UserID: "42", ForwardedFor: "10.1.2.3", Proto: "https", Host: "app.example.com"},
		Name:   Message, Sequence: 7, ContentType: "text/plain; charset=utf-8", Body: []byte("hello"),
	}, nil)
	j.set = d.Settings()
	b.ReportAllocs()
	for b.Loop() {
		req := fasthttp.AcquireRequest()
		d.encode(req, j, time.Unix(1764000000, 0))
		fasthttp.ReleaseRequest(req)
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
