package brokertest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/testkit"
)

// fill keeps the numbers from 1 to count on a topic, from all nodes in turn, and
// returns their positions: positions[0] is the one before the first.
func fill(t *testing.T, nodes []*streamNode, topic string, count int, rule broker.Retention) (positions []broker.Position) {
	t.Helper()
	for i := range count {
		at := nodes[i%len(nodes)].keep(t, topic, fmt.Sprint(i+1), rule)
		if i == 0 {
			positions = append(positions, broker.Position{Epoch: at.Epoch})
		}
		positions = append(positions, at)
	}
	return positions
}

func readsAfter(t *testing.T, nodes []*streamNode) {
	before := time.Now().UnixMilli()
	at := fill(t, nodes, "channel:x", 5, kept)
	after := time.Now().UnixMilli()
	for _, n := range nodes {
		for i, want := range []string{"1 2 3 4 5", "2 3 4 5", "3 4 5", "4 5", "5", ""} {
			for _, from := range []broker.Position{at[i], {Offset: at[i].Offset}} {
				r := n.read(t, broker.Query{Topic: "channel:x", After: from})
				wantRange(t, r, false, want)
				if r.Current != at[5] || r.More {
					t.Errorf("after %+v: the stream is at %+v, more %v; want %+v, false", from, r.Current, r.More, at[5])
				}
				for k, m := range r.Messages {
					if m.Position != at[i+k+1] || m.Topic != "channel:x" || m.Kind != broker.Published {
						t.Errorf("after %+v, message %d: %s", from, k, brief(m))
					}
					if m.Time < before-1 || m.Time > after+1 {
						t.Errorf("%s was taken at %d, published between %d and %d", brief(m), m.Time, before, after)
					}
				}
			}
		}
	}
}

func readsWholeAndLast(t *testing.T, nodes []*streamNode) {
	at := fill(t, nodes, "channel:x", 5, broker.Retention{Messages: 4, Age: time.Hour})
	f := func(q broker.Query, want string, more bool) {
		t.Helper()
		for _, n := range nodes {
			q.Topic = "channel:x"
			r := n.read(t, q)
			wantRange(t, r, false, want)
			if r.Current != at[5] || r.More != more {
				t.Errorf("%+v: the stream is at %+v, more %v", q, r.Current, r.More)
			}
		}
	}
	f(broker.Query{Whole: true}, "2 3 4 5", false)
	f(broker.Query{Whole: true, Limit: 3}, "2 3 4", true)
	f(broker.Query{Whole: true, Limit: 4}, "2 3 4 5", false)
	f(broker.Query{Last: 1}, "5", false)
	f(broker.Query{Last: 3}, "3 4 5", false)
	f(broker.Query{Last: 4}, "2 3 4 5", false)
	f(broker.Query{Last: 5}, "2 3 4 5", false)
	f(broker.Query{Last: 5000}, "2 3 4 5", false)
	f(broker.Query{Last: 3, Limit: 2}, "3 4", true)
}

// readsTheEnd wants the position alone, whatever else is asked for.
func readsTheEnd(t *testing.T, nodes []*streamNode) {
	at := fill(t, nodes, "channel:x", 5, broker.Retention{Messages: 3, Age: time.Hour})
	for _, n := range nodes {
		for _, q := range []broker.Query{{}, {Whole: true}, {Last: 2}, {After: at[4]}, {Limit: 1}} {
			q.Topic, q.End = "channel:x", true
			if r := n.read(t, q); len(r.Messages) > 0 || r.Gap || r.More || r.Current != at[5] {
				t.Errorf("%+v: got %+v", q, r)
			}
		}
		if r := n.read(t, broker.Query{Topic: "channel:y", End: true}); r.Current != (broker.Position{}) || r.Gap || r.More {
			t.Errorf("the end of no stream is %+v", r)
		}
	}
}

