package redisbroker_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// What was one server comes back as a Cluster, and the reverse; nothing is started again.
func TestRedis_AutoFollowsAServerThatComesBackInAnotherMode(t *testing.T) {
	addr := testkit.FreeAddr(t)
	cfg := config.Redis{Addresses: []string{addr}, Mode: config.RedisAuto}
	s := redistest.StartAt(t, addr)
	a, b := newConfigured(t, "a", cfg), newConfigured(t, "b", cfg)
	exchange(t, a, b)
	s.Kill()
	c := redistest.StartClusterAt(t, addr)
	exchange(t, a, b)
	c.Kill()
	s.Restart(t)
	exchange(t, a, b)
	for _, mode := range []string{"cluster", "standalone"} {
		if log := a.log.String(); strings.Count(log, "it is used so from now on\" key=redis.mode mode="+mode) != 1 {
			t.Errorf("want one line about %s:\n%s", mode, log)
		}
	}
}

// What is configured is not what is found: one line, and nothing is used.
func TestRedis_SaysThatAModeOrADatabaseDoesNotFit(t *testing.T) {
	addr := testkit.FreeAddr(t)
	s := redistest.StartAt(t, addr)
	at := func(cfg config.Redis) config.Redis { cfg.Addresses = []string{addr}; return cfg }
	newConfigured(t, "a", at(config.Redis{Mode: config.RedisCluster})).complains(t, "redis.mode", "redis runs in mode standalone, and cluster is wanted: see redis.mode")
	fixed, other := newConfigured(t, "b", at(config.Redis{Mode: config.RedisStandalone})), newConfigured(t, "c", at(config.Redis{Database: 2}))
	testkit.Eventually(t, "both are up", func() bool { return fixed.Up() && other.Up() })
	s.Kill()
	redistest.StartClusterAt(t, addr)
	fixed.complains(t, "redis.mode", "redis runs in mode cluster, and standalone is wanted: see redis.mode")
	const no = "redis runs as a Cluster, which has no other database than 0: see redis.database"
	other.complains(t, "redis.database", no)
	newConfigured(t, "d", at(config.Redis{Database: 2})).complains(t, "redis.database", no)
}

// A proxy has a server say that it is older than it is.
func TestRedis_SaysThatRedisIsTooOld(t *testing.T) {
	s := redistest.Start(t)
	_, version, _ := strings.Cut(s.Do(t, "INFO", "server"), "redis_version:")
	version, _, _ = strings.Cut(version, "\r\n")
	old := "6" + version[1:]
	newConfigured(t, "a", config.Redis{Addresses: []string{rewriting(t, s.Addr, version, old)}}).
		complains(t, "redis.addresses", "redis "+old+" is not used: it is older than 7.0")
}

// rewriting is an address in front of a server that says other words than the server.
func rewriting(t *testing.T, server, from, to string) string {
	t.Helper()
	ln := testkit.Listen(t)
	var work sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); work.Wait() })
	work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", server)
			if err != nil {
				_ = conn.Close()
				continue
			}
			work.Go(func() { _, _ = io.Copy(up, conn); _ = up.Close() })
			work.Go(func() {
				defer conn.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := up.Read(buf)
					_, _ = conn.Write(bytes.ReplaceAll(buf[:n], []byte(from), []byte(to)))
					if err != nil {
						return
					}
				}
			})
		}
	})
	return ln.Addr().String()
}
