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
	// VIPs are, in a NewClusterBehind, the addresses of Servers that the Cluster announces.
	VIPs []*VIP
}

// Patient are arguments for servers of a Cluster of which none dies: where a machine is so
// slow that one is not heard for a second, that one is not taken for dead.
var Patient = []string{"--cluster-node-timeout", "15000"}

// NewCluster starts a cluster that ends with the test, with further arguments of
// redis-server. Its servers notice after a second that one of them is gone.
func NewCluster(t testing.TB, primaries, replicasEach int, args ...string) *Cluster {
	t.Helper()
	c := newCluster(t, primaries, replicasEach, args)
	c.join(t)
	return c
}

// NewClusterBehind is NewCluster with an address in front of each server, where clients
// find it, and replicas their primary. The servers' own talk goes straight.
func NewClusterBehind(t testing.TB, primaries, replicasEach int, args ...string) *Cluster {
	t.Helper()
	c := newCluster(t, primaries, replicasEach, args)
	for _, s := range c.Servers() {
		s.Addr = testkit.FreeAddr(t)
		vip := NewVIP(t, s.Addr)
		_, port, _ := net.SplitHostPort(vip.Addr)
		s.args = append(s.args[:len(s.args):len(s.args)], "--cluster-announce-port", port, "--cluster-announce-bus-port", s.bus)
		c.VIPs = append(c.VIPs, vip)
	}
	c.join(t)
	return c
}

func newCluster(t testing.TB, primaries, replicasEach int, args []string) *Cluster {
	t.Helper()
	c := &Cluster{Replicas: make([][]*Server, primaries)}
	for i := range primaries {
		c.Primaries = append(c.Primaries, &Server{bus: freePort(t), args: args})
		for range replicasEach {
			c.Replicas[i] = append(c.Replicas[i], &Server{bus: freePort(t), args: args})
		}
	}
	return c
}

// join starts the servers and makes them a cluster.
func (c *Cluster) join(t testing.TB) {
	t.Helper()
	for _, s := range c.Servers() {
		start(t, s)
	}
	primaries := len(c.Primaries)
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
			if killed := s.cmd.ProcessState != nil; !killed && !s.paused.Load() && !strings.Contains(s.Try("CLUSTER", "INFO"), "cluster_state:ok") {
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
	var asked time.Time
	testkit.Eventually(t, "the replica takes over", func() bool {
		// Without votes, as there was a failover a moment ago, it gives up after 5 s.
		if time.Since(asked) > 6*time.Second {
			asked = time.Now()
			replica.Try(args...)
		}
		return replica.IsPrimary()
	})
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

// slotsAtOnce is how many slots Move has under way.
const slotsAtOnce = 16

// Move moves slots from..to, with their keys, from one primary to another while both
// serve, as redis-cli does.
func (c *Cluster) Move(t testing.TB, from, to *Server, first, last int) {
	t.Helper()
	m := mover{t: t, from: from, to: to, conns: map[*Server]*redis.Client{}}
	defer m.close()
	for ; first <= last; first += slotsAtOnce {
		m.move(c.Servers(), first, min(first+slotsAtOnce-1, last))
	}
}

// mover has a connection to each server for the thousands of commands that a range of
// slots takes.
type mover struct {
	t        testing.TB
	from, to *Server
	conns    map[*Server]*redis.Client
}

func (m mover) close() {
	for _, c := range m.conns {
		_ = c.Close()
	}
}

func (m mover) conn(s *Server) *redis.Client {
	if m.conns[s] == nil {
		m.conns[s] = redis.NewClient(&redis.Options{Addr: s.Addr, DisableIdentity: true, MaxRetries: -1, DialTimeout: time.Second})
	}
	return m.conns[s]
}

func (m mover) move(all []*Server, first, last int) {
	m.t.Helper()
	source, target := m.must(m.from, "CLUSTER", "MYID"), m.must(m.to, "CLUSTER", "MYID")
	set := func(s *Server, how ...any) error {
		_, err := m.conn(s).Pipelined(context.Background(), func(p redis.Pipeliner) error {
			for slot := first; slot <= last; slot++ {
				p.Do(context.Background(), append([]any{"CLUSTER", "SETSLOT", slot}, how...)...)
			}
			return nil
		})
		return err
	}
	need := func(err error) {
		m.t.Helper()
		if err != nil {
			m.t.Fatal("CLUSTER SETSLOT: ", err)
		}
	}
	need(set(m.to, "IMPORTING", source))
	need(set(m.from, "MIGRATING", target))
	for slot := first; slot <= last; slot++ {
		m.carry(slot)
	}
	need(set(m.to, "NODE", target))
	_ = set(m.from, "NODE", target) // with its last slot gone, it may be a replica by now
	for _, s := range all {
		if s != m.to && s != m.from && strings.Contains(s.Try("ROLE"), "master") {
			_ = set(s, "NODE", target)
		}
	}
}

func (m mover) must(s *Server, args ...any) string {
	m.t.Helper()
	out, err := m.conn(s).Do(context.Background(), args...).Result()
	if err != nil {
		m.t.Fatalf("redis %v: %v", args, err)
	}
	return fmt.Sprint(out)
}

// carry moves the keys of one slot.
func (m mover) carry(slot int) {
	m.t.Helper()
	host, port, _ := net.SplitHostPort(m.to.Addr)
	for {
		keys, err := m.conn(m.from).ClusterGetKeysInSlot(context.Background(), slot, 10).Result()
		if err != nil {
			m.t.Fatal(err)
		}
		if len(keys) == 0 {
			return
		}
		args := []any{"MIGRATE", host, port, "", 0, 5000, "REPLACE", "KEYS"}
		for _, k := range keys {
			args = append(args, k)
		}
		m.must(m.from, args...)
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
	testkit.Eventually(t, "the replica is the primary", s.IsPrimary)
}

// IsPrimary says whether a server says that it is one.
func (s *Server) IsPrimary() bool { return strings.HasPrefix(s.Try("ROLE"), "[master") }

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

// WantNoError fails where a server of the cluster ever answered a command with this word.
func (c *Cluster) WantNoError(t testing.TB, word string) {
	t.Helper()
	for _, s := range c.Primaries {
		s.WantNoError(t, word)
	}
}