func readsInPages(t *testing.T, nodes []*streamNode) {
	at := fill(t, nodes, "channel:x", 6, kept)
	for limit := 1; limit <= 7; limit++ {
		var got []string
		q := broker.Query{Topic: "channel:x", Limit: limit}
		for page := 0; ; page++ {
			r := nodes[page%len(nodes)].read(t, q)
			left := 6 - len(got)
			if r.Gap || len(r.Messages) != min(limit, left) || r.More != (left > limit) || r.Current != at[6] {
				t.Fatalf("limit %d, page %d: %q, gap %v, more %v, at %+v", limit, page, textsOf(r.Messages), r.Gap, r.More, r.Current)
			}
			if want := uint64(6 - left + min(limit, left)); r.Reached != want {
				t.Fatalf("limit %d, page %d ends at %d, want %d", limit, page, r.Reached, want)
			}
			got = append(got, textsOf(r.Messages)...)
			if !r.More {
				break
			}
			q.After = broker.Position{Offset: r.Reached, Epoch: r.Current.Epoch}
		}
		if text := strings.Join(got, " "); text != "1 2 3 4 5 6" {
			t.Errorf("limit %d: got %q", limit, text)
		}
	}
}

func readsAtMostSoMany(t *testing.T, nodes []*streamNode) {
	batch := make([]broker.Publication, broker.MaxRead+1)
	for i := range batch {
		batch[i] = broker.Publication{Topic: "user:a", Payload: fmt.Append(nil, i+1), Keep: kept}
	}
	nodes[0].Publish(context.Background(), batch)
	last := nodes[len(nodes)-1]
	for _, limit := range []int{0, -1, broker.MaxRead, broker.MaxRead + 1, 1 << 30} {
		r := last.read(t, broker.Query{Topic: "user:a", Limit: limit})
		if len(r.Messages) != broker.MaxRead || !r.More || r.Gap {
			t.Errorf("limit %d: %d messages, more %v, gap %v", limit, len(r.Messages), r.More, r.Gap)
		}
		r = last.read(t, broker.Query{Topic: "user:a", Limit: limit, After: r.Messages[len(r.Messages)-1].Position})
		wantRange(t, r, false, fmt.Sprint(broker.MaxRead+1))
	}
	r := last.read(t, broker.Query{Topic: "user:a", After: batch[0].Position})
	if len(r.Messages) != broker.MaxRead || r.More {
		t.Errorf("after the first: %d messages, more %v", len(r.Messages), r.More)
	}
}

func readsAtMostSoManyBytes(t *testing.T, nodes []*streamNode) {
	const messages, size = 40, 100 << 10
	for i := range messages {
		nodes[i%len(nodes)].keep(t, "user:a", fmt.Sprintf("%0*d", size, i), kept)
	}
	last, got := nodes[len(nodes)-1], 0
	q := broker.Query{Topic: "user:a"}
	for more := true; more; {
		r := last.read(t, q)
		if r.Gap || len(r.Messages) == 0 || len(r.Messages)*size > broker.MaxReadBytes {
			t.Fatalf("%d messages of 100 KiB, gap %v", len(r.Messages), r.Gap)
		}
		for _, m := range r.Messages {
			if want := fmt.Sprintf("%0*d", size, got); string(m.Payload) != want {
				t.Fatalf("message %d is %.20q…", got, m.Payload)
			}
			got++
		}
		more, q.After = r.More, r.Messages[len(r.Messages)-1].Position
	}
	if got != messages {
		t.Errorf("read %d messages, want %d", got, messages)
	}
	// One that is too large by itself comes alone.
	large := strings.Repeat("x", broker.MaxReadBytes+1)
	for _, text := range []string{large, "small", large} {
		nodes[0].keep(t, "user:b", text, kept)
	}
	q = broker.Query{Topic: "user:b"}
	for i, want := range []string{large, "small", large} {
		r := last.read(t, q)
		if len(r.Messages) != 1 || string(r.Messages[0].Payload) != want || r.More != (i < 2) {
			t.Fatalf("part %d: %d messages, more %v", i, len(r.Messages), r.More)
		}
		q.After = r.Messages[0].Position
	}
}

