package main

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

const hangClients = 10_000

// hang has 10,000 clients say something to an app that does not answer. It shows what
// that does to others, to memory and to how long they wait; then, with the breaker open,
// what a message costs.
func hang(o options) error {
	app, err := newHanging()
	if err != nil {
		return err
	}
	defer app.close()
	o.backend = app.url
	s, err := start(o, "auth: {anonymous: true, jwt: {secret: "+secret+"}}", socketLines, "limits: {connections: 15000}",
		"webhook: {url: /hooks, events: [message], unsigned: true, breaker: {pause: 1h}}")
	if err != nil {
		return err
	}
	defer s.stop()
	if err := hangCrowd(s); err != nil {
		return err
	}
	if err := hangOpen(s); err != nil {
		return err
	}
	return hangUnasked(o)
}

// hanging is an app that answers all but webhooks.
type hanging struct {
	url    string
	server *fasthttp.Server
	end    chan struct{}
}

func newHanging() (*hanging, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &hanging{url: "http://" + ln.Addr().String(), end: make(chan struct{})}
	h.server = &fasthttp.Server{Logger: log.New(io.Discard, "", 0), Handler: func(ctx *fasthttp.RequestCtx) {
		if string(ctx.Path()) == "/hooks" {
			<-h.end
		}
		ctx.SetBody(padding[:100])
	}}
	go func() { _ = h.server.Serve(ln) }()
	return h, nil
}

func (h *hanging) close() {
	close(h.end)
	_ = h.server.Shutdown()
}

// hangCrowd is the first part: everybody speaks, and nobody is answered.
func hangCrowd(s *server) error {
	const others, perSecond = 100, 200
	calm, during := &latencies{}, &latencies{}
	var now atomic.Pointer[latencies]
	now.Store(calm)
	quiet, err := newFleet(func(id int, p []byte) { now.Load().frame(id, p) })
	if err != nil {
		return err
	}
	defer quiet.close()
	if err := quiet.dial(s.public, others, userHeader); err != nil {
		return err
	}
	pushes := steadily([]*server{s}, perSecond, func() string { return userTarget(rand.IntN(others)) })
	page := askSteadily(s.public)
	crowd, codes, err := dialCrowd(s)
	if err != nil {
		return err
	}
	defer crowd.close()
	time.Sleep(time.Second)
	now.Store(during)
	page.split()
	memory, cpu, begin := s.watchMemory(), s.cpu(), time.Now()
	for id := range hangClients {
		for range 8 { // what is behind the first is not read
			crowd.say(id, strings.Repeat("x", 120))
		}
	}
	err = wait(func() bool { return codes.Load() == hangClients })
	took := time.Since(begin)
	memory.stop()
	pageBefore, pageDuring := page.stop()
	if _, sendErr := pushes.stop(); sendErr != nil {
		return sendErr
	}
	fmt.Printf("hang: %d connections to an app that does not answer: all got their 1011 within %.1f s; memory %.0f MB, %.0f before; %.1f CPU-s; pushes to others p99 %.1f ms (%.1f before), proxied requests p99 %.1f ms (%.1f before)\n",
		codes.Load(), took.Seconds(), float64(memory.rss.Load())/1e6, float64(memory.first)/1e6, (s.cpu() - cpu).Seconds(),
		during.quantile(.99), calm.quantile(.99), pageDuring, pageBefore)
	return err
}

// dialCrowd connects clients of whom it counts those that are closed with 1011.
func dialCrowd(s *server) (*fleet, *atomic.Int64, error) {
	f, err := newFleet(nil)
	if err != nil {
		return nil, nil, err
	}
	codes := &atomic.Int64{}
	f.onEnd = func(_, code int) {
		if code == 1011 {
			codes.Add(1)
		}
	}
	return f, codes, f.dial(s.public, hangClients, noHeader)
}

