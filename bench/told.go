package main

import (
	"fmt"
	"time"
)

const tokens = "auth: {jwt: {secret: " + secret + "}}"

// told shows what it costs that nobody is forgotten: a connection's end told through
// Redis beside one told from memory, in the same run; a connect with and without what is
// kept of it; and a join in a channel that many are in.
func told(o options) error {
	redis, stop, err := redisFor(o)
	if err != nil {
		return err
	}
	defer stop()
	var memory, kept []float64
	for range o.rounds {
		for _, w := range []struct {
			redis string
			into  *[]float64
		}{{"", &memory}, {redis, &kept}} {
			node, store, err := endCost(o, w.redis)
			if err != nil {
				return err
			}
			where := "from memory"
			if w.redis != "" {
				where = "through Redis"
			}
			fmt.Printf("connection that ends, told %s: %.1f CPU-µs on the node, %.1f in Redis\n", where, node, store)
			*w.into = append(*w.into, node)
		}
	}
	fmt.Printf("through Redis / from memory: %.2f of the node's CPU (medians of %d)\n", median(kept)/median(memory), o.rounds)
	return joinCosts(o, redis)
}

// endCost is what a connection costs from before its end until that is told.
func endCost(o options, redis string) (node, store float64, err error) {
	const connections = 8_000
	b, err := newBackend()
	if err != nil {
		return 0, 0, err
	}
	defer b.close()
	lines := []string{tokens, b.config("disconnected"), socketLines}
	if redis != "" {
		lines = append(lines, fmt.Sprintf("redis: {addresses: ['%s'], prefix: 'told%d'}", redis, time.Now().UnixNano()))
	}
	s, err := start(o, lines...)
	if err != nil {
		return 0, 0, err
	}
	defer s.stop()
	f, err := newFleet(nil)
	if err != nil {
		return 0, 0, err
	}
	if err := f.dial(s.public, connections, userHeader); err != nil {
		f.close()
		return 0, 0, err
	}
	time.Sleep(time.Second) // what was just declared is stored
	return costOf(s, redis, connections, func() error {
		f.close()
		return wait(func() bool { return b.count("disconnected", "") == connections })
	})
}

// costOf is what n operations cost a node and Redis, in CPU-µs each.
func costOf(s *server, redis string, n int, do func() error) (node, store float64, err error) {
	used := func() float64 {
		if redis == "" || err != nil {
			return 0
		}
		var seconds float64
		seconds, err = redisInfo(redis, "used_cpu_user", "used_cpu_sys")
		return seconds
	}
	before, cpu := used(), s.cpu()
	if err := do(); err != nil {
		return 0, 0, err
	}
	time.Sleep(300 * time.Millisecond) // what is left to be removed is
	return micros(s.cpu()-cpu) / float64(n), (used() - before) * 1e6 / float64(n), err
}

// joinCosts shows connects through Redis: of which nothing is kept, whose end is to be
// told, and which join a channel with presence, while it is small and while it is large.
func joinCosts(o options, redis string) error {
	const each, members = 2_000, 10_000
	prefix := 0
	run := func(what string, before, n int, channels string, lines ...string) error {
		prefix++
		b, err := newBackend()
		if err != nil {
			return err
		}
		defer b.close()
		lines = append(lines, tokens, socketLines, fmt.Sprintf("redis: {addresses: ['%s'], prefix: 'join%d'}", redis, prefix))
		if channels != "" || what == "whose end is to be told" {
			lines = append(lines, b.config("disconnected, presence.join, presence.leave, user.online, user.offline"))
		}
		s, err := start(o, lines...)
		if err != nil {
			return err
		}
		defer s.stop()
		f, err := newFleet(nil)
		if err != nil {
			return err
		}
		defer f.close()
		dial := func(n int, name string) error {
			return f.dial(s.public, n, func(id int) string { return bearer(fmt.Sprint(name, id), channels) })
		}
		if before > 0 {
			if err := dial(before, "a"); err != nil {
				return err
			}
			time.Sleep(2 * time.Second)
		}
		node, store, err := costOf(s, redis, n, func() error { return dial(n, "b") })
		if err != nil {
			return err
		}
		fmt.Printf("connect %s: %.1f CPU-µs on the node, %.1f in Redis\n", what, node, store)
		return nil
	}
	const presence = "channels: [{match: 'c', presence: true}]"
	for range o.rounds {
		if err := run("of which nothing is kept", 0, each, ""); err != nil {
			return err
		}
		if err := run("whose end is to be told", 0, each, ""); err != nil {
			return err
		}
		if err := run("that joins a small channel, all told", 0, each, `"c"`, presence); err != nil {
			return err
		}
		if err := run(fmt.Sprintf("that joins a channel of %d, all told", members), members, each, `"c"`, presence); err != nil {
			return err
		}
	}
	return nil
}
