package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisCluster is three primaries without replicas.
type redisCluster []*redisServer

func startCluster() (c redisCluster, err error) {
	for range 3 {
		bus, err := freeAddr()
		if err != nil {
			return c, err
		}
		_, port, _ := net.SplitHostPort(bus)
		r := &redisServer{args: []string{"--cluster-enabled", "yes", "--cluster-port", port, "--cluster-node-timeout", "1000"}}
		if err := r.start(); err != nil {
			return c, err
		}
		c = append(c, r)
		if i := len(c) - 1; i > 0 {
			host, at, _ := net.SplitHostPort(c[0].addr)
			if _, err := redisDo(r.addr, "CLUSTER", "MEET", host, at, c[0].args[3]); err != nil {
				return c, err
			}
		}
		if _, err := redisDo(r.addr, "CLUSTER", "ADDSLOTSRANGE", 16384*(len(c)-1)/3, 16384*len(c)/3-1); err != nil {
			return c, err
		}
	}
	return c, c.await()
}

// await waits until all of it serves.
func (c redisCluster) await() error {
	return wait(func() bool {
		for _, r := range c {
			if info, err := redisDo(r.addr, "CLUSTER", "INFO"); err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3") {
				return false
			}
		}
		return true
	})
}

func (c redisCluster) stop() {
	for _, r := range c {
		r.stop()
	}
}

// redisDo sends one command, and returns its answer as text.
func redisDo(addr string, args ...any) (string, error) {
	c := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true, MaxRetries: -1})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := c.Do(ctx, args...).Result()
	return fmt.Sprint(out), err
}

// clusterCost shows what a push costs two nodes through a Cluster of three primaries, beside
// what it costs through one Redis: both in turn.
func clusterCost(o options) error {
	one := &redisServer{}
	if err := one.start(); err != nil {
		return err
	}
	defer one.stop()
	c, err := startCluster()
	defer c.stop()
	if err != nil {
		return err
	}
	for _, kind := range []struct{ what, line string }{
		{"without history", ""},
		{"with history", "users: {history: {messages: 100, age: 1h}}"},
	} {
		if err := clusterRatio(o, one.addr, c[0].addr, kind.what, kind.line); err != nil {
			return err
		}
	}
	return nil
}

func clusterRatio(o options, standalone, cluster, what, line string) error {
	const n, clients = 100_000, 4_000 // of each: both are there at once
	var rigs [2]*pushRig
	for i, addr := range []string{standalone, cluster} {
		o.redis = addr
		r, err := newPushRig(o, clients, nil, line)
		rigs[i] = r
		defer r.close()
		if err != nil {
			return err
		}
	}
	for _, r := range rigs { // warm
		if _, _, err := r.round(n / 10); err != nil {
			return err
		}
	}
	var cpu [2][]float64
	var ratios []float64
	for range o.rounds {
		for i, r := range rigs {
			used, _, err := r.round(n)
			if err != nil {
				return err
			}
			cpu[i] = append(cpu[i], used)
		}
		ratios = append(ratios, cpu[1][len(cpu[1])-1]/cpu[0][len(cpu[0])-1])
	}
	fmt.Printf("push %s, two nodes: through one Redis %.1f CPU-µs, through a Cluster of 3 primaries %.1f: × %.2f (median of %d)\n",
		what, median(cpu[0]), median(cpu[1]), median(ratios), o.rounds)
	return nil
}

// resubscribe shows how long after Redis' return a node with 100,000 channels is subscribed to
// all of them again, and what that costs it.
func resubscribe(o options) error {
	one := &redisServer{}
	if err := one.start(); err != nil {
		return err
	}
	defer one.stop()
	if err := resubscribeAt(o, "one Redis", []*redisServer{one}, func() error { return nil }); err != nil {
		return err
	}
	c, err := startCluster()
	defer c.stop()
	if err != nil {
		return err
	}
	return resubscribeAt(o, "a Cluster of 3 primaries", c, c.await)
}

// resubscribeAt kills the servers and restarts them; they are back when ready returns.
func resubscribeAt(o options, what string, servers []*redisServer, ready func() error) error {
	const clients, each = 1_000, 100
	s, err := start(o, anonymous, socketLines, "channels: [{match: '**', subscribe: anyone}]", "redis: {addresses: ['"+servers[0].addr+"']}")
	if err != nil {
		return err
	}
	defer s.stop()
	var answered atomic.Int64
	f, err := newFleet(func(_ int, p []byte) {
		if bytes.HasPrefix(p, []byte(`{"type":"ok"`)) {
			answered.Add(1)
		}
	})
	if err != nil {
		return err
	}
	defer f.close()
	if err := f.dial(s.public, clients, func(int) string { return spoken }); err != nil {
		return err
	}
	if err := subscribeAll(f, clients, each, &answered); err != nil {
		return err
	}
	up := func() bool { return s.metrics()["pushcart_redis_up"] == 1 }
	var took, cpu []float64
	for range o.rounds {
		if err := wait(up); err != nil {
			return err
		}
		for _, r := range servers {
			r.kill()
		}
		if err := wait(func() bool { return !up() }); err != nil {
			return err
		}
		before := s.cpu()
		for _, r := range servers {
			if err := r.start(); err != nil {
				return err
			}
		}
		if err := ready(); err != nil {
			return err
		}
		began := time.Now()
		if err := wait(up); err != nil {
			return err
		}
		took, cpu = append(took, time.Since(began).Seconds()), append(cpu, (s.cpu()-before).Seconds())
		if n, err := channelsAt(servers); err != nil || n < clients*each {
			return fmt.Errorf("up, with %d of %d channels: %w", n, clients*each, err)
		}
	}
	fmt.Printf("%d channels are resubscribed at %s within %.2f s of its return (median of %d; %v), for %.2f CPU-s\n",
		clients*each, what, median(took), o.rounds, took, median(cpu))
	return nil
}

// channelsAt counts what is subscribed to.
func channelsAt(servers []*redisServer) (n int, err error) {
	for _, r := range servers {
		for _, which := range []string{"CHANNELS", "SHARDCHANNELS"} {
			all, err := redisDo(r.addr, "PUBSUB", which)
			if err != nil {
				return 0, err
			}
			n += len(strings.Fields(all))
		}
	}
	return n, nil
}
