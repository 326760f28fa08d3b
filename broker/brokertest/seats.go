package brokertest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// Hall makes seats that are counted together, and starts them: one for each evict.
// One of memory gives up on several with t.Skip.
type Hall func(t *testing.T, l config.Limits, evict []func(connection string)) []broker.Seats

// RunSeats runs the suite of Seats.
func RunSeats(t *testing.T, hall Hall) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Hall, int)
	}{
		{"GivesSoManyAndNoMore", givesSoMany},
		{"AskingAgainTakesNoSecondSeat", asksAgain},
		{"TheOldestMakeRoom", oldestMakeRoom},
		{"AnEvictedOneGivesNothingBack", evictedGivesNothing},
		{"AChangedLimitEvictsNobodyByItself", changedLimit},
		{"WhoIsAdoptedCounts", adopted},
		{"RacesNeverGiveMoreOrFewer", races},
		{"RacesLeaveTheNewest", racesWhereOldMakeRoom},
	} {
		for _, n := range []int{1, 2} {
			t.Run(fmt.Sprint(c.name, "/", n, " nodes"), func(t *testing.T) { c.test(t, hall, n) })
		}
	}
}

// usher is the seats of one node with what was evicted there.
type usher struct {
	broker.Seats
	mu  sync.Mutex // guards out
	out []string
}

func (u *usher) evict(connection string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.out = append(u.out, connection)
}

func (u *usher) evicted() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.out)
}

func ushers(t *testing.T, hall Hall, n, most int, policy string) []*usher {
	t.Helper()
	all := make([]*usher, n)
	var evict []func(string)
	for i := range all {
		all[i] = &usher{}
		evict = append(evict, all[i].evict)
	}
	for i, s := range hall(t, config.Limits{ConnectionsPerUser: most, PerUserPolicy: policy}, evict) {
		all[i].Seats = s
	}
	return all
}

// awkward is a user whose name must not confuse keys.
const awkward = "a{b}:c/d *é"

func givesSoMany(t *testing.T, hall Hall, n int) {
	all := ushers(t, hall, n, 3, config.PolicyReject)
	take := func(node int, user, connection string, want bool) {
		t.Helper()
		if got := all[node%n].Take(user, connection); got != want {
			t.Errorf("%s for %q on node %d: got %v, want %v", connection, user, node%n, got, want)
		}
	}
	for _, user := range []string{"ann", awkward} {
		for i := range 3 {
			take(i, user, fmt.Sprint(user, i), true)
		}
		take(0, user, user+"3", false)
		take(1, user, user+"3", false)
	}
	all[1%n].Leave("ann", "ann1")
	testkit.Eventually(t, "the seat is free for another", func() bool { return all[0].Take("ann", "ann3") })
	take(1, "ann", "ann4", false)
	take(1, awkward, "x", false)
	for i, u := range all {
		if out := u.evicted(); out != nil {
			t.Errorf("node %d: %q were evicted", i, out)
		}
	}
}

func asksAgain(t *testing.T, hall Hall, n int) {
	all := ushers(t, hall, n, 2, config.PolicyReject)
	for range 5 {
		if !all[0].Take("ann", "c0") {
			t.Fatal("refused")
		}
	}
	if !all[n-1].Take("ann", "c1") {
		t.Error("the second seat was taken")
	}
	all[0].Leave("ann", "c0")
	all[0].Leave("ann", "c0")
	all[0].Leave("ann", "never seen")
	testkit.Eventually(t, "one Leave frees it", func() bool { return all[n-1].Take("ann", "c2") })
	if all[0].Take("ann", "c3") {
		t.Error("leaving twice gave two seats")
	}
}

func oldestMakeRoom(t *testing.T, hall Hall, n int) {
	all := ushers(t, hall, n, 3, config.PolicyReplace)
	for i := range 8 {
		if !all[i%n].Take(awkward, fmt.Sprint("c", i)) {
			t.Fatalf("c%d refused", i)
		}
	}
	all[0].Take("bob", "b")
	for node := range n {
		var want []string
		for i := node; i < 5; i += n {
			want = append(want, fmt.Sprint("c", i))
		}
		testkit.Eventually(t, "the oldest are evicted where they are", func() bool { return len(all[node].evicted()) >= len(want) })
		if got := all[node].evicted(); !slices.Equal(got, want) {
			t.Errorf("node %d: got %q, want %q", node, got, want)
		}
	}
}