// hangOpen is the second part: the breaker is open. As a raw connection that gets no
// answer is closed, the same number that says Close itself is beside it.
func hangOpen(s *server) error {
	said, codes, err := dialCrowd(s)
	if err != nil {
		return err
	}
	defer said.close()
	before := s.cpu()
	for id := range hangClients {
		said.say(id, "hello")
	}
	err = wait(func() bool { return codes.Load() == hangClients && said.lost.Load() == hangClients })
	message := micros(s.cpu()-before) / hangClients
	if err != nil {
		return err
	}
	left, _, err := dialCrowd(s)
	if err != nil {
		return err
	}
	defer left.close()
	before = s.cpu()
	for id := range hangClients {
		left.leave(left.newest(id))
	}
	err = wait(func() bool { return left.lost.Load() == hangClients })
	end := micros(s.cpu()-before) / hangClients
	m := s.metrics()
	fmt.Printf("hang: breaker open (%.0f): a message and its connection's end %.1f CPU-µs, an end alone %.1f; answered by the breaker: %.0f\n",
		m[`pushcart_webhook_breaker{event="message"}`], message, end, m[`pushcart_webhooks_total{event="message",result="breaker"}`])
	return err
}

// hangUnasked is what reading a message costs that nobody is asked about, on connections
// that stay: with the breaker open a protocol that keeps them, too, adds what
// BenchmarkAsk_BreakerOpen of session shows.
func hangUnasked(o options) error {
	const rounds = 5
	s, err := start(o, anonymous, socketLines, "limits: {connections: 15000}")
	if err != nil {
		return err
	}
	defer s.stop()
	f, _, err := dialCrowd(s)
	if err != nil {
		return err
	}
	defer f.close()
	before := s.cpu()
	for range rounds {
		for id := range hangClients {
			f.say(id, "hello")
		}
	}
	err = wait(func() bool {
		time.Sleep(200 * time.Millisecond) // as reading metrics costs, too
		return s.metrics()["pushcart_client_messages_total"] == rounds*hangClients
	})
	fmt.Printf("hang: a message that nobody is asked about %.1f CPU-µs\n", micros(s.cpu()-before)/rounds/hangClients)
	return err
}

// asking makes a proxied request every 10 ms.
type asking struct {
	before, during latencies
	now            atomic.Pointer[latencies]
	end            chan struct{}
	ended          chan struct{}
}

func askSteadily(addr string) *asking {
	a := &asking{end: make(chan struct{}), ended: make(chan struct{})}
	a.now.Store(&a.before)
	go func() {
		defer close(a.ended)
		client := &fasthttp.HostClient{Addr: addr}
		defer client.CloseIdleConnections()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-a.end:
				return
			case <-tick.C:
			}
			begin, took := time.Now(), 10_000.0 // of one that fails
			if status, _, err := client.GetTimeout(nil, "http://"+addr+"/page", 10*time.Second); err == nil && status == fasthttp.StatusOK {
				took = float64(time.Since(begin)) / 1e6
			}
			l := a.now.Load()
			l.mu.Lock()
			l.ms = append(l.ms, took)
			l.mu.Unlock()
		}
	}()
	return a
}

func (a *asking) split() { a.now.Store(&a.during) }

// stop returns the p99 of both times, in ms.
func (a *asking) stop() (before, during float64) {
	close(a.end)
	<-a.ended
	return a.before.quantile(.99), a.during.quantile(.99)
}

// webhooks compares a message's round trip with a proxied request, in turn.
func webhooks(o options) error {
	var trips, requests, ratios []float64
	for range max(o.rounds, 3) {
		trip, err := roundtripFigure(o, "")
		if err != nil {
			return err
		}
		request, err := requestFigure(o, "")
		if err != nil {
			return err
		}
		trips, requests, ratios = append(trips, trip), append(requests, request), append(ratios, trip/request)
	}
	fmt.Printf("webhooks: client frame → webhook → reply frame %.1f CPU-µs, a proxied request %.1f: %.2f times (%d rounds in turn)\n",
		median(trips), median(requests), median(ratios), len(ratios))
	return nil
}
