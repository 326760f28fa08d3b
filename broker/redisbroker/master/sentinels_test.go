package master_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker/redisbroker/master"
	"github.com/pushcart/pushcart/internal/testkit"
)

const (
	first  = "10.0.0.1:6379"
	second = "[fd00::2]:6380"
	third  = "redis-3.example:6379"
)

func want(t *testing.T, s *master.Sentinels, address, failure string) {
	t.Helper()
	got, err := s.Find(t.Context())
	if got != address {
		t.Errorf("got %q (%v), want %q", got, err, address)
	}
	if failure == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), failure) {
		t.Errorf("got the error %v, want %q", err, failure)
	}
}

// One was cut off: it names the old master for as long as nobody corrects it.
func TestSentinels_OneThatLagsBehindIsNotBelieved(t *testing.T) {
	a, b, c := newFake(t, first, 1), newFake(t, second, 2), newFake(t, second, 2)
	s, told := ask(t, "main", a, b, c)
	want(t, s, second, "")
	b.set(func(f *fake) { f.mute = true })
	want(t, s, second, "")
	c.set(func(f *fake) { f.mute = true })
	want(t, s, second, "") // it is known that the first is behind
	if len(told.alone) != 1 || !strings.HasPrefix(told.alone[0], second+": redis.addresses: the sentinels that answer lag behind others") {
		t.Errorf("told %q", told.alone)
	}
}

func TestSentinels_AFailoverIsFollowedAndTheNewMasterKept(t *testing.T) {
	a, b, c := newFake(t, first, 7), newFake(t, first, 7), newFake(t, first, 7)
	s, _ := ask(t, "", a, b, c)
	want(t, s, first, "")
	c.set(func(f *fake) { f.master, f.epoch = third, 8 }) // it leads the failover, and the others do not know yet
	want(t, s, third, "")
	want(t, s, third, "")
}

// All sentinels were set up again, so their epochs start from 0.
func TestSentinels_AMajorityThatBeginsAnewIsBelieved(t *testing.T) {
	a, b, c := newFake(t, first, 7), newFake(t, first, 7), newFake(t, first, 7)
	s, _ := ask(t, "main", a, b, c)
	want(t, s, first, "")
	c.set(func(f *fake) { f.mute = true })
	for _, f := range []*fake{a, b} {
		f.set(func(f *fake) { f.master, f.epoch = second, 0 })
	}
	want(t, s, second, "")
}

func TestSentinels_OneThatHangsIsWaitedForOnce(t *testing.T) {
	a, b := newFake(t, first, 1), newFake(t, first, 1)
	s, told := ask(t, "main", a, b)
	a.set(func(f *fake) { f.mute = true })
	want(t, s, first, "")
	testkit.Eventually(t, "it is told", func() bool { return told.times(a.addr) > 0 })
	began := time.Now()
	want(t, s, first, "")
	if d := time.Since(began); d > 500*time.Millisecond {
		t.Errorf("asked for %v", d)
	}
	a.set(func(f *fake) { f.mute = false })
	testkit.Eventually(t, "both answer", func() bool { want(t, s, first, ""); return s.Answering() == 2 })
}

func TestSentinels_OthersAreLearned(t *testing.T) {
	a, b, c := newFake(t, first, 1), newFake(t, first, 1), newFake(t, first, 1)
	b.others = []*fake{a, c}
	s, _ := ask(t, "main", b)
	want(t, s, first, "")
	b.set(func(f *fake) { f.mute = true })
	for _, f := range []*fake{a, c} {
		f.set(func(f *fake) { f.master, f.epoch = second, 2 })
	}
	want(t, s, second, "")
}

func TestSentinels_NoneThatKnowsTheMaster(t *testing.T) {
	a, b := newFake(t, "", 0), newFake(t, first, 1)
	s, _ := ask(t, "other", a, b)
	want(t, s, "", `redis.master_name: the sentinels watch none called "other", but main`)
	s, _ = ask(t, "", a)
	want(t, s, "", "redis.master_name: the sentinels watch no master")
	s, _ = ask(t, "main", a, b)
	want(t, s, first, "")
	s, _ = ask(t, "", a, b)
	want(t, s, first, "")
	b.set(func(f *fake) { f.mute = true })
	a.set(func(f *fake) { f.mute = true })
	s, _ = ask(t, "main", a, b)
	want(t, s, "", "redis.addresses: no sentinel answers: ")
}

// What answers at the known address may have been away, and replaced meanwhile.
func TestSentinels_ConfirmTakesNoOldWord(t *testing.T) {
	a, b, c := newFake(t, first, 1), newFake(t, first, 1), newFake(t, first, 1)
	s, _ := ask(t, "main", a, b, c)
	confirm := func(address, failure string) {
		t.Helper()
		err := s.Confirm(t.Context(), address)
		if failure == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), failure) {
			t.Errorf("got the error %v, want %q", err, failure)
		}
	}
	want(t, s, first, "")
	confirm(first, "")
	for _, f := range []*fake{a, b, c} {
		f.set(func(f *fake) { f.mute = true })
	}
	want(t, s, first, "")
	confirm(first, "no sentinel names it since: redis.addresses: no sentinel answers")
	for _, f := range []*fake{a, b, c} {
		f.set(func(f *fake) { f.mute, f.master, f.epoch = false, second, 2 })
	}
	testkit.Eventually(t, "they are asked again", func() bool { at, _ := s.Find(t.Context()); return at == second })
	confirm(first, "they name "+second)
	confirm(second, "")
}

// A sentinel that answers nothing is left for the next, which tells of a switch.
func TestSentinels_WatchLeavesASilentOne(t *testing.T) {
	a, b := newFake(t, first, 1), newFake(t, first, 1)
	a.deaf = true
	s, told := ask(t, "main", a, b)
	looks := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Watch(ctx, func() { _, _ = s.Find(ctx); looks <- struct{}{} })
	}()
	testkit.Eventually(t, "the next is listened to", func() bool { return told.times(a.addr) > 0 && b.publish() > 0 })
	testkit.Eventually(t, "a word of it counts at once", func() bool {
		for len(looks) > 0 {
			<-looks
		}
		b.publish()
		began := time.Now()
		<-looks
		return time.Since(began) < 500*time.Millisecond
	})
	cancel()
	<-done
}