func badPositions(t *testing.T, nodes []*streamNode) {
	at := fill(t, nodes, "channel:x", 3, kept)
	other := nodes[0].keep(t, "channel:y", "y", kept)
	end := at[3]
	for _, from := range []broker.Position{
		{Offset: end.Offset + 1, Epoch: end.Epoch}, {Offset: end.Offset + 1}, {Offset: 1 << 63, Epoch: end.Epoch},
		{Offset: 1, Epoch: other.Epoch}, {Offset: 0, Epoch: "x"}, {Offset: end.Offset, Epoch: end.Epoch + "0"}, {Offset: 3, Epoch: "e:1,2!"},
	} {
		for _, n := range nodes {
			r := n.read(t, broker.Query{Topic: "channel:x", After: from})
			wantRange(t, r, true, "1 2 3")
			if r.Current != end {
				t.Errorf("after %+v: the stream is at %+v, want %+v", from, r.Current, end)
			}
			r = n.read(t, broker.Query{Topic: "channel:x", After: from, Limit: 2})
			wantRange(t, r, true, "1 2")
			if !r.More {
				t.Errorf("after %+v, two: there is one more", from)
			}
		}
	}
}

func countDrops(t *testing.T, nodes []*streamNode) {
	for _, count := range []int{1, 7, 100} {
		topic := fmt.Sprint("channel:", count)
		all := count + 5
		at := fill(t, nodes, topic, all, broker.Retention{Messages: count, Age: time.Hour})
		for _, n := range nodes {
			got := n.readAll(t, broker.Query{Topic: topic, Whole: true})
			if len(got) != count || got[0].Position != at[6] {
				t.Fatalf("of %d messages %d are kept, want %d", all, len(got), count)
			}
			for i := range 7 {
				r := n.read(t, broker.Query{Topic: topic, After: at[i]})
				if wantGap := i < 5; r.Gap != wantGap || r.Current != at[all] {
					t.Errorf("%d kept, after %d: gap %v, at %+v", count, i, r.Gap, r.Current)
				}
				if first := at[max(i, 5)].Offset + 1; len(r.Messages) != all-int(first)+1 || len(r.Messages) > 0 && r.Messages[0].Position.Offset != first {
					t.Errorf("%d kept, after %d: %d messages", count, i, len(r.Messages))
				}
			}
			wantRange(t, n.read(t, broker.Query{Topic: topic, After: at[all]}), false, "")
		}
	}
}

// clockSlack is what the clocks of a node and a broker that counts in milliseconds
// may differ by.
const clockSlack = 5 * time.Millisecond

// awaitGone publishes a message that lives so long, and holds every node to it:
// nobody misses it before, and nobody gets it afterwards.
func awaitGone(t *testing.T, nodes []*streamNode, p broker.Publication, life time.Duration) broker.Position {
	t.Helper()
	before := time.Now()
	p = nodes[0].put(p)
	after := time.Now()
	if p.Err != nil {
		t.Fatal(p.Err)
	}
	there := func(n *streamNode) bool {
		asked := time.Now()
		r := n.read(t, broker.Query{Topic: p.Topic, Whole: true, Keep: p.Keep})
		got := slices.ContainsFunc(r.Messages, func(m broker.Message) bool { return m.Position == p.Position })
		if answered := time.Now(); !got && answered.Sub(before) < life-clockSlack {
			t.Errorf("gone after %v, before its %v were over", answered.Sub(before), life)
		}
		if got && asked.Sub(after) > life+clockSlack {
			t.Errorf("there after %v, want %v", asked.Sub(after), life)
		}
		return got
	}
	for _, n := range nodes {
		testkit.Eventually(t, "it is gone", func() bool { return !there(n) })
	}
	return p.Position
}

