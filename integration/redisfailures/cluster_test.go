package redisfailures

import (
	"strconv"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// cluster is three primaries, each with a replica. Nodes know the address of one.
type cluster struct {
	deployment
	*redistest.Cluster
}

func newCluster(t *testing.T, args ...string) *cluster {
	t.Helper()
	return asCluster(redistest.NewCluster(t, 3, 1, args...), func(c *redistest.Cluster) string { return c.Primaries[0].Addr })
}

func asCluster(of *redistest.Cluster, seed func(*redistest.Cluster) string) *cluster {
	c := &cluster{Cluster: of}
	c.yaml = "addresses: ['" + seed(of) + "']"
	c.serving = func() (alive []*redistest.Server) {
		for _, s := range c.Servers() {
			if s.Try("PING") == "PONG" {
				alive = append(alive, s)
			}
		}
		return alive
	}
	c.loses = func(channel string) bool { return owner(slotOf(c.Primaries[1], channel)) == 0 }
	return c
}

// slotOf asks a server for the slot of a name.
func slotOf(s *redistest.Server, name string) int {
	slot, err := strconv.Atoi(s.Try("CLUSTER", "KEYSLOT", name))
	if err != nil {
		panic(err)
	}
	return slot
}

// primaryKilled is a primary that dies, and whose replica takes over when the others say so.
func primaryKilled(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	c := newCluster(t)
	return &c.deployment, func(r *rig, _ time.Duration) {
		r.broke()
		c.Primaries[0].Kill()
		r.back(func() { c.takenOver(r, c.Replicas[0][0]) })
	}
}

// takenOver waits until a replica took over, and everybody knows.
func (c *cluster) takenOver(r *rig, replica *redistest.Server) {
	testkit.Eventually(r.t, "the replica takes over", func() bool {
		r.backFrom = time.Now()
		return replica.IsPrimary()
	})
	c.WaitOK(r.t)
}

// primaryHangs is a primary that hangs, and has nothing that its replica, which takes over,
// has not. It comes back as the replica.
func primaryHangs(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	c := newCluster(t)
	return &c.deployment, func(r *rig, lasts time.Duration) {
		s := c.Shards()[0]
		r.broke()
		s.Hold(t)
		s.Primary.Pause()
		r.back(func() { c.takenOver(r, s.Replica) })
		r.mended = comesBack(t, s.Primary, lasts)
	}
}

// comesBack lets a server that hangs go on after a time, and returns what waits until it is
// a replica.
func comesBack(t *testing.T, old *redistest.Server, after time.Duration) (wait func()) {
	resumed := make(chan struct{})
	time.AfterFunc(after, func() { old.Resume(); close(resumed) })
	return func() {
		<-resumed
		testkit.Eventually(t, "the old primary notices", func() bool { return !old.IsPrimary() && old.Try("PING") == "PONG" })
	}
}

// shardHeld is a network that drops what goes to and comes from one primary, and then
// cuts it. The others see it all along.
func shardHeld(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	c := asCluster(redistest.NewClusterBehind(t, 3, 1), func(c *redistest.Cluster) string { return c.VIPs[1].Addr })
	return &c.deployment, func(r *rig, lasts time.Duration) {
		r.broke()
		release := c.VIPs[0].Hold()
		<-time.After(lasts)
		r.back(func() {
			release()
			c.VIPs[0].Cut()
		})
	}
}

// clusterRestarted are all servers, killed and started again with every write.
func clusterRestarted(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	c := newCluster(t, redistest.Keeping...)
	return &c.deployment, func(r *rig, lasts time.Duration) {
		r.broke()
		for _, s := range c.Servers() {
			s.Kill()
		}
		<-time.After(lasts)
		r.back(func() {
			for _, s := range c.Servers() {
				s.RestartSaved(t)
			}
			c.WaitOK(t)
		})
	}
}

// failedOver is a replica that takes over from its primary, by command.
func failedOver(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	c := newCluster(t)
	return &c.deployment, func(r *rig, _ time.Duration) {
		r.broke()
		r.back(func() { c.Failover(t, c.Replicas[1][0], false) })
	}
}

// slotsMoved are the slots of a channel's partition that move to another primary, with
// their keys, while it is pushed to; in the long form those of every channel with history.
func slotsMoved(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	c := newCluster(t)
	fresh := c.AddShard(t)
	c.Move(t, c.Primaries[0], fresh, 0, partition-1) // so that it is in use
	return &c.deployment, func(r *rig, _ time.Duration) {
		r.broke()
		r.back(func() { c.movePartitions(t, fresh) })
	}
}

// movePartitions moves those of the channels with history, in the short form of one.
func (c *cluster) movePartitions(t *testing.T, fresh *redistest.Server) {
	moved := map[int]bool{0: true}
	for i := range keptChannels {
		first := slotOf(c.Primaries[0], kept(i)) / partition * partition
		from, last := owner(first), first+partition-1
		if moved[first] || owner(last) != from {
			continue
		}
		moved[first] = true
		if c.Move(t, c.Primaries[from], fresh, first, last); !long() {
			return
		}
	}
}

// owner is the primary that began with a slot.
func owner(slot int) int {
	for i := range 3 {
		if slot < slots*(i+1)/3 {
			return i
		}
	}
	return -1
}

const (
	slots = 16384
	// partition is how many of them a partition of names has.
	partition = slots / 64
)
