package brokertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
)

func duplicates(t *testing.T, nodes []*streamNode) {
	first, last := nodes[0], nodes[len(nodes)-1]
	first.listen(t, "user:a")
	p := broker.Publication{Topic: "user:a", Payload: []byte("1"), ID: "k", Digest: 1, Keep: broker.Retention{Messages: 2, Age: time.Hour}}
	at := first.put(p).Position
	if at.Offset != 1 {
		t.Fatalf("kept at %+v", at)
	}
	again := func() {
		t.Helper()
		for _, n := range nodes {
			if got := n.put(p); got.Err != nil || !got.Duplicate || got.Nodes != 0 || got.Position != at {
				t.Errorf("again: duplicate %v, %d nodes, position %+v, %v; want a duplicate at %+v", got.Duplicate, got.Nodes, got.Position, got.Err, at)
			}
		}
	}
	again()
	last.keep(t, "user:a", "2", p.Keep)
	again()
	wantRange(t, last.read(t, broker.Query{Topic: "user:a"}), false, "1 2")
	last.keep(t, "user:a", "3", p.Keep)
	again() // it is dropped, and its id is not
	if err := first.Forget(context.Background(), "user:a"); err != nil {
		t.Fatal(err)
	}
	again()
	// The outcome of the first stands, whatever rule the second comes with.
	p.Keep = broker.Retention{}
	again()
	p.ID = "not kept"
	if got := first.put(p); got.Err != nil || got.Duplicate || got.Position != (broker.Position{}) {
		t.Errorf("not kept: %+v", got)
	}
	p.Keep = kept
	if got := last.put(p); got.Err != nil || !got.Duplicate || got.Position != (broker.Position{}) {
		t.Errorf("again, to be kept now: duplicate %v, position %+v, %v", got.Duplicate, got.Position, got.Err)
	}
	end := last.keep(t, "user:a", "end", kept)
	wantRange(t, last.read(t, broker.Query{Topic: "user:a", Whole: true}), false, "end")
	heard := first.awaitHeard(t, "user:a", 6)
	wantFeed(t, heard)
	if len(heard) != 6 || end.Offset != 4 {
		t.Errorf("the subscriber was called %d times, and the last is at %+v", len(heard), end)
	}
}

func conflicts(t *testing.T, nodes []*streamNode) {
	first, last := nodes[0], nodes[len(nodes)-1]
	p := broker.Publication{Topic: "user:a", Payload: []byte("1"), ID: "k", Digest: 1, Keep: kept}
	at := first.put(p).Position
	p.Payload, p.Digest = []byte("other"), 2
	for _, p.Keep = range []broker.Retention{kept, {}} {
		if got := last.put(p); !errors.Is(got.Err, broker.ErrConflict) || got.Duplicate || got.Position != (broker.Position{}) {
			t.Errorf("other content: duplicate %v, position %+v, %v", got.Duplicate, got.Position, got.Err)
		}
	}
	r := first.read(t, broker.Query{Topic: "user:a"})
	wantRange(t, r, false, "1")
	if r.Current != at {
		t.Errorf("the stream is at %+v, want %+v", r.Current, at)
	}
	// Another topic's ids are its own.
	p.Topic, p.Keep = "channel:a", kept
	if got := last.put(p); got.Err != nil || got.Duplicate || got.Position.Offset != 1 {
		t.Errorf("another topic: duplicate %v, position %+v, %v", got.Duplicate, got.Position, got.Err)
	}
}

