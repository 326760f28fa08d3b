package roster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// tally counts what nodes told, by kind and name.
type tally map[string]int

func tellings(nodes ...*testNode) tally {
	all := tally{}
	for _, n := range nodes {
		for _, f := range n.told() {
			all[fmt.Sprint(f.Kind, " ", f.Name, " ", f.User)]++
		}
	}
	return all
}

func (a tally) of(kind broker.FactKind, name, user string) int {
	return a[fmt.Sprint(kind, " ", name, " ", user)]
}

// declareConnections declares connections, the last of them as ended, and waits until they
// are stored.
func (n *testNode) declareConnections(count, ended int) (names []string) {
	n.t.Helper()
	for i := range count {
		c := broker.Change{Kind: broker.ConnectionHere, Name: fmt.Sprint(n.id, "-c", i), Record: []byte("here")}
		if i >= count-ended {
			c.Kind, c.Record = broker.ConnectionEnded, []byte("ended")
		}
		n.Declare(c)
		names = append(names, c.Name)
	}
	n.stored()
	return names
}

// stored waits until Redis has what was declared.
func (n *testNode) stored() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.ctx, 30*time.Second)
	defer cancel()
	if n.Flush(ctx); ctx.Err() != nil {
		n.t.Fatalf("node %s: what was declared is not stored", n.id)
	}
}

func eachMode(t *testing.T, test func(t *testing.T, s *redistest.Server)) {
	t.Run("standalone", func(t *testing.T) { t.Parallel(); test(t, redistest.Start(t)) })
	t.Run("cluster", func(t *testing.T) { t.Parallel(); test(t, redistest.StartCluster(t)) })
}

func TestBurial_TellsEveryConnectionOfADeadNodeOnce(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, s *redistest.Server) {
		all := begin(t, s.Addr, 3)
		names := all[0].declareConnections(5000, 1000)
		all[0].Declare(
			broker.Change{Kind: broker.UserHere, Name: "ann", Tell: true},
			broker.Change{Kind: broker.ChannelHere, Name: "news", Tell: true},
			broker.Change{Kind: broker.MemberHere, Name: "news", User: "ann", Connections: 2, Tell: true})
		all[1].Declare(broker.Change{Kind: broker.UserHere, Name: "bob", Tell: true})
		all[0].Declare(broker.Change{Kind: broker.UserHere, Name: "bob", Tell: true})
		all[0].stored()
		all[1].stored()
		last := time.Now()
		all[0].kill()
		testkit.Eventually(t, "all is told as lost", func() bool {
			got := tellings(all[1:]...)
			return len(got) >= 5000 && got.of(broker.UserOffline, "ann", "") > 0 && got.of(broker.ChannelVacated, "news", "") > 0 &&
				got.of(broker.MemberLeft, "news", "ann") > 0
		})
		testkit.Eventually(t, "its burial ends", func() bool { return !look(t, s).hasNode(all[0].id) })
		got := tellings(all[1:]...)
		for i, name := range names {
			kind := broker.ConnectionLost
			if i >= 4000 {
				kind = broker.ConnectionToTell
			}
			if n := got.of(kind, name, ""); n != 1 {
				t.Fatalf("%s was told %d times as lost", name, n)
			}
		}
		if n := got.of(broker.UserOffline, "bob", ""); n != 0 {
			t.Error("bob is offline, though another node has him")
		}
		for _, n := range all[1:] {
			for _, f := range n.told() {
				late := f.At.Sub(last)
				if f.Kind == broker.ConnectionLost && (late < -time.Second || late > time.Second || string(f.Record) != "here") ||
					f.Kind == broker.ConnectionToTell && string(f.Record) != "ended" {
					t.Fatalf("told %+v, the last beat was at %v", f, last)
				}
			}
		}
		if n := look(t, s).keys("pc:*:roster:" + all[0].id + "*"); n != 0 {
			t.Errorf("%d rosters of the dead node are left", n)
		}
	})
}

