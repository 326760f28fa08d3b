package redistest

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/testkit"
)

// Shard is a primary with its replica, which change places when one takes over. Both serve
// again when its methods return.
type Shard struct{ Primary, Replica *Server }

// Shards are those of a Cluster that has one replica each, as it began.
func (c *Cluster) Shards() (all []*Shard) {
	for i, p := range c.Primaries {
		all = append(all, &Shard{p, c.Replicas[i][0]})
	}
	return all
}

var offset = regexp.MustCompile(`(?m)^(?:master|slave)_repl_offset:(\d+)`)

// Hold holds back whatever would be written, and returns when the replica has all that the
// primary confirmed: one that ends then loses nothing.
func (s *Shard) Hold(t testing.TB) {
	t.Helper()
	s.Primary.Do(t, "CLIENT", "PAUSE", time.Minute.Milliseconds(), "WRITE")
	testkit.Eventually(t, "the replica has everything", func() bool {
		wrote := offset.FindStringSubmatch(s.Primary.Try("INFO", "replication"))
		// A replica names what it has before what it would give to its own replicas.
		has := offset.FindStringSubmatch(s.Replica.Try("INFO", "replication"))
		return wrote != nil && has != nil && wrote[1] == has[1]
	})
}

// Kill kills the primary, of which nothing is lost if it is held. It returns when its
// replica took over, and it is back as the replica of that.
func (s *Shard) Kill(t testing.TB) {
	t.Helper()
	s.Primary.Kill()
	WaitPrimary(t, s.Replica)
	s.Primary.RestartSaved(t)
	s.swapped(t)
}

// Hang stops the primary for a time in which its replica takes over.
func (s *Shard) Hang(t testing.TB, d time.Duration) {
	t.Helper()
	s.Primary.Pause()
	resume := time.After(d)
	WaitPrimary(t, s.Replica)
	<-resume
	s.Primary.Resume()
	testkit.Eventually(t, "the old primary notices", func() bool { return strings.HasPrefix(s.Primary.Try("ROLE"), "[slave") })
	s.Primary.Do(t, "CLIENT", "UNPAUSE") // it was held
	s.swapped(t)
}

// Failover has the replica take over by command, for which the primary waits.
func (s *Shard) Failover(t testing.TB, c *Cluster) {
	t.Helper()
	c.Failover(t, s.Replica, false)
	s.swapped(t)
}

// swapped waits until the old primary has a copy of the new one, and is its replica.
func (s *Shard) swapped(t testing.TB) {
	t.Helper()
	s.Primary, s.Replica = s.Replica, s.Primary
	testkit.Eventually(t, fmt.Sprintf("%s is the replica of %s", s.Replica.Addr, s.Primary.Addr), func() bool {
		about := s.Replica.Try("INFO", "replication")
		_, port, _ := strings.Cut(s.Primary.Addr, ":")
		return strings.Contains(about, "master_link_status:up") && strings.Contains(about, "master_port:"+port+"\r")
	})
}
