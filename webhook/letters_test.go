package webhook

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/testkit"
)

// memoryLetters is a broker's dead letters; err is its state.
type memoryLetters struct {
	mu     sync.Mutex // guards all below
	all    []broker.DeadLetter
	limits broker.OutboxLimits
	err    error
}

func (m *memoryLetters) LimitOutbox(l broker.OutboxLimits) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limits = l
}

func (m *memoryLetters) Bury(l broker.DeadLetter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(slices.DeleteFunc(m.all, func(o broker.DeadLetter) bool { return o.ID == l.ID }), l)
}

func (m *memoryLetters) DeadLetters(_ context.Context, cursor string, limit int) (page []broker.DeadLetter, next string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := 1 + slices.IndexFunc(m.all, func(o broker.DeadLetter) bool { return o.ID == cursor })
	page = slices.Clone(m.all[from:min(len(m.all), from+limit)])
	if from+limit < len(m.all) {
		next = page[limit-1].ID
	}
	return page, next, m.err
}

func (m *memoryLetters) DeadLetter(_ context.Context, id string) (broker.DeadLetter, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.all {
		if l.ID == id {
			return l, true, m.err
		}
	}
	return broker.DeadLetter{}, false, m.err
}

func (m *memoryLetters) Drop(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.all)
	m.all = slices.DeleteFunc(m.all, func(o broker.DeadLetter) bool { return o.ID == id })
	return len(m.all) < n, m.err
}

func (m *memoryLetters) OutboxSize() (waiting, dead int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return 0, len(m.all)
}

func (m *memoryLetters) ids() (ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.all {
		ids = append(ids, l.ID)
	}
	return ids
}

// letterRig is a rig that keeps dead letters. A nil answer is good.
func letterRig(t *testing.T, change func(*config.Webhook), answer func(*job) verdict) (*rig, *memoryLetters) {
	t.Helper()
	r, letters := newRig(t, change, answer), &memoryLetters{}
	r.SetLetters(letters)
	return r, letters
}

func refusal(status int) verdict {
	return verdict{result: "rejected", after: -1, answer: Answer{Status: status}}
}

func TestLetters_KeepWhatIsRefusedForGood(t *testing.T) {
	for _, status := range []int{400, 404, 405, 410, 413, 415, 422, 501} {
		synctest.Test(t, func(t *testing.T) {
			f := &fates{}
			r, letters := letterRig(t, nil, func(*job) verdict { return refusal(status) })
			ev := NewFact(UserOnline, "", "ann", 5, time.Now())
			ev.Entry, ev.Kept = "7-1", f.of("ann")
			begin := time.Now()
			r.Tell(ev)
			pass(time.Hour)
			want(t, "fates", f.all(), []string{"ann buried"})
			if len(letters.all) != 1 {
				t.Fatalf("%d: letters %+v", status, letters.all)
			}
			l := letters.all[0]
			if l.ID != FactID(UserOnline, "", "ann", 5).String() || l.Entry != "7-1" || l.At != begin.UnixMilli() || !strings.HasPrefix(l.Reason, strconv.Itoa(status)+": ") {
				t.Errorf("%d: letter %+v", status, l)
			}
			if n := r.lost(UserOnline); n != 0 || len(r.log()) != 1 || r.queue.waiting() != 0 {
				t.Errorf("%d: %d lost, sent %q", status, n, r.log())
			}
		})
	}
}

func TestLetters_KeepWhatWasNotTakenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fates{}
		var out testkit.Log
		r, letters := letterRig(t, func(c *config.Webhook) { c.Retry.GiveUpAfter = time.Hour }, func(*job) verdict { return broken })
		r.rare = ratelog.New(slog.New(slog.NewTextHandler(&out, nil)))
		r.Tell(f.event(Disconnected, "a", 1))
		pass(2 * time.Hour)
		want(t, "fates", f.all(), []string{"disconnected a buried"})
		if len(letters.all) != 1 || !strings.HasPrefix(letters.all[0].Reason, "not accepted within webhook.retry.give_up_after; last: ") {
			t.Errorf("letters %+v", letters.all)
		}
		if s := out.String(); !strings.Contains(s, "setting=webhook.retry.give_up_after") || !strings.Contains(s, "pushcart outbox list --state dead") {
			t.Error(s)
		}
	})
}

