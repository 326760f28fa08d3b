package redistest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/internal/testkit"
)

const slots = 16384

// Cluster is a Redis Cluster of several servers.
type Cluster struct {
	// Primaries share the slots evenly; Replicas[i] are those of Primaries[i]. Both say
	// how it began: a failover changes neither.
	Primaries []*Server
	Replicas  [][]*Server
}

// NewCluster starts a cluster that ends with the test. Its servers notice after a
// second that one of them is gone.
func NewCluster(t testing.TB, primaries, replicasEach int) *Cluster {
	t.Helper()
	c := &Cluster{Replicas: make([][]*Server, primaries)}
	for i := range primaries {
		c.Primaries = append(c.Primaries, &Server{bus: freePort(t)})
		for range replicasEach {
			c.Replicas[i] = append(c.Replicas[i], &Server{bus: freePort(t)})
		}
	}
	for _, s := range c.Servers() {
		start(t, s)
	}
	for i, p := range c.Primaries {
		p.Do(t, "CLUSTER", "ADDSLOTSRANGE", slots*i/primaries, slots*(i+1)/primaries-1)
	}
	for i, s := range c.Servers() {
		s.Do(t, "CLUSTER", "SET-CONFIG-EPOCH", i+1) // else servers that meet agree about that first
	}
	for _, s := range c.Servers()[1:] {
		c.meet(t, s)
	}
	for i, replicas := range c.Replicas {
		for _, r := range replicas {
			c.replicate(t, r, c.Primaries[i])
		}
	}
	c.WaitOK(t)
	return c
}

// Servers are all that it began with, the primaries first.
func (c *Cluster) Servers() []*Server {
	all := append([]*Server(nil), c.Primaries...)
	for _, r := range c.Replicas {
		all = append(all, r...)
	}
	return all
}

func (c *Cluster) meet(t testing.TB, s *Server) {
	t.Helper()
	first := c.Primaries[0]
	host, port, _ := net.SplitHostPort(first.Addr)
	s.Do(t, "CLUSTER", "MEET", host, port, first.bus)
}

func (c *Cluster) replicate(t testing.TB, replica, primary *Server) {
	t.Helper()
	id := primary.Do(t, "CLUSTER", "MYID")
	testkit.Eventually(t, "the replica knows its primary", func() bool {
		return strings.Contains(replica.Do(t, "CLUSTER", "NODES"), id)
	})
	replica.Do(t, "CLUSTER", "REPLICATE", id)
	testkit.Eventually(t, "the replica has a copy", func() bool {
		return strings.Contains(replica.Do(t, "INFO", "replication"), "master_link_status:up")
	})
}

// ServeInPart has servers go on with what is theirs while others are away, which they do
// not by themselves (cluster-require-full-coverage).
func (c *Cluster) ServeInPart(t testing.TB) {
	t.Helper()
	for _, s := range c.Servers() {
		s.Do(t, "CONFIG", "SET", "cluster-require-full-coverage", "no")
	}
}

// WaitOK waits until every server that runs knows an owner of every slot.
func (c *Cluster) WaitOK(t testing.TB) {
	t.Helper()
	testkit.Eventually(t, "the cluster is ok", func() bool {
		for _, s := range c.Servers() {
			if killed := s.cmd.ProcessState != nil; !killed && !strings.Contains(s.Try("CLUSTER", "INFO"), "cluster_state:ok") {
				return false
			}
		}
		return true
	})
}

// Failover makes a replica the primary of its slots, and waits until it is one. With
// force the primary is not asked, which may be dead.
func (c *Cluster) Failover(t testing.TB, replica *Server, force bool) {
	t.Helper()
	args := []any{"CLUSTER", "FAILOVER"}
	if force {
		args = append(args, "FORCE")
	}
	replica.Do(t, args...)
	WaitPrimary(t, replica)
}

// AddShard starts an empty primary that has no slots yet; see Move.
func (c *Cluster) AddShard(t testing.TB) *Server {
	t.Helper()
	s := start(t, &Server{bus: freePort(t)})
	c.meet(t, s)
	for _, known := range c.Servers() {
		testkit.Eventually(t, "the cluster knows the new server", func() bool {
			return strings.Contains(known.Do(t, "CLUSTER", "NODES"), s.Addr) && strings.Contains(s.Do(t, "CLUSTER", "NODES"), known.Addr)
		})
	}
	c.Primaries, c.Replicas = append(c.Primaries, s), append(c.Replicas, nil)
	c.WaitOK(t)
	return s
}

// Move moves slots from..to, with their keys, from one primary to another while both
// serve, as redis-cli does.
func (c *Cluster) Move(t testing.TB, from, to *Server, first, last int) {
	t.Helper()
	source, target := from.Do(t, "CLUSTER", "MYID"), to.Do(t, "CLUSTER", "MYID")
	host, port, _ := net.SplitHostPort(to.Addr)
	f := redis.NewClient(&redis.Options{Addr: from.Addr, DisableIdentity: true})
	defer f.Close()
	for slot := first; slot <= last; slot++ {
		to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", source)
		from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", target)
		for {
			keys, err := f.ClusterGetKeysInSlot(context.Background(), slot, 10).Result()
			if err != nil {
				t.Fatal(err)
			}
			if len(keys) == 0 {
				break
			}
			args := []any{"MIGRATE", host, port, "", 0, 5000, "REPLACE", "KEYS"}
			for _, k := range keys {
				args = append(args, k)
			}
			from.Do(t, args...)
		}
		to.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", target)
		from.Try("CLUSTER", "SETSLOT", slot, "NODE", target) // with its last slot gone, it may be a replica by now
		for _, s := range c.Servers() {
			if s != to && s != from && strings.Contains(s.Try("ROLE"), "master") {
				s.Try("CLUSTER", "SETSLOT", slot, "NODE", target)
			}
		}
	}
}

// Remove takes a server without slots out of the cluster for good; it stays up, alone.
func (c *Cluster) Remove(t testing.TB, gone *Server) {
	t.Helper()
	id := gone.Do(t, "CLUSTER", "MYID")
	i := slices.Index(c.Primaries, gone)
	c.Primaries, c.Replicas = slices.Delete(c.Primaries, i, i+1), slices.Delete(c.Replicas, i, i+1)
	gone.Do(t, "CLUSTER", "RESET", "HARD")
	for _, s := range c.Servers() {
		s.Do(t, "CLUSTER", "FORGET", id)
	}
	c.WaitOK(t)
}

// WaitPrimary waits until a server says that it is one.
func WaitPrimary(t testing.TB, s *Server) {
	t.Helper()
	testkit.Eventually(t, "the replica is the primary", func() bool { return strings.HasPrefix(s.Try("ROLE"), "[master") })
}

// Try is Do for a server that may not answer: then it returns what went wrong.
func (s *Server) Try(args ...any) string {
	c := redis.NewClient(&redis.Options{Addr: s.Addr, DisableIdentity: true, MaxRetries: -1, DialTimeout: time.Second})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	out, err := c.Do(ctx, args...).Result()
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(out)
}
