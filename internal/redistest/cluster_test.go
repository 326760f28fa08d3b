package redistest

import (
	"strings"
	"testing"
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