func TestLetters_OfABatchOnlyTheOneThatIsRefusedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, letters := letterRig(t, func(c *config.Webhook) { c.Batch = config.Batch{Events: 10, Wait: time.Second} }, func(j *job) verdict {
			if len(j.with) > 0 || j.event.ConnectionID == "b" {
				return refusal(422)
			}
			return good
		})
		for _, conn := range []string{"a", "b", "c"} {
			r.Tell(event(Connected, conn, 1))
		}
		pass(time.Hour)
		want(t, "letters", letters.ids(), []string{ConnectionEventID(Connected, "b").String()})
	})
}

func TestLetters_AnEventThatIsRefusedLetsTheNextOfItsKeyGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, letters := letterRig(t, nil, func(j *job) verdict {
			if j.event.Name == UserOnline {
				return refusal(404)
			}
			return good
		})
		r.Tell(NewFact(UserOnline, "", "ann", 1, time.Now()))
		r.Tell(NewFact(UserOffline, "", "ann", 2, time.Now()))
		pass(time.Hour)
		want(t, "sent", r.log(), []string{"user.online  1", "user.offline  2"})
		want(t, "letters", letters.ids(), []string{FactID(UserOnline, "", "ann", 1).String()})
	})
}

func TestReplay_TellsTheSameAgainAndTheLetterGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		var ids, times, nodes []string
		r, letters := letterRig(t, nil, func(j *job) verdict {
			ids, times = append(ids, j.id.String()), append(times, j.time().Format(timeFormat))
			nodes = append(nodes, cmp.Or(j.event.Node, "node1"))
			if !up.Load() {
				return refusal(410)
			}
			return good
		})
		ev := event(Disconnected, "a", 3)
		ev.Body, ev.ContentType, ev.State = []byte(`{"code":1000}`), contentJSON, []byte(`1`)
		r.Tell(ev)
		pass(time.Hour)
		id := letters.ids()[0]
		replay := func() {
			t.Helper()
			if ok, err := r.Replay(t.Context(), id); !ok || err != nil {
				t.Fatal(ok, err)
			}
			pass(time.Minute)
		}
		replay()
		want(t, "letters while it is still refused", letters.ids(), []string{id})
		up.Store(true)
		replay()
		want(t, "letters after it was taken", letters.ids(), nil)
		if len(slices.Compact(ids)) != 1 || len(slices.Compact(times)) != 1 || len(slices.Compact(nodes)) != 1 {
			t.Errorf("ids %q, times %q, nodes %q", ids, times, nodes)
		}
		if ok, err := r.Replay(t.Context(), id); ok || err != nil {
			t.Errorf("a letter that is gone: %v, %v", ok, err)
		}
		want(t, "sent", r.log(), []string{"disconnected a 3", "disconnected a 3", "disconnected a 3"})
	})
}

func TestReplay_HasTheWholeTimeAnewAndIsNotDoubled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, letters := letterRig(t, func(c *config.Webhook) { c.Retry.GiveUpAfter = time.Hour }, func(*job) verdict { return broken })
		r.Tell(event(Connected, "a", 1))
		pass(5 * time.Hour)
		id, n := letters.ids()[0], len(r.log())
		for range 3 {
			if ok, err := r.Replay(t.Context(), id); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		pass(30 * time.Minute)
		if got := r.queue.waiting(); got != 1 || len(r.log()) < n+10 {
			t.Errorf("%d wait, %d more tries after half the time", got, len(r.log())-n)
		}
		pass(time.Hour)
		want(t, "letters", letters.ids(), []string{id})
		if r.queue.waiting() != 0 || r.lost(Connected) != 0 {
			t.Errorf("%d wait, %d lost", r.queue.waiting(), r.lost(Connected))
		}
	})
}

