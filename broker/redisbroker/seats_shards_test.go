package redisbroker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// usersAt are users whose partitions one primary of three has for sure.
func usersAt(primary, n int) (users []string) {
	for i := 0; len(users) < n; i++ {
		user := fmt.Sprint("user", i)
		first, last := link.PartitionOf(user)*3, link.PartitionOf(user)*3+2 // of 192 parts of all slots
		if first/link.Partitions == primary && last/link.Partitions == primary {
			users = append(users, user)
		}
	}
	return users
}

// seated are two nodes that count up to three connections of a user in a cluster.
func seated(t *testing.T, c *redistest.Cluster, via *redistest.Server) (all [2]broker.Seats) {
	t.Helper()
	for i := range all {
		_, all[i] = startSeats(t, via.Addr, "pc", i, config.Limits{ConnectionsPerUser: 3, PerUserPolicy: config.PolicyReject}, func(string) {})
	}
	awaitNodes(t, client(t, c.Primaries[0].Addr), "pc", 2) // the leases are there
	return all
}

// counts says whether a user's connections are counted over both nodes: the first has three.
func counts(all [2]broker.Seats, user string) bool {
	if in := count(all[0], user, "a", 3); in != 3 {
		return false
	}
	return !all[1].Take(user, "fourth")
}

// One of three servers hangs, the one with the leases or another: its users are counted on
// each node alone, and nobody else's.
func TestRedisSeatsCluster_AServerThatHangsConcernsItsOwnUsersOnly(t *testing.T) {
	t.Parallel()
	for victim, what := range []string{"with the leases", "without"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := redistest.NewCluster(t, 3, 0)
			c.ServeInPart(t)
			all := seated(t, c, c.Primaries[2])
			theirs, others := usersAt(victim, 30), append(usersAt(2, 40), usersAt(1-victim, 40)...)
			if !counts(all, theirs[0]) || !counts(all, others[0]) || !counts(all, others[40]) {
				t.Fatal("not counted at first")
			}
			c.Primaries[victim].Pause()
			for _, s := range all {
				testkit.Eventually(t, "a node decides alone", func() bool { return s.Take(theirs[1], fmt.Sprintf("%p", s)) })
			}
			testkit.Eventually(t, "each counts its own", func() bool { return all[1].Take(theirs[0], "fourth") })
			pauseUntil := time.Now().Add(7 * time.Second) // longer than a lease of seats
			for i := 0; time.Now().Before(pauseUntil) || i < len(others); i++ {
				user, began := others[i%len(others)], time.Now()
				if i < len(others) && !counts(all, user) {
					t.Errorf("%s is not counted over both nodes", user)
				}
				if all[1].Take(user, "late") {
					t.Errorf("%s is counted on one node alone after %d", user, i)
				}
				if d := time.Since(began); d > time.Second {
					t.Errorf("%s took %v", user, d)
				}
				time.Sleep(20 * time.Millisecond)
			}
			c.Primaries[victim].Resume()
			testkit.Eventually(t, "they are counted over both nodes again", func() bool {
				all[1].Leave(theirs[2], "fourth")
				return counts(all, theirs[2])
			})
			testkit.Eventually(t, "the first has one of each", func() bool {
				return seatsOf(client(t, c.Primaries[victim].Addr), theirs[1]) == 2
			})
			for _, user := range others[:10] {
				if all[1].Take(user, "late") || all[0].Take(user, "late") {
					t.Errorf("%s has a fourth", user)
				}
			}
		})
	}
}

// A server comes back empty: what its users have is written again, under names that nobody
// takes for dead.
func TestRedisSeatsCluster_AServerThatLostAllIsWrittenAgain(t *testing.T) {
	t.Parallel()
	for victim, what := range []string{"with the leases", "without"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := redistest.NewCluster(t, 3, 0)
			c.ServeInPart(t)
			all := seated(t, c, c.Primaries[2])
			users := []string{usersAt(victim, 1)[0], usersAt(2, 1)[0]}
			for _, user := range users {
				if !counts(all, user) {
					t.Fatal("not counted at first")
				}
			}
			c.Primaries[victim].Kill()
			c.Primaries[victim].RestartSaved(t) // nothing was saved but the cluster's layout
			c.WaitOK(t)
			for i, user := range users {
				look := client(t, c.Primaries[[]int{victim, 2}[i]].Addr)
				testkit.Eventually(t, "the seats are there", func() bool { return seatsOf(look, user) == 3 })
				testkit.Eventually(t, "they are counted", func() bool {
					all[1].Leave(user, "late")
					return !all[1].Take(user, "late")
				})
			}
			leases := client(t, c.Primaries[0].Addr)
			testkit.Eventually(t, "as many leases as names", func() bool {
				n := leases.ZCard(t.Context(), redisbroker.LeasesKey("pc")).Val()
				return n >= 2 && n <= 4
			})
		})
	}
}
