package webhook

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
)

func held(name, conn string, sequence uint64) *Event {
	ev := event(name, conn, sequence)
	ev.Held = true
	return ev
}

func TestHeld_IsNotSentBeforeItsRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, func(*job) verdict { return good })
		first, second := held(Connected, "a", 1), held(Disconnected, "a", 3)
		answered := false
		r.Tell(first)
		r.Ask(event(Message, "a", 2), func(Answer, error) { answered = true })
		r.Tell(second)
		r.Tell(event(Connected, "b", 1))
		pass(time.Second)
		want(t, "held", r.log(), []string{"connected b 1"})
		r.Release(second) // its turn has not come
		pass(time.Second)
		if len(r.log()) != 1 || answered {
			t.Errorf("sent %q, answered: %v", r.log(), answered)
		}
		r.Release(first)
		pass(time.Second)
		if got := r.log(); len(got) != 4 || got[1] != "connected a 1" || !answered {
			t.Errorf("sent %q, answered: %v", got, answered)
		}
		r.Release(first) // again does nothing
		pass(time.Second)
		if len(r.log()) != 4 || r.queue.waiting() != 0 || len(r.queue.keys) != 0 {
			t.Errorf("sent %q, %d wait, %d keys", r.log(), r.queue.waiting(), len(r.queue.keys))
		}
	})
}

func TestHeld_MayBeReleasedBeforeItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, func(*job) verdict { return good })
		ev := held(Connected, "a", 1)
		r.Release(ev)
		r.Tell(ev)
		pass(time.Second)
		want(t, "sent", r.log(), []string{"connected a 1"})
	})
}

func TestHeld_IsInNoBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailman(t, 10, 100*time.Millisecond, func(*job) verdict { return good })
		first, second := held(Connected, "a", 1), held(Disconnected, "b", 2)
		m.Tell(first)
		m.Tell(event(Connected, "b", 1))
		m.Tell(second)
		m.Tell(event(Connected, "c", 1))
		pass(time.Second)
		want(t, "held", m.got(), []string{"b1 c1"})
		m.Release(first)
		m.Release(second)
		pass(time.Second)
		got := m.got()
		slices.Sort(got)
		want(t, "released", got, []string{"a1", "b2"})
	})
}

// A message waits behind it: no wait for others is added to that.
func TestHeld_GoesWithoutWaitingForOthersWhereAMessageWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailman(t, 10, time.Hour, func(*job) verdict { return good })
		ev := held(Connected, "a", 1)
		m.Tell(ev)
		m.Ask(event(Message, "a", 2), func(Answer, error) {})
		pass(time.Second)
		m.Release(ev)
		pass(time.Second)
		want(t, "sent", m.got(), []string{"a1", "a2"})
	})
}

func TestHeld_IsWithdrawnAndGivenUpAsOthersAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fates{}
		r := newRig(t, func(cfg *config.Webhook) { cfg.Outbox.Messages = 2 }, func(*job) verdict { return good })
		tell := func(name, conn string, sequence uint64) *Event {
			ev := f.event(name, conn, sequence)
			ev.Held = true
			r.Tell(ev)
			return ev
		}
		withdrawn := tell(Connected, "a", 1)
		r.Withdraw(func(ev *Event) bool { return ev == withdrawn })
		r.Release(withdrawn)
		lost := tell(Connected, "b", 1)
		tell(Connected, "c", 1)
		tell(Connected, "d", 1)
		pass(time.Second)
		want(t, "fates", f.all(), []string{"connected b lost"})
		r.Release(lost)
		if err := r.Close(context.Background()); err != nil { // lets them go
			t.Error(err)
		}
		tell(Disconnected, "c", 2)
		if got := f.all(); len(got) != 4 || len(r.log()) != 2 {
			t.Errorf("fates %q, sent %q", got, r.log())
		}
	})
}

// What the broker tells of a connection that this node has no room for, it tells whole.
func TestBound_GivesUpWhatIsKeptOfAConnectionTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fates{}
		r := newRig(t, func(cfg *config.Webhook) { cfg.Outbox.Messages = 4 }, func(j *job) verdict {
			if j.event.ConnectionID == "a" {
				time.Sleep(time.Hour)
			}
			return broken
		})
		r.Tell(f.event(Connected, "a", 1)) // under way
		synctest.Wait()
		r.Tell(f.event(Disconnected, "a", 2))
		for _, conn := range []string{"b elsewhere", "c"} {
			r.Tell(f.event(Connected, conn, 1))
			r.Tell(f.event(Disconnected, conn, 2))
			synctest.Wait()
		}
		want(t, "fates", f.all(), []string{"connected b elsewhere lost", "disconnected b elsewhere lost"})
		if r.lost(Connected)+r.lost(Disconnected) != 0 || r.queue.waiting() != 4 {
			t.Errorf("%d and %d counted as lost, %d wait", r.lost(Connected), r.lost(Disconnected), r.queue.waiting())
		}
		r.Withdraw(func(*Event) bool { return true })
		pass(2 * time.Hour)
	})
}
