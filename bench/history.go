package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"
)

// history shows what keeping costs: a push that is kept beside one that is not, in the
// same run, nodes and Redis summed.
func history(o options) error {
	addr, stop, err := redisFor(o)
	if err != nil {
		return err
	}
	defer stop()
	o.redis = addr
	var plain, kept []float64
	for range o.rounds {
		for _, w := range []struct {
			keep string
			into *[]float64
		}{{"{messages: 0, age: 0s}", &plain}, {"{messages: 100, age: 1h}", &kept}} {
			nodes, redis, err := keptCost(o, w.keep)
			if err != nil {
				return err
			}
			fmt.Printf("push through Redis, history %s: %.1f CPU-µs on two nodes, %.1f in Redis\n", w.keep, nodes, redis)
			*w.into = append(*w.into, nodes+redis)
		}
	}
	fmt.Printf("kept / not kept: %.2f (medians of %d)\n", median(kept)/median(plain), o.rounds)
	return nil
}

// keptCost is what a push to one of 5,000 users costs the nodes and Redis.
func keptCost(o options, keep string) (nodes, redis float64, err error) {
	const users, n = 5_000, 40_000
	c, err := newCrew(o, nil, users, userHeader, "users: {history: "+keep+"}")
	if err != nil {
		return 0, 0, err
	}
	defer c.close()
	content := func() []byte { return body(fmt.Sprintf(`{"users":["u%d"]}`, rand.IntN(users))) }
	if _, err := c.cost(n/10, n/10, content); err != nil { // to warm up
		return 0, 0, err
	}
	before, err := redisInfo(o.redis, "used_cpu_user", "used_cpu_sys")
	if err != nil {
		return 0, 0, err
	}
	cpu := cpuOf(c.nodes)
	frames := c.fleet.frames.Load()
	if err := publish(c.nodes, n, content); err != nil {
		return 0, 0, err
	}
	if err := c.fleet.awaitFrames(frames, n); err != nil {
		return 0, 0, err
	}
	after, err := redisInfo(o.redis, "used_cpu_user", "used_cpu_sys")
	return micros(cpuOf(c.nodes)-cpu) / n, (after - before) * 1e6 / n, err
}

// manyStreams shows what 100,000 streams of 10 messages take that somebody is subscribed
// to, in use and idle.
func manyStreams(o options) error {
	const streams, each, clients, idleFor = 100_000, 10, 100, 60 * time.Second
	redis, stop, err := redisFor(o)
	if err != nil {
		return err
	}
	defer stop()
	o.redis = ""
	s, err := start(o, "auth: {jwt: {secret: "+secret+"}}", "redis: {addresses: ['"+redis+"'], prefix: many}", socketLines,
		"channels: [{match: 's.**', history: {messages: 10, age: 1h}}]", "limits: {channels_per_connection: 1000}")
	if err != nil {
		return err
	}
	defer s.stop()
	f, err := newFleet(nil)
	if err != nil {
		return err
	}
	defer f.close()
	before, err := redisInfo(redis, "used_memory")
	if err != nil {
		return err
	}
	rss := s.rss()
	if err := f.dial(s.public, clients, func(id int) string {
		var names []string
		for i := range streams / clients {
			names = append(names, fmt.Sprintf(`"s.%d"`, id*streams/clients+i))
		}
		return bearer(fmt.Sprint("u", id), strings.Join(names, ","))
	}); err != nil {
		return err
	}
	opened, err := redisInfo(redis, "used_memory")
	if err != nil {
		return err
	}
	fmt.Printf("%d streams subscribed to: %.0f B in Redis each (channel and record), %.0f B of RSS on the node\n",
		streams, (opened-before)/streams, float64(s.rss()-rss)/streams)
	next := 0
	if err := publish([]*server{s}, streams*each/100, func() []byte {
		var names []string
		for range 100 {
			names = append(names, fmt.Sprintf(`"s.%d"`, next%streams))
			next++
		}
		return fmt.Appendf(nil, `{"to":{"channels":[%s]},"data":"%s"}`, strings.Join(names, ","), padding)
	}); err != nil {
		return err
	}
	full, err := redisInfo(redis, "used_memory")
	if err != nil {
		return err
	}
	fmt.Printf("%d messages of 200 B in each: %.0f B in Redis per message\n", each, (full-opened)/streams/each)
	return idleCost(s, redis, idleFor)
}

// idleCost shows what a node and Redis do while nothing happens.
func idleCost(s *server, redis string, wait time.Duration) error {
	time.Sleep(wait / 2) // what was just published settles
	before, err := redisInfo(redis, "used_cpu_user", "used_cpu_sys")
	if err != nil {
		return err
	}
	cpu := s.cpu()
	time.Sleep(wait)
	after, err := redisInfo(redis, "used_cpu_user", "used_cpu_sys")
	if err != nil {
		return err
	}
	fmt.Printf("idle for %v: node %.2f %% of a core, Redis %.2f %%; RSS of the node %d MiB\n", wait,
		100*(s.cpu()-cpu).Seconds()/wait.Seconds(), 100*(after-before)/wait.Seconds(), s.rss()>>20)
	return nil
}

// redisInfo is the sum of fields of INFO.
func redisInfo(addr string, fields ...string) (sum float64, err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("INFO everything\r\nQUIT\r\n")); err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(c); lines.Scan(); {
		for _, f := range fields {
			if value, ok := strings.CutPrefix(lines.Text(), f+":"); ok {
				v, err := strconv.ParseFloat(value, 64)
				if err != nil {
					return 0, err
				}
				sum += v
			}
		}
	}
	return sum, nil
}
