package webhook

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
)

func TestWaiting_IsShownPageByPageWithWhyAndUntilWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		r := newRig(t, nil, func(*job) verdict { return broken })
		for i := range 5 {
			r.Tell(event(Connected, fmt.Sprintf("c%d", i), 1))
			r.Tell(event(Disconnected, fmt.Sprintf("c%d", i), 2))
			pass(time.Millisecond)
		}
		var seen []string
		after, pages := "", 0
		for more := true; more; pages++ {
			var page []Pending
			page, more = r.Waiting(after, 3)
			for _, p := range page {
				seen = append(seen, p.Connection+" "+p.Event)
				if p.Rank <= after {
					t.Errorf("%q is not after %q", p.Rank, after)
				}
				after = p.Rank
				switch first := p.Event == Connected; {
				case first && (p.Tries == 0 || p.Reason == "" || !p.Due.After(begin)):
					t.Errorf("one that was tried: %+v", p)
				case !first && (p.Tries != 0 || p.Reason != "" || !p.Due.IsZero()):
					t.Errorf("one behind it: %+v", p)
				}
			}
		}
		if slices.Sort(seen); len(slices.Compact(seen)) != 10 || pages != 4 {
			t.Errorf("%d pages: %q", pages, seen)
		}
		if got := r.OldestWaiting(); got != 5*time.Millisecond {
			t.Errorf("the oldest has waited %v", got)
		}
	})
}

func TestHurry_MakesAnEventDueNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		r := newRig(t, func(c *config.Webhook) {
			c.Retry = config.Retry{Min: time.Hour, Max: time.Hour, GiveUpAfter: 24 * time.Hour}
		}, func(*job) verdict {
			if !up.Load() {
				return verdict{result: "error", after: time.Hour, again: true, err: ErrUnavailable, answer: Answer{Status: 503}}
			}
			return good
		})
		r.Tell(event(Connected, "a", 1))
		r.Tell(event(Connected, "b", 1))
		synctest.Wait()
		up.Store(true)
		p, ok := r.Hurry(ConnectionEventID(Connected, "b").String())
		if synctest.Wait(); !ok || p.Connection != "b" {
			t.Error(p, ok)
		}
		want(t, "sent", r.log()[2:], []string{"connected b 1"})
		for _, id := range []string{"nonsense", ConnectionEventID(Connected, "c").String()} {
			if _, ok := r.Hurry(id); ok {
				t.Errorf("%s waits", id)
			}
		}
		pass(24 * time.Hour)
	})
}

func TestDrop_TakesAnEventOutAndLetsTheNextOfItsKeyGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fates{}
		r := newRig(t, nil, func(j *job) verdict {
			if j.event.Name == Connected {
				return broken
			}
			return good
		})
		r.Tell(f.event(Connected, "a", 1))
		r.Tell(f.event(Disconnected, "a", 2))
		synctest.Wait()
		if _, ok := r.Drop(ConnectionEventID(Connected, "a").String()); !ok {
			t.Error("it does not wait")
		}
		pass(time.Hour)
		want(t, "fates", f.all(), []string{"connected a told", "disconnected a told"})
		want(t, "sent", r.log(), []string{"connected a 1", "disconnected a 2"})
		if len(r.queue.keys) != 0 || r.lost(Connected) != 0 {
			t.Errorf("%d keys, %d lost", len(r.queue.keys), r.lost(Connected))
		}
	})
}

func TestDrop_WhatIsUnderWayIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fates{}
		r := newRig(t, nil, func(*job) verdict {
			time.Sleep(time.Second)
			return broken
		})
		r.Tell(f.event(Connected, "a", 1))
		synctest.Wait()
		if _, ok := r.Drop(ConnectionEventID(Connected, "a").String()); !ok {
			t.Error("it is not there")
		}
		pass(time.Hour)
		want(t, "fates", f.all(), []string{"connected a told"})
		want(t, "sent", r.log(), []string{"connected a 1"})
	})
}
