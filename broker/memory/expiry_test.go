package memory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/memory"
)

// sweep is how long it takes at most until what is over is freed without a reader.
const sweep = 65 * time.Second

// inBubble runs a test of a memory broker whose clock is fake.
func inBubble(t *testing.T, test func(t *testing.T, b *memory.Broker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newMemory(t, 1<<30, ignore)) })
}

func put(t testing.TB, b *memory.Broker, p broker.Publication) broker.Position {
	t.Helper()
	batch := []broker.Publication{p}
	if b.Publish(context.Background(), batch); batch[0].Err != nil {
		t.Fatal(batch[0].Err)
	}
	return batch[0].Position
}

func read(t testing.TB, b *memory.Broker, q broker.Query) broker.Range {
	t.Helper()
	r, err := b.Read(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantRead(t testing.TB, b *memory.Broker, q broker.Query, messages int, gap bool, current broker.Position) {
	t.Helper()
	if r := read(t, b, q); len(r.Messages) != messages || r.Gap != gap || r.Current != current || r.More {
		t.Errorf("%+v: %d messages, gap %v, at %+v; want %d, %v, %+v", q, len(r.Messages), r.Gap, r.Current, messages, gap, current)
	}
}

func TestMemory_AgeIsExactForReaders(t *testing.T) {
	inBubble(t, func(t *testing.T, b *memory.Broker) {
		minute := broker.Retention{Messages: 10, Age: time.Minute}
		put(t, b, broker.Publication{Topic: "user:a", Payload: []byte("1"), Keep: minute})
		time.Sleep(time.Minute - 1)
		at := put(t, b, broker.Publication{Topic: "user:a", Payload: []byte("2"), Keep: minute})
		q := broker.Query{Topic: "user:a", Keep: minute}
		wantRead(t, b, q, 2, false, at)
		shorter := broker.Query{Topic: "user:a", Keep: broker.Retention{Messages: 10, Age: time.Minute - 1}}
		wantRead(t, b, shorter, 1, true, at)
		longer := broker.Query{Topic: "user:a", Keep: kept}
		time.Sleep(time.Nanosecond)
		wantRead(t, b, longer, 1, true, at)
		time.Sleep(time.Minute - 2)
		wantRead(t, b, longer, 1, true, at)
		time.Sleep(time.Nanosecond)
		wantRead(t, b, longer, 0, true, at)
		wantRead(t, b, broker.Query{Topic: "user:a", Keep: minute, After: at}, 0, false, at)
	})
}

func TestMemory_TTLIsExactForReaders(t *testing.T) {
	inBubble(t, func(t *testing.T, b *memory.Broker) {
		put(t, b, broker.Publication{Topic: "user:a", Payload: []byte("1"), Keep: kept, TTL: time.Second})
		second := put(t, b, broker.Publication{Topic: "user:a", Payload: []byte("2"), Keep: kept})
		put(t, b, broker.Publication{Topic: "user:a", Payload: []byte("3"), Keep: kept, TTL: time.Second})
		at := put(t, b, broker.Publication{Topic: "user:a", Payload: []byte("4"), Keep: kept})
		time.Sleep(time.Second - 1)
		wantRead(t, b, broker.Query{Topic: "user:a", Keep: kept}, 4, false, at)
		wantRead(t, b, broker.Query{Topic: "user:a", Keep: kept, After: second}, 2, false, at)
		time.Sleep(time.Nanosecond)
		wantRead(t, b, broker.Query{Topic: "user:a", Keep: kept}, 2, false, at)
		wantRead(t, b, broker.Query{Topic: "user:a", Keep: kept, After: second}, 1, false, at)
		wantRead(t, b, broker.Query{Topic: "user:a", Keep: kept, Last: 2}, 2, false, at)
	})
}

func TestMemory_FreesWhatNobodyReads(t *testing.T) {
	inBubble(t, func(t *testing.T, b *memory.Broker) {
		topics := topicNames(1000)
		for i, topic := range topics {
			_ = b.Subscribe(t.Context(), broker.Subscription{Topic: topic, Keep: kept})
			if i%2 == 0 {
				b.Unsubscribe(topic)
			}
		}
		records := b.HistoryBytes()
		fillStreams(b, topics, 5, 1000)
		if got := b.HistoryBytes() - records; got < 5000*1000 || got > 5000*1200 {
			t.Errorf("5,000 messages of 1,000 bytes count for %d", got)
		}
		time.Sleep(kept.Age + sweep)
		if got := b.HistoryBytes(); got != records {
			t.Errorf("past their age messages count for %d", got-records)
		}
		// Even streams that somebody was subscribed to live only a day without.
		b.Unsubscribe(topics...)
		time.Sleep(25*time.Hour + sweep)
		if streams, bytes := b.HistoryStreams(), b.HistoryBytes(); streams != 0 || bytes != 0 {
			t.Errorf("afterwards there are %d streams with %d bytes", streams, bytes)
		}
	})
}

func TestMemory_FreesPayloadsPastTheirTTL(t *testing.T) {
	inBubble(t, func(t *testing.T, b *memory.Broker) {
		first := put(t, b, broker.Publication{Topic: "user:a", Payload: make([]byte, 10), Keep: kept})
		for i := range 5 {
			put(t, b, broker.Publication{Topic: "user:a", Payload: make([]byte, 1<<20), Keep: kept, TTL: time.Second << (i * 2)})
		}
		last := put(t, b, broker.Publication{Topic: "user:a", Payload: make([]byte, 10), Keep: kept})
		q := broker.Query{Topic: "user:a", Keep: kept, After: first}
		wantLeft := func(mortals int64) {
			t.Helper()
			if got := b.HistoryBytes(); got < mortals<<20 || got > mortals<<20+1000 {
				t.Errorf("%d bytes are kept, want %d MiB", got, mortals)
			}
		}
		wantLeft(5)
		time.Sleep(2 * sweep) // all but the last are past theirs
		wantLeft(1)
		time.Sleep(3 * sweep)
		wantLeft(0)
		wantRead(t, b, q, 1, false, last)
	})
}

func TestMemory_TenThousandStreamsThatAreTouchedOnceGoAway(t *testing.T) {
	inBubble(t, func(t *testing.T, b *memory.Broker) {
		topics := topicNames(10_000)
		fillStreams(b, topics, 1, 100)
		life := kept.Age + 24*time.Hour
		time.Sleep(life - 1)
		if got := b.HistoryStreams(); got != len(topics) {
			t.Errorf("%d streams are left before their records' life is over", got)
		}
		time.Sleep(sweep)
		if streams, bytes := b.HistoryStreams(), b.HistoryBytes(); streams != 0 || bytes != 0 {
			t.Errorf("%d streams with %d bytes are left", streams, bytes)
		}
	})
}

func TestMemory_RecordsLiveAsLongAsTheyAreUsed(t *testing.T) {
	life := kept.Age + 24*time.Hour
	f := func(name string, use func(t *testing.T, b *memory.Broker), later time.Duration, lives bool) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *memory.Broker) {
				at := put(t, b, broker.Publication{Topic: "user:a", Payload: []byte("1"), Keep: kept})
				time.Sleep(life / 2)
				use(t, b)
				time.Sleep(later)
				next := put(t, b, broker.Publication{Topic: "user:a", Payload: []byte("2"), Keep: kept})
				if lives != (next.Epoch == at.Epoch) || lives && next.Offset <= at.Offset || !lives && next.Offset != 1 {
					t.Errorf("%+v came after %+v", next, at)
				}
			})
		})
	}
	query := func(q broker.Query) func(*testing.T, *memory.Broker) {
		q.Topic, q.Keep = "user:a", kept
		return func(t *testing.T, b *memory.Broker) { read(t, b, q) }
	}
	f("nothing", func(*testing.T, *memory.Broker) {}, life/2-1, true)
	f("nothing, a moment longer", func(*testing.T, *memory.Broker) {}, life/2, false)
	publish := func(t *testing.T, b *memory.Broker) {
		put(t, b, broker.Publication{Topic: "user:a", Payload: []byte("m"), Keep: kept})
	}
	f("publish", publish, life-1, true)
	f("publish, a moment longer", publish, life, false)
	subscribe := func(t *testing.T, b *memory.Broker) {
		_ = b.Subscribe(t.Context(), broker.Subscription{Topic: "user:a", Keep: kept})
	}
	f("a subscription", subscribe, 72*time.Hour, true)
	leave := func(t *testing.T, b *memory.Broker) {
		subscribe(t, b)
		time.Sleep(30 * time.Hour)
		b.Unsubscribe("user:a")
	}
	f("a subscription that ended", leave, life-1, true)
	f("a subscription that ended, a moment longer", leave, life, false)
	f("recovery", query(broker.Query{}), life-1, true)
	f("recovery of the last", query(broker.Query{Last: 1}), life-1, true)
	f("recovery, a moment longer", query(broker.Query{}), life, false)
	f("a look at the history", query(broker.Query{Whole: true}), life-1, false)
	f("a push that is not kept", func(t *testing.T, b *memory.Broker) {
		put(t, b, broker.Publication{Topic: "user:a", Payload: []byte("m")})
	}, life-1, false)
}