// What is told anew when the process ends is still a letter.
func TestReplay_IsNotLostAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mended atomic.Bool
		r, letters := letterRig(t, nil, func(*job) verdict {
			if !mended.Load() {
				return refusal(404)
			}
			return broken
		})
		r.Tell(event(Connected, "a", 1))
		pass(time.Minute)
		mended.Store(true)
		if ok, err := r.Replay(t.Context(), letters.ids()[0]); !ok || err != nil {
			t.Fatal(ok, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = r.Close(ctx)
		if len(letters.ids()) != 1 || r.lost(Connected) != 0 {
			t.Errorf("letters %q, %d lost", letters.ids(), r.lost(Connected))
		}
	})
}

func TestDeadLetters_AreShownPageByPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, letters := letterRig(t, nil, func(*job) verdict { return refusal(404) })
		begin := time.Now()
		for i, user := range []string{"ann", "bob", "cid"} {
			r.Tell(NewFact(UserOnline, "", user, uint64(i+1), begin))
			synctest.Wait()
		}
		page, next, err := r.DeadLetters(t.Context(), "", 2)
		if err != nil || len(page) != 2 || next == "" {
			t.Fatal(page, next, err)
		}
		p := page[0]
		if p.ID != letters.ids()[0] || p.Event != UserOnline || p.User != "ann" || string(p.Data) != `{"generation":1}` ||
			!p.Time.Equal(begin) || !p.GivenUp.Equal(begin) || p.Reason != "404: the backend has no such route" {
			t.Errorf("%+v", p)
		}
		rest, next, err := r.DeadLetters(t.Context(), next, 2)
		if err != nil || len(rest) != 1 || rest[0].User != "cid" || next != "" {
			t.Error(rest, next, err)
		}
		one, ok, err := r.DeadLetter(t.Context(), p.ID)
		if one.User != "ann" || !ok || err != nil {
			t.Error(one, ok, err)
		}
		if ok, err := r.DropLetter(t.Context(), p.ID); !ok || err != nil {
			t.Error(ok, err)
		}
		if ok, err := r.DropLetter(t.Context(), p.ID); ok || err != nil {
			t.Error(ok, err)
		}
		letters.err = broker.ErrUnavailable
		_, _, err1 := r.DeadLetters(t.Context(), "", 2)
		_, _, err2 := r.DeadLetter(t.Context(), p.ID)
		_, err3 := r.DropLetter(t.Context(), p.ID)
		_, err4 := r.Replay(t.Context(), p.ID)
		for _, err := range []error{err1, err2, err3, err4} {
			if !errors.Is(err, broker.ErrUnavailable) {
				t.Errorf("%v", err)
			}
		}
	})
}

func TestDeadLetters_OneThatCannotBeReadIsShownAndNotReplayed(t *testing.T) {
	r, letters := letterRig(t, nil, func(*job) verdict { return good })
	letters.all = []broker.DeadLetter{{ID: "x", Event: []byte{99}, Reason: "404: no route"}}
	page, _, err := r.DeadLetters(t.Context(), "", 2)
	if err != nil || len(page) != 1 || !strings.Contains(page[0].Reason, "version 99; 404: no route") {
		t.Error(page, err)
	}
	if _, err := r.Replay(t.Context(), "x"); !errors.Is(err, ErrRecord) {
		t.Error(err)
	}
}

func TestLetters_TheBoundsAreTheConfigurationsAlsoAfterAReload(t *testing.T) {
	r, letters := letterRig(t, func(c *config.Webhook) { c.DeadLetters.Messages = 5 }, nil)
	if want := (broker.OutboxLimits{Waiting: 1_000_000, DeadLetters: 5, Age: 7 * 24 * time.Hour}); letters.limits != want {
		t.Errorf("got %+v, want %+v", letters.limits, want)
	}
	cfg := testConfig("http://backend.test/")
	cfg.DeadLetters, cfg.Outbox.Redis = config.DeadLetters{Messages: 7, Age: time.Hour}, 9
	r.Apply(settingsOf(t, cfg, config.Backend{}))
	if want := (broker.OutboxLimits{Waiting: 9, DeadLetters: 7, Age: time.Hour}); letters.limits != want {
		t.Errorf("after a reload: got %+v, want %+v", letters.limits, want)
	}
}
