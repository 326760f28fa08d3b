package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// redisSize shows what a reader needs to size a Redis: what each thing that is kept takes
// there, and what connects, ends and pushes cost it. Each line is beside the first, which
// keeps nothing.
func redisSize(o options) error {
	addr, stop, err := redisFor(o)
	if err != nil {
		return err
	}
	defer stop()
	const told = "connected, disconnected"
	var base redisCost
	for i, w := range []struct {
		what, events, line string
		channel            func(id int) string
	}{
		{what: "user with one connection, nothing kept"},
		{what: "the same, its connections counted", line: "limits: {connections_per_user: 5}"},
		{what: "the same, its beginning and end told (2 events)", events: told},
		{what: "the same, user.online and user.offline told (2 events)", events: "user.online, user.offline", line: "users: {offline_delay: 0s}"},
		{what: "the same, in a channel of its own", channel: ownChannel},
		{what: "the same, in a channel of its own, occupied and vacated told (2 events)", events: "channel.occupied, channel.vacated", channel: ownChannel},
		{what: "the same, in a channel of 100 with presence", line: "channels: [{match: 'c.*', presence: true}]", channel: sharedChannel},
		{what: "the same, in a channel of 10,000 with presence", line: "channels: [{match: 'c.*', presence: true}]", channel: oneChannel},
	} {
		c, err := redisCostOf(o, addr, w.events, w.line, w.channel)
		if err != nil {
			return fmt.Errorf("%s: %w", w.what, err)
		}
		if i == 0 {
			base = c
		}
		fmt.Printf("%s: %.0f B in Redis (%+.0f); CPU-µs in Redis: connect %.1f (%+.1f), end %.1f (%+.1f)\n", w.what,
			c.size, c.size-base.size, c.connect, c.connect-base.connect, c.end, c.end-base.end)
	}
	if err := keptSizes(o, addr); err != nil {
		return err
	}
	o.redis = addr
	for _, keep := range []string{"{messages: 0, age: 0s}", "{messages: 100, age: 1h}"} {
		_, redis, err := keptCost(o, keep)
		if err != nil {
			return err
		}
		fmt.Printf("push to a user, history %s: %.1f CPU-µs in Redis\n", keep, redis)
	}
	return nil
}

func oneChannel(int) string       { return `"c.all"` }
func ownChannel(id int) string    { return fmt.Sprintf(`"c.%d"`, id) }
func sharedChannel(id int) string { return fmt.Sprintf(`"c.%d"`, id/100) }

// redisCost is what a connection takes in Redis: bytes while it is there, CPU-µs.
type redisCost struct{ size, connect, end float64 }

// redisCostOf has users connect to one node, and end.
func redisCostOf(o options, addr, events, line string, channel func(id int) string) (c redisCost, err error) {
	const users = 10_000
	lines := []string{tokens, socketLines, line, fmt.Sprintf("redis: {addresses: ['%s'], prefix: 'p%d'}", addr, time.Now().UnixMilli())}
	if events != "" {
		b, err := newBackend()
		if err != nil {
			return c, err
		}
		defer b.close()
		lines = append(lines, b.config(events))
	}
	s, err := start(o, lines...)
	if err != nil {
		return c, err
	}
	defer s.stop()
	f, err := newFleet(nil)
	if err != nil {
		return c, err
	}
	used := func() float64 {
		size, failed := redisInfo(addr, "used_memory")
		if failed != nil {
			err = failed
		}
		return size
	}
	before := used()
	if _, c.connect, err = settledCost(s, addr, users, func() error {
		return f.dial(s.public, users, func(id int) string {
			channels := ""
			if channel != nil {
				channels = channel(id)
			}
			return bearer(fmt.Sprint("user-", id), channels)
		})
	}); err != nil {
		f.close()
		return c, err
	}
	c.size = (used() - before) / users
	if _, c.end, err = settledCost(s, addr, users, func() error {
		f.close()
		return wait(func() bool { return s.metrics()["pushcart_connections"] == 0 })
	}); err != nil {
		return c, err
	}
	return c, err
}

