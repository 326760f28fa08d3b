package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/internal/testkit"
)

// Server is a running redis-server.
type Server struct {
	// Addr is its host:port, the same after a restart.
	Addr string
	// TLSAddr is where it speaks TLS; "" if it does not.
	TLSAddr string
	// Password is the default user's, where that has one.
	Password string

	cmd  *exec.Cmd
	dir  string // what SAVE writes, until the next Restart
	bus  string // its port in cluster mode, else ""
	args []string

	paused atomic.Bool
}

// Start starts a server that ends with the test. Without redis-server on the
// machine the test is skipped; make test installs it.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, &Server{})
}

// StartWith is Start with further arguments of redis-server, which win over ours.
func StartWith(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, &Server{args: args})
}

// Keeping are arguments of a server that writes down every write before it answers; see
// RestartSaved. That outlives a kill, and no disk is waited for.
var Keeping = []string{"--appendonly", "yes", "--appendfsync", "no"}

// StartAt is StartWith at an address that is free.
func StartAt(t testing.TB, addr string, args ...string) *Server {
	t.Helper()
	return start(t, &Server{Addr: addr, args: args})
}

// StartCluster starts a server in cluster mode that owns all slots: it refuses
// commands and scripts that touch more than one.
func StartCluster(t testing.TB) *Server { t.Helper(); return StartClusterWith(t) }

// StartClusterAt is StartCluster at an address that is free.
func StartClusterAt(t testing.TB, addr string) *Server {
	t.Helper()
	s := start(t, &Server{Addr: addr, bus: freePort(t)})
	s.ownAll(t)
	return s
}

// StartClusterWith is StartCluster with further arguments of redis-server.
func StartClusterWith(t testing.TB, args ...string) *Server {
	t.Helper()
	s := start(t, &Server{bus: freePort(t), args: args})
	s.ownAll(t)
	return s
}

func (s *Server) ownAll(t testing.TB) {
	t.Helper()
	s.Do(t, "CLUSTER", "ADDSLOTSRANGE", 0, slots-1)
	testkit.Eventually(t, "the cluster is ok", func() bool { return strings.Contains(s.Do(t, "CLUSTER", "INFO"), "cluster_state:ok") })
}

func freePort(t testing.TB) string {
	t.Helper()
	_, port, _ := net.SplitHostPort(testkit.FreeAddr(t))
	return port
}

func start(t testing.TB, s *Server) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		testkit.Missing(t, "redis-server, which make test installs")
	}
	if s.Addr == "" {
		s.Addr = testkit.FreeAddr(t)
	}
	s.Restart(t)
	t.Cleanup(s.Kill)
	return s
}

// Restart starts a server that was killed, empty, on the same port.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.dir = t.TempDir() // a replica writes there what it fetched
	s.RestartSaved(t)
}

// RestartSaved starts a server that was killed, on the same port, with what it held at
// its last SAVE, or with everything if it was started with appendonly.
func (s *Server) RestartSaved(t testing.TB) {
	t.Helper()
	host, port, _ := net.SplitHostPort(s.Addr)
	args := []string{"--port", port, "--bind", host, "--save", "", "--appendonly", "no",
		"--dir", s.dir, "--enable-debug-command", "local", "--repl-diskless-sync-delay", "0"}
	if s.bus != "" {
		args = append(args, "--cluster-enabled", "yes", "--cluster-port", s.bus, "--cluster-node-timeout", "1000")
	}
	args = append(args, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "redis-server has loaded its data", func() bool {
		conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil && !strings.HasPrefix(s.Try("PING"), "LOADING")
	})
}

// Do sends one command and returns Redis' answer as text.
func (s *Server) Do(t testing.TB, args ...any) string {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr, Password: s.Password, DisableIdentity: true})
	defer c.Close()
	out, err := c.Do(context.Background(), args...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("redis %v: %v", args, err)
	}
	return fmt.Sprint(out)
}

// WantNoError fails where the server ever answered a command with this word.
func (s *Server) WantNoError(t testing.TB, word string) {
	t.Helper()
	if stats := s.Do(t, "INFO", "errorstats"); strings.Contains(stats, "errorstat_"+word+":") {
		t.Errorf("redis answered %s:\n%s", word, stats)
	}
}

// Kill ends the server at once.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// Pause stops the process, as a hanging machine would; Resume lets it go on.
func (s *Server) Pause() {
	s.paused.Store(true)
	_ = s.cmd.Process.Signal(syscall.SIGSTOP)
}

// Resume undoes Pause.
func (s *Server) Resume() {
	s.paused.Store(false)
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
}

// Subscribers counts those of each channel, sharded ones included.
func (s *Server) Subscribers(t testing.TB) map[string]int {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr, DisableIdentity: true})
	defer c.Close()
	ctx, all := context.Background(), map[string]int{}
	for _, of := range []struct {
		names func(context.Context, string) *redis.StringSliceCmd
		count func(context.Context, ...string) *redis.MapStringIntCmd
	}{{c.PubSubChannels, c.PubSubNumSub}, {c.PubSubShardChannels, c.PubSubShardNumSub}} {
		names, err := of.names(ctx, "*").Result()
		if err != nil {
			t.Fatal(err)
		}
		counts, err := of.count(ctx, names...).Result()
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range counts {
			all[name] += int(n)
		}
	}
	return all
}
