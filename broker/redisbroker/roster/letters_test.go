package roster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

func letterOf(i int) broker.DeadLetter {
	return broker.DeadLetter{ID: fmt.Sprintf("id%03d", i), Event: []byte{0, byte(i), '"', 0xff}, Reason: "400", At: int64(i)}
}

// ids are those of all dead letters, read in pages.
func (n *testNode) ids(limit int) (all []string) {
	n.t.Helper()
	cursor := ""
	for {
		page, next, err := n.DeadLetters(n.ctx, cursor, limit)
		if err != nil || len(page) > limit {
			n.t.Fatalf("a page of %d, next %q, %v", len(page), next, err)
		}
		for _, l := range page {
			all = append(all, l.ID)
		}
		if next == "" {
			return all
		}
		cursor = next
	}
}

func TestLetters_AreKeptForAllNodes(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, s *redistest.Server) {
		all := begin(t, s.Addr, 2)
		var want []string
		for i := range 25 {
			all[0].Bury(letterOf(i))
			want = append(want, letterOf(i).ID)
		}
		testkit.Eventually(t, "all are there", func() bool { _, dead := all[1].OutboxSize(); return dead == 25 })
		for _, limit := range []int{1, 7, 25, 1000} {
			if got := all[1].ids(limit); !reflect.DeepEqual(got, want) {
				t.Errorf("in pages of %d: %v", limit, got)
			}
		}
		if l, ok, err := all[1].DeadLetter(t.Context(), "id007"); err != nil || !ok || !reflect.DeepEqual(l, letterOf(7)) {
			t.Errorf("got %+v, %v, %v", l, ok, err)
		}
		for _, c := range []bool{true, false} {
			if ok, err := all[1].Drop(t.Context(), "id007"); ok != c || err != nil {
				t.Errorf("dropped: %v, %v; want %v", ok, err, c)
			}
		}
		if _, ok, err := all[0].DeadLetter(t.Context(), "id007"); ok || err != nil {
			t.Errorf("there is one, or %v", err)
		}
		if got := all[0].ids(10); len(got) != 24 {
			t.Errorf("%d are left", len(got))
		}
		again := letterOf(3)
		again.Reason = "again"
		all[1].Bury(again)
		testkit.Eventually(t, "the second of an id replaces the first", func() bool {
			l, _, _ := all[0].DeadLetter(t.Context(), again.ID)
			return l.Reason == "again"
		})
		if got := all[0].ids(10); len(got) != 24 || got[23] != again.ID {
			t.Errorf("got %v", got)
		}
		if page, _, err := all[0].DeadLetters(t.Context(), "nonsense", 1); err != nil || len(page) != 1 {
			t.Errorf("a cursor of another kind: %v, %v", page, err)
		}
	})
}

func TestLetters_AreBoundedByNumberAndAge(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	n := beginOne(t, s.Addr)
	n.LimitOutbox(broker.OutboxLimits{Waiting: 1000, DeadLetters: 5, Age: time.Hour})
	for i := range 12 {
		n.Bury(letterOf(i))
		testkit.Eventually(t, "it is stored", func() bool { return !n.keeper.letters.waits() })
	}
	if got := fmt.Sprint(n.ids(10)); got != "[id007 id008 id009 id010 id011]" {
		t.Errorf("kept %s", got)
	}
	n.logged.Await(t, "key=webhook.dead_letters")
	p := look(t, s)
	p.ZIncrBy(t.Context(), "pc:{0}:letters:by", -3600_000, "id007") // an hour ago
	if got := fmt.Sprint(n.ids(10)); got != "[id008 id009 id010 id011]" {
		t.Errorf("kept %s", got)
	}
	p.ZIncrBy(t.Context(), "pc:{0}:letters:by", -3600_000, "id008")
	if _, ok, err := n.DeadLetter(t.Context(), "id008"); ok || err != nil {
		t.Errorf("one that is too old is there, or %v", err)
	}
	if got := p.HLen(t.Context(), "pc:{0}:letters").Val(); got != 3 {
		t.Errorf("%d letters are stored, want 3", got)
	}
}