func TestBurial_ANodeThatComesBackNoticesItAndTellsNothing(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	all := begin(t, s.Addr, 2)
	all[0].declareConnections(50, 0)
	thaw := all[0].freeze()
	testkit.Eventually(t, "it is buried", func() bool { return len(tellings(all[1])) == 50 && !look(t, s).hasNode(all[0].id+":1") })
	thaw()
	testkit.Eventually(t, "it notices", func() bool {
		all[0].mu.Lock()
		defer all[0].mu.Unlock()
		return all[0].buried == 1
	})
	all[0].declareConnections(3, 0) // in its next life
	testkit.Eventually(t, "it goes on under another name", func() bool { return look(t, s).hasNode(all[0].id + ":2") })
	thaw = all[0].freeze()
	testkit.Eventually(t, "it is buried again", func() bool { return !look(t, s).hasNode(all[0].id) })
	thaw()
	testkit.Eventually(t, "it notices again", func() bool {
		all[0].mu.Lock()
		defer all[0].mu.Unlock()
		return all[0].buried == 2
	})
	got := tellings(all...)
	for i := range 50 {
		want := 1
		if i < 3 {
			want = 2 // lived twice
		}
		if n := got.of(broker.ConnectionLost, fmt.Sprint(all[0].id, "-c", i), ""); n != want {
			t.Errorf("connection %d was told %d times as lost, want %d", i, n, want)
		}
	}
	if n := len(tellings(all[0])); n != 0 {
		t.Errorf("the buried one told %d facts", n)
	}
}

func TestBurial_OfTwoThatDieAtOnce(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	all := begin(t, s.Addr, 3)
	all[0].declareConnections(100, 0)
	all[1].declareConnections(100, 10)
	thaw0, thaw1 := all[0].freeze(), all[1].freeze()
	defer thaw0()
	defer thaw1()
	testkit.Eventually(t, "both are told as lost", func() bool { return len(tellings(all[2])) == 200 })
	for fact, n := range tellings(all...) {
		if n != 1 {
			t.Errorf("%s was told %d times", fact, n)
		}
	}
}

// An undertaker that dies between any two of its steps is followed by another.
func TestBurial_IsFinishedByAnother(t *testing.T) {
	t.Parallel()
	for steps := 1; steps <= 5; steps++ {
		t.Run(fmt.Sprint(steps, " steps"), func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			dead, undertaker := beginOne(t, s.Addr), beginOne(t, s.Addr)
			dead.declareConnections(200, 0)
			dead.kill()
			testkit.Eventually(t, "the burial begins", func() bool { return look(t, s).keys("pc:*:dead:"+dead.id+":1") > 0 })
			undertaker.freezeAfter(steps)
			heir := beginOne(t, s.Addr)
			testkit.Eventually(t, "all is told as lost", func() bool { return len(tellings(undertaker, heir)) == 200 })
			testkit.Eventually(t, "its burial ends", func() bool { return !look(t, s).hasNode(dead.id) })
		})
	}
}

func TestBurial_WhenAllDiedIsDoneByTheNextToStart(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	all := begin(t, s.Addr, 2)
	all[0].declareConnections(60, 5)
	all[1].declareConnections(60, 0)
	all[0].kill()
	all[1].kill()
	p, ctx := look(t, s), context.Background()
	const hour = float64(time.Hour / time.Microsecond)
	for _, n := range p.ZRange(ctx, "pc:{0}:nodes", 0, -1).Val() { // as if that were an hour ago
		p.ZIncrBy(ctx, "pc:{0}:nodes", -hour, n)
	}
	for _, f := range []string{"last", "thaw"} {
		p.HIncrBy(ctx, "pc:{0}:nodes:clock", f, -int64(hour))
	}
	for _, k := range p.Keys(ctx, "pc:*:owner").Val() {
		p.Del(ctx, k)
	}
	began := time.Now()
	next := beginOne(t, s.Addr)
	testkit.Eventually(t, "all is told as lost", func() bool { return len(tellings(next)) == 120 })
	if took := time.Since(began); took < quick.lease {
		t.Errorf("they were buried after %v, though Redis may have been away with them", took)
	}
	for fact, n := range tellings(next) {
		if n != 1 {
			t.Errorf("%s was told %d times", fact, n)
		}
	}
}

