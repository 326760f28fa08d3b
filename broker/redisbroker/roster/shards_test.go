package roster_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// namesAt are names whose partitions one primary of three has for sure.
func namesAt(primary, n int) (names []string) {
	for i := 0; len(names) < n; i++ {
		name := fmt.Sprint("name", i)
		first, last := link.PartitionOf(name)*3, link.PartitionOf(name)*3+2 // of 192 parts of all slots
		if first/link.Partitions == primary && last/link.Partitions == primary {
			names = append(names, name)
		}
	}
	return names
}

// One of three servers hangs for longer than a lease: the one with the nodes' leases, or
// another. What is of the others goes on, nobody is taken for dead, and afterwards all is
// told.
func TestRosterCluster_AServerThatHangsHoldsUpItsOwnNamesOnly(t *testing.T) {
	t.Parallel()
	for victim, what := range []string{"with the leases", "without"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := redistest.NewCluster(t, 3, 0)
			c.ServeInPart(t)
			nodes := startNodes(t, c.Primaries[2].Addr, c.Primaries[2].Addr)
			a, b := nodes[0], nodes[1]
			a.Declare(here(namesAt(victim, 1)[0]), here(namesAt(2, 1)[0]))
			b.Declare(here(namesAt(1-victim, 1)[0]))
			for _, p := range []int{victim, 2, 1 - victim} {
				a.Facts.Await(t, namesAt(p, 1)[0], "online")
			}
			c.Primaries[victim].Pause()
			hung := time.Now()
			testkit.Eventually(t, "it is known to be away", func() bool { return !a.Up() && !b.Up() })
			healthy, away := append(namesAt(2, 30)[1:], namesAt(1-victim, 30)[1:]...), namesAt(victim, 30)[1:]
			for i := 0; i < len(away) || time.Since(hung) < broker.Lease+3*time.Second; i++ {
				if i < len(away) {
					nodes[i%2].Declare(here(away[i]))
				}
				name, began := healthy[i%len(healthy)], time.Now()
				n := nodes[i%2]
				n.Declare(here(name), member(name, "u", 1))
				told := n.Facts.Of(name)
				n.members(t, name, "u*1")
				n.Declare(gone(name), left(name, "u"))
				testkit.Eventually(t, "it is told", func() bool { return len(n.Facts.Of(name)) > len(told) })
				if d := time.Since(began); d > 1500*time.Millisecond && i > 0 {
					t.Errorf("%s took %v", name, d)
				}
				pause(50 * time.Millisecond)
			}
			for _, name := range away {
				if told := a.Facts.Of(name); told != "" {
					t.Errorf("%s: told %q by a server that hangs", name, told)
				}
			}
			c.Primaries[victim].Resume()
			for _, name := range away {
				a.Facts.Await(t, name, "online")
			}
			if n := a.Buried() + b.Buried(); n > 0 {
				t.Errorf("%d were buried", n)
			}
			a.Declare(gone(namesAt(2, 1)[0]), gone(namesAt(victim, 1)[0]))
			a.Facts.Await(t, namesAt(2, 1)[0], "online, offline")
			a.Facts.Await(t, namesAt(victim, 1)[0], "online, offline")
		})
	}
}

// While the leases' slot moves, no server accepts a heartbeat. That is logged if it lasts.
func TestRosterCluster_ASlotThatMovesIsToldWhenItIsStuck(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3, 0, redistest.Patient...)
	n := startNodes(t, c.Primaries[2].Addr)[0]
	n.Declare(here("ann"))
	n.Facts.Await(t, "ann", "online")
	from, to := c.Primaries[0], c.Primaries[1]
	slot, err := strconv.Atoi(from.Do(t, "CLUSTER", "KEYSLOT", link.NewKeys("pc", 0).In(link.LeasePartition)))
	if err != nil {
		t.Fatal(err)
	}
	to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", from.Do(t, "CLUSTER", "MYID"))
	from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.Do(t, "CLUSTER", "MYID"))
	began := time.Now()
	for _, name := range namesAt(2, 5) {
		n.Declare(here(name))
		n.Facts.Await(t, name, "online")
	}
	testkit.Eventually(t, "beats are refused", func() bool { return strings.Contains(from.Do(t, "INFO", "errorstats"), "errorstat_TRYAGAIN") })
	testkit.Eventually(t, "a second passes", func() bool { return time.Since(began) > time.Second })
	if told := n.log.Has("redis did not accept a heartbeat"); told && time.Since(began) < 3*time.Second {
		t.Error("it was logged at once")
	}
	n.log.Await(t, "redis did not accept a heartbeat")
	if d := time.Since(began); d < 3*time.Second {
		t.Errorf("it was logged after %v", d)
	}
	c.Move(t, from, to, slot, slot)
	n.Declare(here("bob"))
	n.Facts.Await(t, "bob", "online")
	if n.Buried() > 0 {
		t.Error("it was buried")
	}
}

// pause is for load that goes on for long.
func pause(d time.Duration) { <-time.After(d) }
