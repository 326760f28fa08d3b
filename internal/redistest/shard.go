package redistest

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/testkit"
)

// Shard is a primary with its replica, which change places when one takes over. Both serve
// again when its methods return.
type Shard struct {
	Primary, Replica *Server

	cluster   *Cluster   // either it is of a Cluster
	sentinels *Sentinels // or these watch it
}

// Shards are those of a Cluster that has one replica each, as it began.
func (c *Cluster) Shards() (all []*Shard) {
	for i, p := range c.Primaries {
		all = append(all, &Shard{Primary: p, Replica: c.Replicas[i][0], cluster: c})
	}
	return all
}

// Shard is the master, as it began, and its only replica.
func (s *Sentinels) Shard() *Shard {
	return &Shard{Primary: s.Servers[0], Replica: s.Servers[1], sentinels: s}
}

// everywhere waits until each sentinel says of the master, or of its replica, what is
// wanted.
func (s *Sentinels) everywhere(t testing.TB, what, about string, want ...string) {
	t.Helper()
	testkit.Eventually(t, what, func() bool {
		for _, addr := range s.Addrs {
			said := (&Server{Addr: addr}).Try("SENTINEL", about, MasterName)
			for _, w := range want {
				if !strings.Contains(said, w) {
					return false
				}
			}
		}
		return true
	})
}

var offset = regexp.MustCompile(`(?m)^(?:master|slave)_repl_offset:(\d+)`)

// wrote is how much a server has of what was ever written, -1 if it does not answer.
func (s *Server) wrote() int {
	m := offset.FindStringSubmatch(s.Try("INFO", "replication"))
	if m == nil {
		return -1
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// Hold has the primary refuse all writes, and returns when the replica has every one that
// was confirmed: a takeover then loses nothing. CLIENT PAUSE would do for a Cluster, but
// holds up sentinels' PUBLISH, and their PING behind it.
func (s *Shard) Hold(t testing.TB) {
	t.Helper()
	s.Primary.Do(t, "CONFIG", "SET", "min-replicas-to-write", 100)
	all := s.Primary.wrote()
	testkit.Eventually(t, "the replica has everything", func() bool { return s.Replica.wrote() >= all })
}

// Kill kills the primary, of which nothing is lost if it is held. It returns when its
// replica took over, and it is back as the replica of that.
func (s *Shard) Kill(t testing.TB) {
	t.Helper()
	s.Primary.Kill()
	s.noticed(t)
	s.takenOver(t)
	s.Primary.RestartSaved(t)
	s.demoted(t)
	s.swapped(t)
}

// Hang stops the primary for a time in which its replica takes over.
func (s *Shard) Hang(t testing.TB, d time.Duration) {
	t.Helper()
	s.Primary.Pause()
	resume := time.After(d)
	s.noticed(t)
	s.takenOver(t)
	<-resume
	s.Primary.Resume()
	s.demoted(t)
	s.swapped(t)
}

// Failover has the replica take over by command. A Cluster's primary waits for that; one
// under Sentinels loses nothing if it is held.
func (s *Shard) Failover(t testing.TB) {
	t.Helper()
	if s.cluster != nil {
		s.cluster.Failover(t, s.Replica, false)
	} else {
		s.sentinels.Failover(t)
	}
	s.takenOver(t)
	s.demoted(t)
	s.swapped(t)
}

// noticed has the sentinels fail over, a second after the primary is gone. They would do so
// of their own accord if they took a master for dead that quickly. But where a machine is
// slow they then do the same to the new master before they ever heard it, and promote the
// old one, which is just back and lacks what was written since.
func (s *Shard) noticed(t testing.TB) {
	t.Helper()
	if s.sentinels != nil {
		<-time.After(time.Second)
		s.sentinels.order(t)
	}
}

// takenOver waits until everybody sees the replica as the primary.
func (s *Shard) takenOver(t testing.TB) {
	t.Helper()
	WaitPrimary(t, s.Replica)
	if s.sentinels != nil {
		_, port, _ := net.SplitHostPort(s.Replica.Addr)
		s.sentinels.everywhere(t, "the sentinels name the new master", "MASTER", "port:"+port+" ")
	}
}

// demoted waits until the old primary is a replica. Sentinels take some ten seconds to
// tell it, if it was away: it is told at once.
func (s *Shard) demoted(t testing.TB) {
	t.Helper()
	if s.sentinels != nil {
		host, port, _ := net.SplitHostPort(s.Replica.Addr)
		s.Primary.Do(t, "REPLICAOF", host, port)
	}
	testkit.Eventually(t, "the old primary notices", func() bool { return strings.HasPrefix(s.Primary.Try("ROLE"), "[slave") })
	s.Primary.Do(t, "CONFIG", "SET", "min-replicas-to-write", 0)
}

// swapped waits until the old primary has a copy of the new one, and is its replica.
func (s *Shard) swapped(t testing.TB) {
	t.Helper()
	s.Primary, s.Replica = s.Replica, s.Primary
	testkit.Eventually(t, fmt.Sprintf("%s is the replica of %s", s.Replica.Addr, s.Primary.Addr), func() bool {
		about := s.Replica.Try("INFO", "replication")
		_, port, _ := net.SplitHostPort(s.Primary.Addr)
		return strings.Contains(about, "master_link_status:up") && strings.Contains(about, "master_port:"+port+"\r")
	})
	if s.sentinels != nil {
		s.sentinels.everywhere(t, "the sentinels see the new replica", "REPLICAS", "flags:slave ", "master-link-status:ok")
	}
}
