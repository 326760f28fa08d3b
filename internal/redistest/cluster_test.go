package redistest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCluster_SlotsMoveAndAReplicaTakesOver(t *testing.T) {
	c := NewCluster(t, 3, 1)
	s := c.Primaries[0] // slot 0 to 5460
	s.Do(t, "SET", "{06S}a", "1")
	fresh := c.AddShard(t)
	c.Move(t, s, fresh, 0, 0) // the slot of 06S
	if got := fresh.Do(t, "GET", "{06S}a"); got != "1" {
		t.Errorf("the key moved as %q", got)
	}
	if got := s.Try("GET", "{06S}a"); !strings.HasPrefix(got, "MOVED 0 "+fresh.Addr) {
		t.Errorf("the old primary answers %q", got)
	}
	c.Primaries[1].Kill()
	WaitPrimary(t, c.Replicas[1][0])
}

func TestSentinels_PromoteAReplica(t *testing.T) {
	s := NewSentinels(t, 1)
	first := s.Master(t)
	second := s.Failover(t)
	if second == first {
		t.Fatal("the master is the same")
	}
}

func TestShard_TakeoversLoseNothingThatWasHeld(t *testing.T) {
	kill := func(t *testing.T, s *Shard) { s.Hold(t); s.Kill(t) }
	hang := func(t *testing.T, s *Shard) { s.Hold(t); s.Hang(t, 3*time.Second) }
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		takeovers(t, NewCluster(t, 3, 1, Keeping...).Shards()[0], kill, hang, func(t *testing.T, s *Shard) { s.Failover(t) })
	})
	t.Run("sentinel", func(t *testing.T) { // sentinels look every ten seconds
		t.Parallel()
		takeovers(t, NewPatientSentinels(t, 1, Keeping...).Shard(), kill)
	})
}

func takeovers(t *testing.T, s *Shard, all ...func(*testing.T, *Shard)) {
	for i, takeOver := range all {
		primary := s.Primary
		s.Primary.Do(t, "SET", "{06S}a", i) // slot 0
		takeOver(t, s)
		if s.Primary == primary {
			t.Errorf("%d: the primary is the same", i)
		}
		if got := s.Primary.Do(t, "INCR", "{06S}a"); got != fmt.Sprint(i+1) {
			t.Errorf("%d: got %s", i, got)
		}
	}
}