func evictedGivesNothing(t *testing.T, hall Hall, n int) {
	all := ushers(t, hall, n, 1, config.PolicyReplace)
	all[0].Take("ann", "old")
	all[n-1].Take("ann", "new")
	testkit.Eventually(t, "the old one is evicted", func() bool { return len(all[0].evicted()) == 1 })
	all[0].Leave("ann", "old")
	all[0].Take("ann", "newest")
	testkit.Eventually(t, "the new one still had its seat", func() bool { return slices.Contains(all[n-1].evicted(), "new") })
}

func changedLimit(t *testing.T, hall Hall, n int) {
	all := ushers(t, hall, n, 4, config.PolicyReplace)
	for i := range 4 {
		all[i%n].Take("ann", fmt.Sprint("c", i))
	}
	apply := func(l config.Limits) {
		for _, u := range all {
			u.Apply(l)
		}
		all[0].Adopt("ann", "c0") // has what the node holds of the user written once more
	}
	apply(config.Limits{ConnectionsPerUser: 2, PerUserPolicy: config.PolicyReject})
	if all[n-1].Take("ann", "c4") {
		t.Error("a fifth was let in past a limit of two")
	}
	for i, u := range all {
		if out := u.evicted(); out != nil {
			t.Errorf("node %d: %q were evicted", i, out)
		}
	}
	apply(config.Limits{ConnectionsPerUser: 5, PerUserPolicy: config.PolicyReject})
	if !all[n-1].Take("ann", "c4") {
		t.Error("a fifth was refused within a limit of five")
	}
	apply(config.Limits{ConnectionsPerUser: 2, PerUserPolicy: config.PolicyReplace})
	if !all[n-1].Take("ann", "c5") {
		t.Error("with replace there is always a seat")
	}
	testkit.Eventually(t, "the oldest make room for the newcomer", func() bool {
		out := 0
		for _, u := range all {
			out += len(u.evicted())
		}
		return out == 4
	})
}

func adopted(t *testing.T, hall Hall, n int) {
	all := ushers(t, hall, n, 0, config.PolicyReject)
	for i := range 2 {
		all[0].Adopt("ann", fmt.Sprint("c", i))
	}
	for _, u := range all {
		u.Apply(config.Limits{ConnectionsPerUser: 3, PerUserPolicy: config.PolicyReject})
	}
	last := all[n-1]
	testkit.Eventually(t, "all nodes count who was there before", func() bool {
		in := last.Take("ann", "c2") && !last.Take("ann", "c3")
		if !in {
			last.Leave("ann", "c2")
			last.Leave("ann", "c3")
		}
		return in
	})
	all[0].Leave("ann", "c0")
	testkit.Eventually(t, "and that they leave", func() bool { return last.Take("ann", "c3") })
}

const racers, racedFor = 60, 3

func races(t *testing.T, hall Hall, n int) {
	all := ushers(t, hall, n, racedFor, config.PolicyReject)
	for round := range 10 {
		user := fmt.Sprint("user", round)
		var in atomic.Int64
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				if all[i%n].Take(user, fmt.Sprint(user, "-", i)) {
					in.Add(1)
				}
			})
		}
		wg.Wait()
		if in.Load() != racedFor {
			t.Errorf("round %d: %d are in, want %d", round, in.Load(), racedFor)
		}
	}
}

func racesWhereOldMakeRoom(t *testing.T, hall Hall, n int) {
	all := ushers(t, hall, n, racedFor, config.PolicyReplace)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			if c := fmt.Sprint("c", i); !all[i%n].Take("ann", c) {
				t.Errorf("%s refused", c)
			}
		})
	}
	wg.Wait()
	evicted := func() (out []string) {
		for _, u := range all {
			out = append(out, u.evicted()...)
		}
		return out
	}
	testkit.Eventually(t, "all but the limit are evicted", func() bool { return len(evicted()) >= racers-racedFor })
	out := evicted()
	slices.Sort(out)
	if len(slices.Compact(out)) != racers-racedFor {
		t.Errorf("%d evictions of %d connections, want %d of as many", len(out), len(slices.Compact(out)), racers-racedFor)
	}
}