func TestBurial_NobodyIsBuriedBecauseRedisPaused(t *testing.T) {
	t.Parallel()
	for name, pause := range map[string]func(t *testing.T, s *redistest.Server){
		"stopped": func(t *testing.T, s *redistest.Server) {
			s.Pause()
			defer s.Resume()
			<-time.After(2 * quick.lease)
		},
		"restarted empty": func(t *testing.T, s *redistest.Server) {
			s.Kill()
			<-time.After(2 * quick.lease)
			s.Restart(t)
		},
		"flushed": func(t *testing.T, s *redistest.Server) { s.Do(t, "FLUSHALL") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			all := begin(t, s.Addr, 3)
			for _, n := range all {
				n.declareConnections(20, 0)
			}
			pause(t, s)
			testkit.Eventually(t, "all beat again, and declared what they have", func() bool {
				p := look(t, s)
				fields := 0
				for _, k := range p.Keys(context.Background(), "pc:*:roster:*").Val() {
					for _, f := range p.HKeys(context.Background(), k).Val() {
						if f != sequenceField {
							fields++
						}
					}
				}
				return fields == 60 && p.hasNode(all[0].id) && p.hasNode(all[1].id) && p.hasNode(all[2].id)
			})
			testkit.Eventually(t, "a lease passes", func() bool {
				thaw, _ := look(t, s).HGet(context.Background(), "pc:{0}:nodes:clock", "thaw").Int64()
				return time.Now().UnixMicro()-thaw > (quick.lease + 5*quick.beat).Microseconds()
			})
			for _, n := range all {
				if n.mu.Lock(); n.buried != 0 {
					t.Errorf("node %s was buried", n.id)
				}
				n.mu.Unlock()
			}
			if got := tellings(all...); len(got) != 0 {
				t.Errorf("told %v", got)
			}
		})
	}
}

// A Redis without memory refuses what nodes declare. Who lives is counted all the same, and
// what is in the outbox gets room by being told.
func TestBurial_GoesOnWhileRedisIsFull(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	all := begin(t, s.Addr, 3)
	all[0].declareConnections(100, 0)
	s.Do(t, "CONFIG", "SET", "maxmemory", "1")
	all[0].kill()
	testkit.Eventually(t, "all is told as lost", func() bool { return len(tellings(all...)) == 100 && waitsIn(t, s) == 0 })
	for _, n := range all[1:] {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.buried != 0 {
			t.Errorf("node %s was buried", n.id)
		}
	}
}

// Where the clock of Redis was set back, what is dated from before would be in force for
// hours.
func TestBurial_GoesOnAfterRedisClockWasSetBack(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	dead, heir := beginOne(t, s.Addr), beginOne(t, s.Addr)
	dead.declareConnections(60, 0)
	dead.kill()
	p, ctx := look(t, s), context.Background()
	const hour = float64(time.Hour / time.Microsecond)
	p.ZIncrBy(ctx, "pc:{0}:nodes", hour, dead.id+":1")
	p.HIncrBy(ctx, "pc:{0}:nodes:clock", "last", int64(hour))
	p.HIncrBy(ctx, "pc:{0}:nodes:clock", "thaw", int64(hour))
	for _, k := range p.Keys(ctx, "pc:*:owner").Val() {
		p.Set(ctx, k, dead.id+":1", time.Hour)
	}
	testkit.Eventually(t, "all is told as lost", func() bool { return len(tellings(heir)) == 60 })
}

func TestClose_OthersTellAtOnceWhatIsLeft(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	all := begin(t, s.Addr, 2)
	all[0].declareConnections(30, 30)
	began := time.Now()
	all[0].close()
	testkit.Eventually(t, "all is told", func() bool { return len(tellings(all[1])) == 30 })
	if took := time.Since(began); took > quick.lease/2 && took > time.Second {
		t.Errorf("it took %v", took)
	}
	if look(t, s).hasNode(all[0].id) {
		t.Error("the node is still counted")
	}
	all[0].mu.Lock()
	defer all[0].mu.Unlock()
	if all[0].buried != 0 || all[0].logged.Has("declared dead") {
		t.Error("a node that ended was told that it was buried")
	}
}
