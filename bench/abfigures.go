package main

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// figure is one number that ab takes from a process that it starts. Less is
// better in all of them.
type figure struct {
	name, unit string
	take       func(o options, redis string) (float64, error)
}

// figures are those of the paths that a change must not slow down.
var figures = []figure{
	{"idle", "B of RSS", idleFigure},
	{"connect", "CPU-µs", connectFigure},
	{"push", "CPU-µs", pushFigure},
	{"push-redis", "CPU-µs, 2 nodes", pushRedisFigure},
	{"broadcast", "CPU-ns per delivery", broadcastFigure},
	{"roundtrip", "CPU-µs", roundtripFigure},
	{"request", "CPU-µs", requestFigure},
}

// socketLines names the path, as the default changed once.
const socketLines = "websocket: {paths: ['/_push'], ping_interval: 25s}"

func idleFigure(o options, _ string) (float64, error) {
	return idleOnce(o, idleKind{
		low: 5_000, high: 15_000, header: noHeader, clients: plainClients,
		lines: []string{anonymous, "websocket: {paths: ['/_push'], ping_interval: 2s, pong_timeout: 1s}"},
	})
}

// crew is nodes with clients on them.
type crew struct {
	nodes []*server
	fleet *fleet
}

func (c *crew) close() {
	if c.fleet != nil {
		c.fleet.close()
	}
	stopAll(c.nodes)
}

// newCrew starts nodes and connects clients to them, evenly.
func newCrew(o options, onFrame func(int, []byte), clients int, header func(id int) string, lines ...string) (*crew, error) {
	all, err := nodes(o, append(lines, socketLines)...)
	c := &crew{nodes: all}
	if err == nil {
		c.fleet, err = newFleet(onFrame)
	}
	for _, s := range all {
		if err == nil {
			err = c.fleet.dial(s.public, clients/len(all), header)
		}
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func connectFigure(o options, _ string) (float64, error) {
	const connections = 5_000
	s, err := start(o, anonymous, socketLines)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	f, err := newFleet(nil)
	if err != nil {
		return 0, err
	}
	defer f.close()
	before := s.cpu()
	err = f.dial(s.public, connections, noHeader)
	return micros(s.cpu()-before) / connections, err
}

func pushFigure(o options, _ string) (float64, error) { return pushCost(o, 60_000) }

func pushRedisFigure(o options, redis string) (float64, error) {
	o.redis = redis
	return pushCost(o, 30_000)
}

func pushCost(o options, n int) (float64, error) {
	const users = 5_000
	c, err := newCrew(o, nil, users, userHeader)
	if err != nil {
		return 0, err
	}
	defer c.close()
	return c.cost(n, n, func() []byte { return body(fmt.Sprintf(`{"users":["u%d"]}`, rand.IntN(users))) })
}

func broadcastFigure(o options, _ string) (float64, error) {
	const subscribers, n = 1_000, 3_000
	c, err := newCrew(o, nil, subscribers, func(id int) string { return bearer(fmt.Sprint("u", id), `"news"`) })
	if err != nil {
		return 0, err
	}
	defer c.close()
	cost, err := c.cost(n, n*subscribers, func() []byte { return body(`{"channels":["news"]}`) })
	return cost * 1000, err
}

// cost is the CPU-µs per frame of pushes that give so many frames, after a tenth
// of them to warm up.
func (c *crew) cost(pushes, frames int, content func() []byte) (float64, error) {
	once := func(part int) error {
		before := c.fleet.frames.Load()
		if err := publish(c.nodes, pushes/part, content); err != nil {
			return err
		}
		return c.fleet.awaitFrames(before, int64(frames/part))
	}
	if err := once(10); err != nil {
		return 0, err
	}
	before := cpuOf(c.nodes)
	err := once(1)
	return micros(cpuOf(c.nodes)-before) / float64(frames), err
}

// roundtripFigure: client frame, webhook, reply frame, by 64 clients that each say
// the next word when the last was answered.
func roundtripFigure(o options, _ string) (float64, error) {
	const clients, n = 64, 40_000
	app, err := newBackend()
	if err != nil {
		return 0, err
	}
	defer app.close()
	var left atomic.Int64 // words to say
	var c *crew
	say := func(id int, _ []byte) {
		if left.Add(-1) >= 0 {
			c.fleet.say(id, "hello")
		}
	}
	c, err = newCrew(o, say, clients, userHeader, app.config("message"))
	if err != nil {
		return 0, err
	}
	defer c.close()
	talk := func(words int64) error {
		before := c.fleet.frames.Load()
		left.Store(words)
		for id := range clients {
			say(id, nil)
		}
		return c.fleet.awaitFrames(before, words)
	}
	if err := talk(n / 10); err != nil {
		return 0, err
	}
	before := cpuOf(c.nodes)
	err = talk(n)
	return micros(cpuOf(c.nodes)-before) / n, err
}

// requestFigure: a proxied GET of 100 B over 64 keep-alive connections.
func requestFigure(o options, _ string) (float64, error) {
	const n = 80_000
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	answer := padding[:100]
	app := &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBody(answer) }, Logger: log.New(io.Discard, "", 0),
	}
	go func() { _ = app.Serve(ln) }()
	defer func() { _ = app.Shutdown() }()
	o.backend = "http://" + ln.Addr().String()
	s, err := start(o, anonymous, socketLines)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	if err := requests(s.public, n/10); err != nil {
		return 0, err
	}
	before := s.cpu()
	err = requests(s.public, n)
	return micros(s.cpu()-before) / n, err
}

// requests makes n GETs.
func requests(addr string, n int) error {
	const conns = 64
	client := &fasthttp.HostClient{Addr: addr, MaxConns: conns, ReadTimeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	var next atomic.Int64
	errs := make(chan error, conns)
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() {
			req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			req.SetRequestURI("http://" + addr + "/page")
			for name, value := range browserHeaders {
				req.Header.Set(name, value)
			}
			for next.Add(1) <= int64(n) {
				if err := client.Do(req, resp); err != nil {
					errs <- err
					return
				}
				if resp.StatusCode() != fasthttp.StatusOK {
					errs <- fmt.Errorf("status %d", resp.StatusCode())
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

var browserHeaders = map[string]string{
	"User-Agent":      "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
	"Accept":          "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
	"Accept-Language": "en-US,en;q=0.5", "Accept-Encoding": "gzip, deflate",
	"Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark", "DNT": "1", "Sec-GPC": "1",
}
