package roster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestWinner_SpreadsEvenlyAndMovesFewPartitions(t *testing.T) {
	var names []string
	for i := range 4 {
		names = append(names, fmt.Sprint("node", i, ":1"))
	}
	count, moved := map[string]int{}, 0
	for p := range Partitions {
		was := winner(p, names)
		count[was]++
		if now := winner(p, names[1:]); now != was {
			moved++
			if was != names[0] {
				t.Errorf("partition %d moved from %s, which stayed, to %s", p, was, now)
			}
		}
	}
	for _, n := range names {
		if count[n] < 8 || count[n] > 24 {
			t.Errorf("%s has %d of %d partitions", n, count[n], Partitions)
		}
	}
	if moved != count[names[0]] {
		t.Errorf("%d moved, and %s had %d", moved, names[0], count[names[0]])
	}
}

// owners are who owns the partitions, by node.
func (p *probe) owners() map[string]int {
	count := map[string]int{}
	for part := range Partitions {
		if owner, err := p.Get(context.Background(), fmt.Sprintf("pc:{%d}:owner", part)).Result(); err == nil {
			count[nodeID(owner)]++
		}
	}
	return count
}

func (p *probe) awaitOwners(nodes ...*testNode) {
	p.t.Helper()
	testkit.Eventually(p.t, "each has its share of partitions", func() bool {
		got, sum := p.owners(), 0
		for _, n := range nodes {
			if got[n.id] == 0 {
				return false
			}
			sum += got[n.id]
		}
		return sum == Partitions
	})
}

func TestOwners_MoveWhenNodesComeAndGoAndTellEverythingOnce(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, s *redistest.Server) {
		p := look(t, s)
		all := begin(t, s.Addr, 1)
		users := 0
		come := func() {
			for range 200 {
				all[0].Declare(broker.Change{Kind: broker.UserHere, Name: fmt.Sprint("user", users), Tell: true})
				users++
			}
			all[0].stored()
		}
		come()
		p.awaitOwners(all...)
		for range 2 {
			all = append(all, beginOne(t, s.Addr))
			come()
			p.awaitOwners(all...)
			come()
		}
		gone := all[2]
		gone.close()
		p.awaitOwners(all[0], all[1])
		come()
		all[1].kill()
		come()
		p.awaitOwners(all[0])
		testkit.Eventually(t, "all is told", func() bool { return len(tellings(all...)) == users })
		for fact, n := range tellings(all[0], all[2]) { // the killed one may have told some and not settled them
			if n != 1 {
				t.Errorf("%s was told %d times", fact, n)
			}
		}
	})
}

// Facts that a dead owner was about to tell are told by another, as they were.
func TestOwners_WhoIsKilledWhileTellingIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	keep := func(n *testNode) { n.keep = true }
	first := beginOne(t, s.Addr, keep)
	for i := range 300 {
		first.Declare(broker.Change{Kind: broker.UserHere, Name: fmt.Sprint("user", i), Tell: true})
	}
	testkit.Eventually(t, "all are handed out", func() bool { return len(tellings(first)) == 300 })
	second := beginOne(t, s.Addr)
	testkit.Eventually(t, "the second takes its share over", func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		return first.withdrawn > 0
	})
	first.kill()
	testkit.Eventually(t, "the rest is told, and the users of the dead one are offline", func() bool { return len(tellings(second)) == 600 })
	known := map[string]broker.Fact{}
	for _, f := range first.told() {
		known[f.Entry] = f
	}
	for _, f := range second.told() {
		if f.Kind != broker.UserOnline {
			continue
		}
		if was := known[f.Entry]; was.Name != f.Name || was.Generation != f.Generation || !was.At.Equal(f.At) {
			t.Fatalf("told %+v, which was %+v", f, was)
		}
	}
	testkit.Eventually(t, "nothing is left", func() bool { return waitsIn(t, s) == 0 })
}

// waitsIn is how many facts wait in Redis.
func waitsIn(t *testing.T, s *redistest.Server) (n int64) {
	p := look(t, s)
	for part := range Partitions {
		n += p.XLen(context.Background(), fmt.Sprintf("pc:{%d}:outbox", part)).Val()
	}
	return n
}