func TestMemory_OfTwoRulesTheLongerOneDecidesAboutTheRecord(t *testing.T) {
	inBubble(t, func(t *testing.T, b *memory.Broker) {
		put(t, b, broker.Publication{Topic: "user:a", Payload: []byte("1"), Keep: kept})
		at := put(t, b, broker.Publication{Topic: "user:a", Payload: []byte("2"), Keep: broker.Retention{Messages: 5, Age: time.Second}})
		time.Sleep(kept.Age + 24*time.Hour - 1)
		wantRead(t, b, broker.Query{Topic: "user:a", Keep: kept, Whole: true}, 0, false, at)
	})
}

func TestMemory_ARecordThatOnlyASubscribeMadeLivesTenMinutes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *memory.Broker) {
		_ = b.Subscribe(t.Context(), broker.Subscription{Topic: "user:a", Keep: kept})
		time.Sleep(48 * time.Hour)
		at := read(t, b, broker.Query{Topic: "user:a", Keep: kept}).Current
		if at.Epoch == "" || at.Offset != 0 {
			t.Fatalf("it is at %+v", at)
		}
		b.Unsubscribe("user:a")
		time.Sleep(10*time.Minute - 1)
		wantRead(t, b, broker.Query{Topic: "user:a", Keep: kept, Whole: true}, 0, false, at)
		time.Sleep(time.Nanosecond)
		wantRead(t, b, broker.Query{Topic: "user:a", Keep: kept, After: at}, 0, true, broker.Position{})
	})
}