func TestLetters_SettleTheirFact(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	n := beginOne(t, s.Addr, func(n *testNode) { n.keep = true })
	n.Declare(broker.Change{Kind: broker.UserHere, Name: "ann", Tell: true})
	testkit.Eventually(t, "it is handed out", func() bool { return len(n.told()) == 1 })
	l := letterOf(1)
	l.Entry = n.told()[0].Entry
	n.Bury(l)
	testkit.Eventually(t, "the fact is gone", func() bool { return waitsIn(t, s) == 0 })
	if got := n.ids(10); len(got) != 1 {
		t.Errorf("letters: %v", got)
	}
}

func TestLetters_WaitForARedisThatIsAway(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	n := beginOne(t, s.Addr)
	n.LimitOutbox(broker.OutboxLimits{Waiting: 1000, DeadLetters: 5, Age: time.Hour})
	n.Bury(letterOf(0))
	testkit.Eventually(t, "it is stored", func() bool { return len(n.ids(10)) == 1 })
	s.Kill()
	for i := 1; i < 9; i++ {
		n.Bury(letterOf(i))
	}
	n.logged.Await(t, "key=webhook.dead_letters")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, _, err := n.DeadLetters(ctx, "", 10); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	s.Restart(t)
	testkit.Eventually(t, "the last ones are stored", func() bool {
		page, _, _ := n.DeadLetters(t.Context(), "", 10)
		return len(page) == 5 && page[0].ID == "id004"
	})
	n.close()
	if _, err := n.Drop(t.Context(), "id004"); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestLetters_OfAnotherKindAreLeftOut(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	n := beginOne(t, s.Addr)
	for i := range 3 {
		n.Bury(letterOf(i))
	}
	testkit.Eventually(t, "all are stored", func() bool { return len(n.ids(10)) == 3 })
	look(t, s).HSet(t.Context(), "pc:{0}:letters", "id001", "nonsense")
	if got := fmt.Sprint(n.ids(1)); got != "[id000 id002]" {
		t.Errorf("got %s", got)
	}
	n.logged.Await(t, "dead letter")
}

func FuzzLetter(f *testing.F) {
	f.Add("id", string(formatLetter(letterOf(1))))
	f.Add("", `{"event":1}`)
	f.Add("x", "null")
	f.Fuzz(func(t *testing.T, id, stored string) {
		l, err := parseLetter(id, stored)
		if err != nil {
			return
		}
		if again, err := parseLetter(id, string(formatLetter(l))); err != nil || !reflect.DeepEqual(again, l) {
			t.Errorf("got %+v, %v, want %+v", again, err, l)
		}
	})
}

func FuzzFact(f *testing.F) {
	f.Add("L", "c", "", "", "1700000000123", "record")
	f.Add("M", "room", "ann", "17", "1", "")
	f.Fuzz(func(t *testing.T, kind, name, user, generation, at, record string) {
		got, err := parseFact(map[string]any{"t": kind, "n": name, "u": user, "g": generation, "a": at, "r": record})
		if err == nil && (factLetters[kind] != got.Kind || got.Name != name || got.User != user || string(got.Record) != record) {
			t.Errorf("got %+v", got)
		}
	})
}

func FuzzEntry(f *testing.F) {
	f.Add("17/1700000000123-0")
	f.Add("64/1-0")
	f.Add("-1/")
	f.Fuzz(func(t *testing.T, entry string) {
		p, id, ok := parseEntry(entry)
		if !ok {
			return
		}
		if p < 0 || p >= Partitions {
			t.Errorf("partition %d", p)
		}
		if q, other, ok := parseEntry(entryOf(p, id)); !ok || q != p || other != id {
			t.Errorf("got %d, %q, %v", q, other, ok)
		}
	})
}

func FuzzBeat(f *testing.F) {
	f.Add(`["5000000","1",1,"a:1","4999999","b:1","1.7e+15"]`)
	f.Add(`["x","1",1]`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, reply string) {
		var values []any
		if json.Unmarshal([]byte(reply), &values) != nil {
			return
		}
		a, err := parseBeat(values)
		if err != nil {
			return
		}
		living, dead := a.judge("a:1", time.Second)
		if len(living)+len(dead) != len(a.nodes) || len(dead) > 0 && a.now-a.thaw < time.Second.Microseconds() {
			t.Errorf("%d live and %d are dead of %d at %d, thawed at %d", len(living), len(dead), len(a.nodes), a.now, a.thaw)
		}
	})
}