// A node that was stopped may find, when it goes on, that it is not the owner any more: it
// tells nothing of what it held.
func TestOwners_OneThatWasStoppedWithdrawsWhatItHolds(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	all := begin(t, s.Addr, 2, func(n *testNode) { n.keep = true })
	look(t, s).awaitOwners(all...)
	thaw := all[0].freeze()
	for i := range 100 {
		all[1].Declare(broker.Change{Kind: broker.UserHere, Name: fmt.Sprint("user", i), Tell: true})
	}
	testkit.Eventually(t, "the other one takes all over", func() bool { return len(tellings(all[1])) == 100 })
	thaw()
	testkit.Eventually(t, "it notices", func() bool {
		all[0].mu.Lock()
		defer all[0].mu.Unlock()
		return all[0].buried == 1
	})
	if n := len(tellings(all[0])); n != 0 {
		t.Errorf("it told %d facts", n)
	}
}

func TestOwners_KeepTheOrderOfEachNameAndHandOutABoundedNumber(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	n := beginOne(t, s.Addr, func(n *testNode) { n.keep = true })
	for range 100 { // one partition
		n.Declare(broker.Change{Kind: broker.UserHere, Name: "ann", Tell: true}, broker.Change{Kind: broker.UserGone, Name: "ann", Tell: true})
	}
	n.stored()
	testkit.Eventually(t, "the window is full", func() bool { return len(n.told()) >= window })
	if got := len(n.told()); got != window {
		t.Fatalf("%d facts are handed out, want %d", got, window)
	}
	n.mu.Lock()
	n.keep = false
	n.mu.Unlock()
	for _, f := range n.told() {
		n.Settle(f.Entry)
	}
	testkit.Eventually(t, "the rest follows", func() bool { return len(n.told()) == 200 })
	last := uint64(0)
	for i, f := range n.told() {
		if want := []broker.FactKind{broker.UserOnline, broker.UserOffline}[i%2]; f.Kind != want || f.Generation <= last {
			t.Fatalf("fact %d is %+v after generation %d", i, f, last)
		}
		last = f.Generation
	}
	testkit.Eventually(t, "nothing is left", func() bool { return waitsIn(t, s) == 0 })
}

// One whose facts the backend does not take does not keep back others for ever.
func TestOwners_HandOutMoreWhereTheFirstAreSlow(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	n := beginOne(t, s.Addr, func(n *testNode) { n.keep = true })
	for range window {
		n.Declare(broker.Change{Kind: broker.ChannelHere, Name: "slow", Tell: true}, broker.Change{Kind: broker.ChannelGone, Name: "slow", Tell: true})
	}
	n.Declare(broker.Change{Kind: broker.UserHere, Name: "slow", Tell: true})
	testkit.Eventually(t, "the last is handed out", func() bool { return tellings(n).of(broker.UserOnline, "slow", "") == 1 })
	if waits := waitsIn(t, s); waits != 2*window+1 {
		t.Errorf("%d wait, want all", waits)
	}
}

func TestOwners_TellWhatIsDueThoughItsNodeDied(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	all := begin(t, s.Addr, 2)
	const delay = 2 * time.Second
	change := func(kind broker.ChangeKind, name string) broker.Change {
		return broker.Change{Kind: kind, Name: name, Tell: true, Delay: delay}
	}
	all[0].Declare(change(broker.UserHere, "ann"), change(broker.UserHere, "bob"), change(broker.UserHere, "carl"))
	all[0].stored()
	all[0].Declare(change(broker.UserGone, "ann"))
	all[0].stored()
	began := time.Now()
	all[0].kill()
	all[1].Declare(change(broker.UserHere, "carl"))
	testkit.Eventually(t, "they are offline", func() bool {
		got := tellings(all...)
		return got.of(broker.UserOffline, "ann", "") == 1 && got.of(broker.UserOffline, "bob", "") == 1
	})
	if took := time.Since(began); took < delay-500*time.Millisecond { // bob's counts from the last beat
		t.Errorf("told after %v", took)
	}
	if tellings(all...).of(broker.UserOffline, "carl", "") != 0 {
		t.Error("one who is on another node is offline")
	}
}