func TestMemory_IDsAreKnownWithTheirPositionForTheWindow(t *testing.T) {
	inBubble(t, func(t *testing.T, b *memory.Broker) {
		p := broker.Publication{Topic: "user:a", Payload: []byte("1"), ID: "k", Digest: 1, Keep: kept}
		for round := range uint64(5) {
			at := put(t, b, p)
			if at.Offset != round+1 {
				t.Errorf("round %d: kept at %+v", round, at)
			}
			time.Sleep(broker.DuplicateWindow - 1)
			// Others make the generations turn.
			put(t, b, broker.Publication{Topic: "user:a", Payload: []byte("2"), ID: fmt.Sprint(round)})
			if got := put(t, b, p); got != at {
				t.Errorf("round %d: a duplicate of the message at %+v is at %+v", round, at, got)
			}
			time.Sleep(time.Nanosecond)
		}
	})
}

func TestMemory_ClosedKeepsNothing(t *testing.T) {
	b := newMemory(t, 1<<30, ignore)
	fillStreams(b, topicNames(1000), 3, 100)
	_ = b.Subscribe(t.Context(), broker.Subscription{Topic: "user:a", Keep: kept})
	for range 2 {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if streams, bytes := b.HistoryStreams(), b.HistoryBytes(); streams != 0 || bytes != 0 {
		t.Errorf("%d streams with %d bytes are left", streams, bytes)
	}
	if err := b.Subscribe(t.Context(), broker.Subscription{Topic: "user:a", Keep: kept}); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("subscribe: got %v, want ErrClosed", err)
	}
}
