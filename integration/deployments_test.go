package integration

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/redistest"
)

// deployment is a Redis under nodes, which breaks and loses nothing that it confirmed. Its
// functions return when it serves again.
type deployment struct {
	// yaml is the section redis of the nodes, without the braces.
	yaml string
	// breaks are the ways in which it breaks, to be taken in turns.
	breaks []func()
	// restart ends what serves; hang stops it for a time.
	restart func()
	hang    func(time.Duration)
	// empty has it lose everything.
	empty func()
	// losses are what it lost beside that.
	losses []loss
}

// loss is a takeover by a replica that may not have had everything.
type loss struct {
	span
	// of says whether a channel was on that shard.
	of func(channel string) bool
}

// unreplicated is how long what was confirmed may be on its way to a replica.
const unreplicated = 2 * time.Second

// lost says whether what was confirmed on a channel may be lost: a moment before a takeover,
// or while it lasted.
func (d *deployment) lost(channel string, confirmed time.Time) bool {
	return slices.ContainsFunc(d.losses, func(l loss) bool {
		return l.of(channel) && span{from: l.from.Add(-unreplicated), to: l.to}.holds(confirmed, 0)
	})
}

// lossy says whether anything of a channel may be lost.
func (d *deployment) lossy(channel string) bool {
	return slices.ContainsFunc(d.losses, func(l loss) bool { return l.of(channel) })
}

// newStandalone is one server that keeps every write, behind an address that is cut.
func newStandalone(t *testing.T) *deployment {
	t.Helper()
	server := redistest.StartWith(t, redistest.Keeping...)
	vip := redistest.NewVIP(t, server.Addr)
	d := &deployment{
		yaml: "addresses: ['" + vip.Addr + "']",
		restart: func() {
			server.Kill()
			server.RestartSaved(t)
		},
		hang: func(d time.Duration) {
			server.Pause()
			<-time.After(d)
			server.Resume()
		},
		empty: func() {
			server.Kill()
			server.Restart(t)
		},
	}
	d.breaks = []func(){func() { server.Do(t, "CLIENT", "KILL", "TYPE", "pubsub") }, vip.Cut, d.restart}
	return d
}

// newCluster is three primaries, each with a replica that takes over when it has all that
// its primary confirmed.
func newCluster(t *testing.T) *deployment {
	t.Helper()
	cluster := redistest.NewCluster(t, 3, 1, redistest.Keeping...)
	shards := cluster.Shards()
	turn := 0
	next := func() *redistest.Shard { // but the last: nodes that start know its address
		turn++
		return shards[turn%2]
	}
	d := &deployment{
		yaml: "addresses: ['" + shards[2].Primary.Addr + "']",
		restart: func() {
			s := next()
			s.Hold(t)
			s.Kill(t)
			cluster.WaitOK(t)
		},
		hang: func(d time.Duration) {
			s := next()
			s.Hold(t)
			s.Hang(t, d)
			cluster.WaitOK(t)
		},
		empty: func() {
			for _, s := range shards {
				s.Primary.Do(t, "FLUSHALL", "SYNC")
				s.Primary.Do(t, "CLIENT", "KILL", "TYPE", "normal")
			}
		},
	}
	d.breaks = []func(){
		d.restart,
		func() { next().Failover(t) },
		func() {
			for _, s := range shards {
				s.Primary.Do(t, "CLIENT", "KILL", "TYPE", "pubsub")
			}
		},
		func() { d.hang(3 * time.Second) },
		func() { // a partition of names goes to another shard, and comes back
			const first, last = 0, 255
			from, to := shards[0].Primary, shards[1].Primary
			cluster.Move(t, from, to, first, last)
			cluster.Move(t, to, from, first, last)
		},
	}
	return d
}

// newLossyCluster is one of which primaries are killed whether or not their replica has
// everything.
func newLossyCluster(t *testing.T) *deployment {
	t.Helper()
	const slots = 16384
	cluster := redistest.NewCluster(t, 3, 1, redistest.Keeping...)
	shards := cluster.Shards()
	d := &deployment{yaml: "addresses: ['" + shards[2].Primary.Addr + "']"}
	turn := 0
	d.breaks = []func(){func() {
		turn++
		i, began := turn%2, time.Now()
		shards[i].Kill(t)
		cluster.WaitOK(t)
		d.losses = append(d.losses, loss{span{from: began, to: time.Now()}, func(channel string) bool {
			slot, err := strconv.Atoi(shards[2].Primary.Do(t, "CLUSTER", "KEYSLOT", channel))
			if err != nil {
				t.Fatal(err)
			}
			return slots*i/3 <= slot && slot < slots*(i+1)/3
		}})
	}}
	return d
}

// newSentinel is a master and a replica under three sentinels. The replica takes over when
// it has all that the master confirmed.
func newSentinel(t *testing.T) *deployment {
	t.Helper()
	sentinels := redistest.NewPatientSentinels(t, 1, redistest.Keeping...)
	s := sentinels.Shard()
	d := &deployment{
		yaml:    "addresses: ['" + strings.Join(sentinels.Addrs, "', '") + "'], master_name: " + redistest.MasterName,
		restart: func() { s.Hold(t); s.Kill(t) },
		hang:    func(d time.Duration) { s.Hold(t); s.Hang(t, d) },
		empty: func() {
			s.Primary.Do(t, "FLUSHALL", "SYNC")
			s.Primary.Do(t, "CLIENT", "KILL", "TYPE", "normal")
		},
	}
	d.breaks = []func(){
		d.restart,
		func() { s.Hold(t); s.Failover(t) },
		func() { s.Primary.Do(t, "CLIENT", "KILL", "TYPE", "pubsub") },
		func() { d.hang(3 * time.Second) },
	}
	return d
}
