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

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{Cluster: redistest.NewCluster(t, 3, 1)}
	c.yaml = "addresses: ['" + c.Primaries[0].Addr + "']"
	c.serving = func() (alive []*redistest.Server) {
		for _, s := range c.Servers() {
			if s.Try("PING") == "PONG" {
				alive = append(alive, s)
			}
		}
		return alive
	}
	return c
}

// primaryKilled is a primary that dies, and whose replica takes over when the others say so.
func primaryKilled(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	c := newCluster(t)
	return &c.deployment, func(r *rig, _ time.Duration) {
		r.broke()
		c.Primaries[0].Kill()
		r.back(func() {
			testkit.Eventually(t, "the replica takes over", func() bool {
				r.backFrom = time.Now()
				return c.Replicas[0][0].IsPrimary()
			})
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
		slot, err := strconv.Atoi(c.Primaries[0].Do(t, "CLUSTER", "KEYSLOT", kept(i)))
		if err != nil {
			t.Error(err)
		}
		first := slot / partition * partition
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