// What waits in Redis is bounded; what is lost for others is counted, and the log says so.
func TestOutbox_IsBounded(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	n := beginOne(t, s.Addr, func(n *testNode) { n.keep = true })
	n.LimitOutbox(broker.OutboxLimits{Waiting: 10 * Partitions})
	for range 20 {
		n.Declare(broker.Change{Kind: broker.UserHere, Name: "ann", Tell: true}, broker.Change{Kind: broker.UserGone, Name: "ann", Tell: true})
	}
	n.stored()
	n.logged.Await(t, "key=webhook.outbox.redis")
	testkit.Eventually(t, "what is lost is counted", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.lostFacts == 30 && waitsIn(t, s) == 10
	})
	testkit.Eventually(t, "its size is known", func() bool { waiting, _ := n.OutboxSize(); return waiting == 10 })
}

// A node whose connection to Redis is cut for longer than the fence tells nothing until it
// is back, and then what it had not settled.
func TestOwners_WhoDoesNotReachRedisTellsNothing(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	vip := redistest.NewVIP(t, s.Addr)
	cut := beginOne(t, vip.Addr, func(n *testNode) { n.keep = true })
	cut.Declare(broker.Change{Kind: broker.UserHere, Name: "ann", Tell: true})
	testkit.Eventually(t, "it is handed out", func() bool { return len(cut.told()) == 1 })
	release := vip.Hold()
	defer release()
	cut.logged.Await(t, "leaves the events in the outbox")
	cut.mu.Lock()
	withdrawn := cut.withdrawn
	cut.mu.Unlock()
	if withdrawn != 1 {
		t.Errorf("%d facts were withdrawn, want 1", withdrawn)
	}
	release()
	testkit.Eventually(t, "it is handed out again", func() bool { return len(cut.told()) == 2 })
	if told := cut.told(); told[0].Entry != told[1].Entry {
		t.Errorf("got %v, want the same twice", told)
	}
}

func TestOwners_GoOnWhereKeysAreOfAnotherType(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	n := beginOne(t, s.Addr)
	ann, bob := n.Partition("ann"), n.Partition("bob")
	for _, key := range []string{"owner", "due"} {
		s.Do(t, "SADD", n.Keys(ann)+key, "x")
	}
	s.Do(t, "XADD", n.Keys(bob)+"outbox", "*", "t", "?", "n", "x")
	n.Declare(broker.Change{Kind: broker.UserHere, Name: "bob", Tell: true}, broker.Change{Kind: broker.UserHere, Name: "ann", Tell: true})
	testkit.Eventually(t, "others are told", func() bool { return tellings(n).of(broker.UserOnline, "bob", "") == 1 })
	n.logged.Await(t, "WRONGTYPE")
	s.Do(t, "DEL", n.Keys(ann)+"owner", n.Keys(ann)+"due")
	testkit.Eventually(t, "and then these", func() bool { return tellings(n).of(broker.UserOnline, "ann", "") == 1 })
	testkit.Eventually(t, "what nobody can read is removed", func() bool { return waitsIn(t, s) == 0 })
}

func TestParseFact_ReadsWhatScriptsWrite(t *testing.T) {
	f, err := parseFact(map[string]any{"t": "L", "n": "c", "u": "", "g": "", "a": "1700000000123", "r": "x"})
	if err != nil || f.Kind != broker.ConnectionLost || f.Name != "c" || f.At.UnixMilli() != 1700000000123 || string(f.Record) != "x" {
		t.Errorf("got %+v, %v", f, err)
	}
	for _, bad := range []map[string]any{{}, {"t": "L"}, {"t": "U", "a": "1", "g": "x"}, {"t": "u", "a": "x"}} {
		if _, err := parseFact(bad); err == nil {
			t.Errorf("%v was read", bad)
		}
	}
	var letters []string
	for l := range factLetters {
		letters = append(letters, l)
	}
	slices.Sort(letters)
	if got := strings.Join(letters, ""); got != "ELMOUmou" {
		t.Errorf("letters %q", got)
	}
}