// settledCost is costOf, with what follows within seconds: declarations, events.
func settledCost(s *server, redis string, n int, do func() error) (node, store float64, err error) {
	return costOf(s, redis, n, func() error {
		if err := do(); err != nil {
			return err
		}
		err := wait(func() bool { return s.metrics()["pushcart_webhook_outbox"] == 0 })
		time.Sleep(2 * time.Second)
		return err
	})
}

// keptSizes shows what else is kept takes, and what a node costs Redis that does nothing.
func keptSizes(o options, addr string) error {
	const n = 10_000
	for _, w := range []struct {
		what, line string
		to         func(i int) (method, path, body string)
	}{
		{"push with an id, to nobody", "", func(i int) (string, string, string) {
			return "POST", "/v1/push", fmt.Sprintf(`{"to":{"users":["u"]},"text":"x","id":"order-%010d"}`, i)
		}},
		{"stream, with one message of 200 B", "users: {history: {messages: 10, age: 1h}}", func(i int) (string, string, string) {
			return "POST", "/v1/push", fmt.Sprintf(`{"to":{"users":["user-%d"]},"data":"%s"}`, i, padding)
		}},
		{"lasting subscription, one for each user", "", func(i int) (string, string, string) {
			return "PUT", fmt.Sprintf("/v1/users/user-%d/channels/news", i), ""
		}},
	} {
		s, err := start(o, tokens, w.line, fmt.Sprintf("redis: {addresses: ['%s'], prefix: 'k%d'}", addr, time.Now().UnixMilli()))
		if err != nil {
			return err
		}
		before, err := redisInfo(addr, "used_memory")
		if err == nil {
			err = callAll(s, n, w.to)
		}
		var after float64
		if err == nil {
			after, err = redisInfo(addr, "used_memory")
		}
		s.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", w.what, err)
		}
		fmt.Printf("%s: %.0f B in Redis\n", w.what, (after-before)/n)
	}
	return waitingSize(o, addr)
}

// callAll makes n calls of the push API, from 16 connections.
func callAll(s *server, n int, call func(i int) (method, path, body string)) error {
	errs := make(chan error, 16)
	var work sync.WaitGroup
	for part := range 16 {
		work.Go(func() {
			for i := part; i < n; i += 16 {
				method, path, body := call(i)
				if err := apiCall(s, method, path, body); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	work.Wait()
	close(errs)
	return <-errs
}

func apiCall(s *server, method, path, body string) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.Header.SetMethod(method)
	req.SetRequestURI("http://" + s.push + path)
	req.Header.SetContentType("application/json")
	req.SetBodyString(body)
	if err := fasthttp.DoTimeout(req, resp, 10*time.Second); err != nil {
		return err
	}
	if resp.StatusCode() >= 300 {
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode(), resp.Body())
	}
	return nil
}

// waitingSize shows what events take that wait for an app that does not answer, and then
// what such a node costs Redis that has nothing else to do.
func waitingSize(o options, addr string) error {
	const n = 10_000
	s, err := start(o, tokens, socketLines, "users: {offline_delay: 0s}", "webhook: {url: 'http://127.0.0.1:9/hooks', unsigned: true, events: [user.online, user.offline]}",
		fmt.Sprintf("redis: {addresses: ['%s'], prefix: 'w%d'}", addr, time.Now().UnixMilli()))
	if err != nil {
		return err
	}
	defer s.stop()
	time.Sleep(2 * time.Second)
	_, idle, err := costOf(s, addr, 1, func() error { time.Sleep(10 * time.Second); return nil })
	if err != nil {
		return err
	}
	fmt.Printf("a node that does nothing, with webhooks: %.2f %% of a core in Redis\n", idle/10.3e6*100)
	f, err := newFleet(nil)
	if err != nil {
		return err
	}
	defer f.close()
	before, err := redisInfo(addr, "used_memory")
	if err != nil {
		return err
	}
	if err := f.dial(s.public, n, func(id int) string { return bearer(fmt.Sprint("user-", id), "") }); err != nil {
		return err
	}
	if err := wait(func() bool { return s.metrics()["pushcart_webhook_outbox_redis"] >= n }); err != nil {
		return fmt.Errorf("%.0f events wait: %w", s.metrics()["pushcart_webhook_outbox_redis"], err)
	}
	after, err := redisInfo(addr, "used_memory")
	fmt.Printf("user whose user.online waits: %.0f B in Redis\n", (after-before)/n)
	return err
}
