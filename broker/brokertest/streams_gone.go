package brokertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/testkit"
)

func ttl(t *testing.T, nodes []*streamNode) {
	const life = 400 * time.Millisecond
	first := nodes[0].keep(t, "user:a", "1", kept)
	mortal := awaitGone(t, nodes, broker.Publication{Topic: "user:a", Payload: []byte("2"), Keep: kept, TTL: life}, life)
	f := func(after broker.Position, want string, current broker.Position) {
		t.Helper()
		for _, n := range nodes {
			r := n.read(t, broker.Query{Topic: "user:a", After: after})
			wantRange(t, r, false, want)
			if r.Current != current || r.More {
				t.Errorf("the stream is at %+v, more %v; want %+v", r.Current, r.More, current)
			}
		}
	}
	f(broker.Position{}, "1", mortal)
	f(first, "", mortal)
	f(mortal, "", mortal)
	last := nodes[0].keep(t, "user:a", "3", kept)
	f(broker.Position{}, "1 3", last)
	f(first, "3", last)
	f(mortal, "3", last)
	for _, n := range nodes {
		wantRange(t, n.read(t, broker.Query{Topic: "user:a", Whole: true}), false, "1 3")
		wantRange(t, n.read(t, broker.Query{Topic: "user:a", Last: 1}), false, "3")
	}
	long := nodes[0].put(broker.Publication{Topic: "user:a", Payload: []byte("4"), Keep: kept, TTL: time.Hour})
	f(first, "3 4", long.Position)
}

// ttlOfMany puts more messages out of reach than one Read takes.
func ttlOfMany(t *testing.T, nodes []*streamNode) {
	batch := make([]broker.Publication, broker.MaxRead+200)
	for i := range batch {
		batch[i] = broker.Publication{Topic: "user:a", Payload: []byte("mortal"), Keep: kept, TTL: 20 * time.Millisecond}
	}
	nodes[0].Publish(context.Background(), batch)
	last := nodes[0].keep(t, "user:a", "last", kept)
	q := broker.Query{Topic: "user:a", Limit: 10}
	testkit.Eventually(t, "the others are past their TTL", func() bool {
		r := nodes[0].read(t, q)
		return len(r.Messages) == 0 || r.Messages[0].Position == last
	})
	for _, q.Whole = range []bool{false, true} {
		r := nodes[0].read(t, q)
		wantRange(t, r, false, "last")
		if r.More {
			t.Error("there is more after the last")
		}
	}
}

func forgets(t *testing.T, nodes []*streamNode) {
	last := nodes[len(nodes)-1]
	last.listen(t, "channel:x")
	at := fill(t, nodes, "channel:x", 3, kept)
	last.awaitHeard(t, "channel:x", 4)
	if err := nodes[0].Forget(context.Background(), "channel:x"); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		for i := range at {
			r := n.read(t, broker.Query{Topic: "channel:x", After: at[i]})
			wantRange(t, r, i < 3, "")
			if r.Current != at[3] || r.More {
				t.Errorf("after %d: the stream is at %+v, more %v; want %+v", i, r.Current, r.More, at[3])
			}
		}
		wantRange(t, n.read(t, broker.Query{Topic: "channel:x", Whole: true}), false, "")
	}
	next := nodes[0].keep(t, "channel:x", "next", kept)
	if next.Offset != 4 || next.Epoch != at[0].Epoch {
		t.Errorf("the next is at %+v", next)
	}
	for _, n := range nodes {
		for i := range at {
			wantRange(t, n.read(t, broker.Query{Topic: "channel:x", After: at[i]}), i < 3, "next")
		}
	}
	heard := last.awaitHeard(t, "channel:x", 5)
	wantFeed(t, heard)
	if len(heard) != 5 {
		t.Errorf("the subscriber was told of the deletion: %s", brief(heard[4]))
	}
	// Nothing is left to forget; and a node that opens it begins at its end.
	if err := errors.Join(last.Forget(context.Background(), "channel:x"), last.Forget(context.Background(), "channel:x")); err != nil {
		t.Error(err)
	}
	if len(nodes) > 1 {
		nodes[0].listen(t, "channel:x")
		if got := nodes[0].heard("channel:x")[0]; got.Kind != broker.Opened || got.Position != next {
			t.Errorf("opened with %s, want %+v", brief(got), next)
		}
	}
}

func unknownTopics(t *testing.T, nodes []*streamNode) {
	for _, n := range nodes {
		for range 2 {
			for _, q := range []broker.Query{{}, {Whole: true}, {Last: 3}} {
				q.Topic = "channel:x"
				r := n.read(t, q)
				wantRange(t, r, false, "")
				if r.Current != (broker.Position{}) || r.More {
					t.Errorf("a stream that does not exist is at %+v, more %v", r.Current, r.More)
				}
			}
			for _, from := range []broker.Position{{Offset: 3}, {Epoch: "x"}, {Offset: 3, Epoch: "x"}} {
				r := n.read(t, broker.Query{Topic: "channel:x", After: from})
				wantRange(t, r, true, "")
				if r.Current != (broker.Position{}) || r.More {
					t.Errorf("a stream that does not exist is at %+v, more %v", r.Current, r.More)
				}
			}
			if err := n.Forget(context.Background(), "channel:x"); err != nil {
				t.Error(err)
			}
		}
		// What is not kept begins none either.
		n.put(broker.Publication{Topic: "channel:x", Payload: []byte("m"), ID: "k"})
	}
	if at := nodes[0].keep(t, "channel:x", "1", kept); at.Offset != 1 {
		t.Errorf("it begins at %+v", at)
	}
}

func streamsRefuseWhenClosed(t *testing.T, nodes []*streamNode) {
	for _, n := range nodes {
		n.listen(t, "channel:x")
		n.keep(t, "channel:x", "m", kept)
	}
	for _, n := range nodes {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Read(context.Background(), broker.Query{Topic: "channel:x", Keep: kept, Whole: true}); !errors.Is(err, broker.ErrClosed) {
			t.Errorf("read: got %v, want ErrClosed", err)
		}
		if err := n.Forget(context.Background(), "channel:x"); !errors.Is(err, broker.ErrClosed) {
			t.Errorf("forget: got %v, want ErrClosed", err)
		}
		if p := n.put(broker.Publication{Topic: "channel:x", Payload: []byte("m"), Keep: kept}); p.Err == nil || p.Position != (broker.Position{}) {
			t.Errorf("a closed broker kept a message at %+v", p.Position)
		}
	}
}