func twiceInABatch(t *testing.T, nodes []*streamNode) {
	nodes[len(nodes)-1].listen(t, "user:a")
	batch := []broker.Publication{
		{Topic: "user:a", Payload: []byte("1"), ID: "k", Digest: 1, Keep: kept},
		{Topic: "user:a", Payload: []byte("2"), Keep: kept},
		{Topic: "user:a", Payload: []byte("1"), ID: "k", Digest: 1, Keep: kept},
		{Topic: "user:a", Payload: []byte("x"), ID: "k", Digest: 2, Keep: kept},
		{Topic: "user:a", Payload: []byte("plain")},
		{Topic: "user:a", Payload: []byte("3"), ID: "l", Digest: 1, Keep: kept},
	}
	nodes[0].Publish(context.Background(), batch)
	want := []string{"1 false 1 <nil>", "2 false 1 <nil>", "1 true 0 <nil>", "0 false 0 " + broker.ErrConflict.Error(), "0 false 1 <nil>", "3 false 1 <nil>"}
	for i, p := range batch {
		if got := fmt.Sprint(p.Position.Offset, " ", p.Duplicate, " ", p.Nodes, " ", p.Err); got != want[i] {
			t.Errorf("publication %d: got %s, want %s", i, got, want[i])
		}
	}
	wantRange(t, nodes[0].read(t, broker.Query{Topic: "user:a"}), false, "1 2 3")
	heard := nodes[len(nodes)-1].awaitHeard(t, "user:a", 5)
	wantFeed(t, heard)
	if got := fmt.Sprint(textsOf(heard[1:])); got != "[1 2 plain 3]" {
		t.Errorf("heard %s", got)
	}
}

func racingKeptIDs(t *testing.T, nodes []*streamNode) {
	nodes[0].listen(t, "user:a")
	const rounds, racers = 10, 16
	for round := range rounds {
		results := make([]broker.Publication, racers)
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() {
				results[i] = nodes[i%len(nodes)].put(broker.Publication{Topic: "user:a", Payload: fmt.Append(nil, round), ID: fmt.Sprint(round), Digest: 1, Keep: kept})
			})
		}
		wg.Wait()
		sent := 0
		for i, p := range results {
			if !p.Duplicate {
				sent++
			}
			if p.Err != nil || p.Position.Offset != uint64(round+1) || p.Position != results[0].Position {
				t.Errorf("round %d, racer %d: position %+v, %v", round, i, p.Position, p.Err)
			}
		}
		if sent != 1 {
			t.Errorf("round %d: published %d times", round, sent)
		}
	}
	wantRange(t, nodes[0].read(t, broker.Query{Topic: "user:a"}), false, "0 1 2 3 4 5 6 7 8 9")
	wantFeed(t, nodes[0].awaitHeard(t, "user:a", rounds+1))
}

func batchOverStreams(t *testing.T, nodes []*streamNode) {
	const topics = 40
	topic := func(i int) string { return fmt.Sprint("channel:", i%topics) }
	used := broker.Publication{Topic: topic(7), Payload: []byte("used"), ID: "k", Digest: 9, Keep: kept}
	before := nodes[0].put(used)
	var batch []broker.Publication
	for i := range 3 * topics {
		p := broker.Publication{Topic: topic(i), Payload: fmt.Append(nil, i), Keep: kept}
		if i < topics {
			p.ID, p.Digest = "k", 1
		}
		batch = append(batch, p)
	}
	nodes[len(nodes)-1].Publish(context.Background(), batch)
	for i, p := range batch {
		want := uint64(i/topics + 1)
		if i == 7 {
			if !errors.Is(p.Err, broker.ErrConflict) || p.Position != (broker.Position{}) {
				t.Errorf("the one whose id was used: position %+v, %v", p.Position, p.Err)
			}
			continue
		}
		if p.Err != nil || p.Duplicate || p.Position.Offset != want || p.Position.Epoch != batch[i%topics+topics].Position.Epoch {
			t.Errorf("publication %d: duplicate %v, position %+v, %v", i, p.Duplicate, p.Position, p.Err)
		}
	}
	if e := batch[topics+7].Position.Epoch; e != before.Position.Epoch {
		t.Errorf("the stream of the conflict went from epoch %s to %s", before.Position.Epoch, e)
	}
	for i := range topics {
		want := fmt.Sprint(i, " ", i+topics, " ", i+2*topics)
		if i == 7 {
			want = fmt.Sprint("used ", i+topics, " ", i+2*topics)
		}
		wantRange(t, nodes[0].read(t, broker.Query{Topic: topic(i)}), false, want)
	}
}