func ageDrops(t *testing.T, nodes []*streamNode) {
	short := broker.Retention{Messages: 100, Age: 400 * time.Millisecond}
	at := awaitGone(t, nodes, broker.Publication{Topic: "user:a", Payload: []byte("1"), Keep: short}, short.Age)
	for _, n := range nodes {
		r := n.read(t, broker.Query{Topic: "user:a", Keep: short})
		wantRange(t, r, true, "")
		if r.Current != at || r.More {
			t.Errorf("the stream is at %+v, more %v; want %+v", r.Current, r.More, at)
		}
		wantRange(t, n.read(t, broker.Query{Topic: "user:a", Keep: short, After: at}), false, "")
		wantRange(t, n.read(t, broker.Query{Topic: "user:a", Keep: short, Last: 5}), false, "")
	}
	if next := nodes[0].keep(t, "user:a", "2", kept); next.Offset != at.Offset+1 || next.Epoch != at.Epoch {
		t.Errorf("the next is at %+v after %+v", next, at)
	}
}

// ageDropsSome has the reader's rule decide: it is the shorter one.
func ageDropsSome(t *testing.T, nodes []*streamNode) {
	short := broker.Retention{Messages: 100, Age: 500 * time.Millisecond}
	at := nodes[0].keep(t, "user:a", "old", kept)
	published := time.Now()
	testkit.Eventually(t, "time passes", func() bool { return time.Since(published) > short.Age/2 })
	young := nodes[0].keep(t, "user:a", "young", kept)
	for _, n := range nodes {
		testkit.Eventually(t, "the old one is left out", func() bool {
			r := n.read(t, broker.Query{Topic: "user:a", Keep: short, Whole: true})
			return len(r.Messages) == 0 || string(r.Messages[0].Payload) == "young"
		})
		testkit.Eventually(t, "both are left out", func() bool {
			return len(n.read(t, broker.Query{Topic: "user:a", Keep: short, Whole: true}).Messages) == 0
		})
		for i, from := range []broker.Position{{}, at, young} {
			wantRange(t, n.read(t, broker.Query{Topic: "user:a", Keep: short, After: from}), i < 2, "")
		}
		wantRange(t, n.read(t, broker.Query{Topic: "user:a", Whole: true}), false, "old young")
	}
}

func readersAgree(t *testing.T, nodes []*streamNode) {
	at := fill(t, nodes, "channel:x", 50, kept)
	results := make([]broker.Range, 60)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			results[i] = nodes[i%len(nodes)].read(t, broker.Query{Topic: "channel:x", After: at[i%3*10]})
		})
	}
	wg.Wait()
	for i, r := range results {
		if from := i % 3 * 10; len(r.Messages) != 50-from || r.Gap || r.More || r.Current != at[50] {
			t.Fatalf("reader %d: %d messages, gap %v, more %v, at %+v", i, len(r.Messages), r.Gap, r.More, r.Current)
		}
		if !reflect.DeepEqual(r, results[i%3]) {
			t.Errorf("reader %d got something else than reader %d", i, i%3)
		}
	}
}

// readersFollow reads on and on while others publish: no reader misses one or sees
// it twice.
func readersFollow(t *testing.T, nodes []*streamNode) {
	const readers, messages = 8, 300
	var wg sync.WaitGroup
	read := make([][]broker.Message, readers)
	for i := range readers {
		wg.Go(func() {
			q := broker.Query{Topic: "channel:x", Limit: 1 + 10*i}
			testkit.Eventually(t, "all are read", func() bool {
				r := nodes[i%len(nodes)].read(t, q)
				if r.Gap || len(r.Messages) > q.Limit {
					t.Errorf("%d messages of %d, gap %v", len(r.Messages), q.Limit, r.Gap)
				}
				if read[i] = append(read[i], r.Messages...); len(read[i]) > 0 {
					q.After = read[i][len(read[i])-1].Position
				}
				return len(read[i]) >= messages
			})
		})
	}
	for k := range messages {
		nodes[k%len(nodes)].keep(t, "channel:x", fmt.Sprint(k), kept)
	}
	wg.Wait()
	for i, all := range read {
		for k, m := range all {
			if string(m.Payload) != fmt.Sprint(k) || m.Position.Offset != uint64(k+1) {
				t.Fatalf("reader %d, message %d: %s", i, k, brief(m))
			}
		}
	}
}
