package webhook

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
)

// fates notes what becomes of events.
type fates struct {
	mu  sync.Mutex // guards got
	got []string
}

func (f *fates) of(name string) Kept { return fate{f, name} }

func (f *fates) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

type fate struct {
	to   *fates
	name string
}

func (f fate) say(what string) {
	f.to.mu.Lock()
	defer f.to.mu.Unlock()
	f.to.got = append(f.to.got, f.name+" "+what)
}

func (f fate) Told()   { f.say("told") }
func (f fate) Buried() { f.say("buried") }
func (f fate) Lost() bool {
	f.say("lost")
	return strings.HasSuffix(f.name, " elsewhere")
}

func (f *fates) event(name, conn string, sequence uint64) *Event {
	ev := event(name, conn, sequence)
	ev.Kept = f.of(name + " " + conn)
	return ev
}

func TestKept_HearsOnceThatTheBackendTookIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails, f := 2, &fates{}
		r := newRig(t, nil, func(*job) verdict {
			if fails--; fails >= 0 {
				return broken
			}
			return good
		})
		r.Tell(f.event(Connected, "a", 1))
		r.Tell(f.event(Disconnected, "a", 2))
		pass(time.Hour)
		want(t, "fates", f.all(), []string{"connected a told", "disconnected a told"})
	})
}

func TestKept_HearsWhatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fates{}
		r := newRig(t, func(cfg *config.Webhook) { cfg.Outbox.Messages = 2 }, func(*job) verdict { return broken })
		for _, conn := range []string{"a", "b", "c"} {
			r.Tell(f.event(Connected, conn, 1))
			synctest.Wait()
		}
		want(t, "with room for two", f.all(), []string{"connected a lost"})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = r.Close(ctx)
		got := f.all()[1:]
		slices.Sort(got)
		want(t, "at the end", got, []string{"connected b lost", "connected c lost"})
		r.Tell(f.event(Disconnected, "c", 2))
		want(t, "after it", f.all()[3:], []string{"disconnected c lost"})
	})
}

// What another node tells is not lost.
func TestKept_WhatIsToldElsewhereIsNotCountedAsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fates{}
		r := newRig(t, nil, func(*job) verdict { return broken })
		for _, conn := range []string{"a", "b elsewhere"} {
			r.Tell(f.event(Disconnected, conn, 1))
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = r.Close(ctx)
		if got := f.all(); len(got) != 2 || r.lost(Disconnected) != 1 {
			t.Errorf("%q, %d counted as lost", got, r.lost(Disconnected))
		}
	})
}

// The broker hands out few, and keeps them: they do not make room for what only this
// node has.
func TestBound_DoesNotDropWhatTheBrokerKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fates{}
		r := newRig(t, func(cfg *config.Webhook) { cfg.Outbox.Messages = 2 }, func(*job) verdict { return broken })
		for i := range 3 {
			ev := NewFact(UserOnline, "", "ann", uint64(i+1), time.Now())
			ev.Entry, ev.Kept = "1-1", f.of("fact")
			r.Tell(ev)
		}
		r.Tell(f.event(Connected, "a", 1))
		synctest.Wait()
		want(t, "fates", f.all(), []string{"connected a lost"})
		r.Withdraw(func(*Event) bool { return true })
	})
}

func TestWithdraw_DropsWhatWaitsWithoutAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, up := &fates{}, atomic.Bool{}
		r := newRig(t, nil, func(*job) verdict {
			if !up.Load() {
				return broken
			}
			return good
		})
		for _, conn := range []string{"a", "b"} {
			r.Tell(f.event(Connected, conn, 1))
			r.Tell(f.event(Disconnected, conn, 2))
		}
		synctest.Wait()
		r.Withdraw(func(ev *Event) bool { return ev.ConnectionID == "a" })
		up.Store(true)
		pass(time.Hour)
		want(t, "fates", f.all(), []string{"connected b told", "disconnected b told"})
		if n := r.lost(Connected) + r.lost(Disconnected); n != 0 || r.queue.waiting() != 0 || len(r.queue.keys) != 0 {
			t.Errorf("%d lost, %d wait, %d keys", n, r.queue.waiting(), len(r.queue.keys))
		}
	})
}

func TestWithdraw_LetsWhatIsUnderWayEndAndDoesNotRetryIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fates{}
		r := newRig(t, nil, func(j *job) verdict {
			time.Sleep(time.Second)
			if j.event.ConnectionID == "b" {
				return good
			}
			return broken
		})
		r.Tell(f.event(Connected, "a", 1))
		r.Tell(f.event(Connected, "b", 1))
		synctest.Wait()
		r.Withdraw(func(*Event) bool { return true })
		pass(time.Hour)
		want(t, "fates", f.all(), []string{"connected b told"})
		if got := r.log(); len(got) != 2 {
			t.Errorf("sent %q", got)
		}
	})
}

func TestWithdraw_LetsMessagesBehindWhatWaitedGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answered := false
		r := newRig(t, func(cfg *config.Webhook) { cfg.MaxInFlight = 2 }, func(j *job) verdict {
			if j.event.ConnectionID == "slow" {
				time.Sleep(time.Minute)
			}
			return good
		})
		r.Tell(event(Connected, "slow", 1)) // told takes half: one
		r.Tell(event(Connected, "a", 1))
		r.Ask(event(Message, "a", 2), func(Answer, error) { answered = true })
		synctest.Wait()
		r.Withdraw(func(ev *Event) bool { return ev.ConnectionID == "a" })
		synctest.Wait()
		if !answered {
			t.Error("the message still waits for an event that was withdrawn")
		}
		pass(time.Hour)
	})
}
