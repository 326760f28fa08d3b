package memory_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/memory"
)

// streamCost is what a stream counts for that has one message of so many bytes and a
// name of topicNames.
func streamCost(t *testing.T, size int) int64 {
	b := newMemory(t, 1<<30, ignore)
	fillStreams(b, topicNames(1), 1, size)
	return b.HistoryBytes()
}

// survivors are the topics, by their number, that still have a stream.
func survivors(t *testing.T, b *memory.Broker, topics []string) string {
	t.Helper()
	var left []string
	for i, topic := range topics {
		if read(t, b, broker.Query{Topic: topic, Keep: kept, Whole: true}).Current.Epoch != "" {
			left = append(left, fmt.Sprint(i))
		}
	}
	return strings.Join(left, " ")
}

func TestMemory_DropsTheStreamsThatWereLongestUnused(t *testing.T) {
	const size = 10_000
	f := func(name string, use func(b *memory.Broker, topics []string), more int, want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			b := newMemory(t, 10*streamCost(t, size), ignore)
			topics := topicNames(10 + more)
			fillStreams(b, topics[:10], 1, size)
			use(b, topics)
			fillStreams(b, topics[10:], 1, size)
			if got := survivors(t, b, topics); got != want {
				t.Errorf("left are %s, want %s", got, want)
			}
			if got := b.HistoryStreams(); got != len(strings.Fields(want)) {
				t.Errorf("%d streams are counted", got)
			}
		})
	}
	nothing := func(*memory.Broker, []string) {}
	f("none too many", nothing, 0, "0 1 2 3 4 5 6 7 8 9")
	f("one too many", nothing, 1, "1 2 3 4 5 6 7 8 9 10")
	f("many", nothing, 9, "9 10 11 12 13 14 15 16 17 18")
	f("more than all", nothing, 15, "15 16 17 18 19 20 21 22 23 24")
	f("reading is a use", func(b *memory.Broker, topics []string) {
		read(t, b, broker.Query{Topic: topics[0], Keep: kept})
		read(t, b, broker.Query{Topic: topics[2], Keep: kept, Whole: true})
	}, 3, "0 2 5 6 7 8 9 10 11 12")
	f("publishing is a use", func(b *memory.Broker, topics []string) {
		put(t, b, broker.Publication{Topic: topics[1], Keep: broker.Retention{Messages: 1, Age: kept.Age}, Payload: make([]byte, size)})
	}, 2, "1 3 4 5 6 7 8 9 10 11")
	f("so is a subscription that ended", func(b *memory.Broker, topics []string) {
		_ = b.Subscribe(t.Context(), broker.Subscription{Topic: topics[0], Keep: kept})
		b.Unsubscribe(topics[0])
	}, 2, "0 3 4 5 6 7 8 9 10 11")
	f("a duplicate is none, nor is what is not kept", func(b *memory.Broker, topics []string) {
		put(t, b, broker.Publication{Topic: topics[0], Payload: make([]byte, size)})
	}, 1, "1 2 3 4 5 6 7 8 9 10")
	f("forgotten ones make room", func(b *memory.Broker, topics []string) {
		_ = b.Forget(t.Context(), topics[5])
	}, 1, "1 2 3 4 5 6 7 8 9 10")
}

func TestMemory_AStreamThatIsSubscribedToLosesItsMessagesOnly(t *testing.T) {
	const size = 10_000
	var told []broker.Message
	b := newMemory(t, 10*streamCost(t, size), func(m broker.Message) { told = append(told, m) })
	topics := topicNames(30)
	_ = b.Subscribe(t.Context(), broker.Subscription{Topic: topics[0], Keep: kept})
	fillStreams(b, topics[:1], 3, size)
	at := read(t, b, broker.Query{Topic: topics[0], Keep: kept}).Current
	fillStreams(b, topics[1:], 1, size)
	wantRead(t, b, broker.Query{Topic: topics[0], Keep: kept, After: at}, 0, false, at)
	wantRead(t, b, broker.Query{Topic: topics[0], Keep: kept}, 0, true, at)
	if len(told) != 4 {
		t.Errorf("the subscriber was called %d times", len(told))
	}
	next := put(t, b, broker.Publication{Topic: topics[0], Payload: make([]byte, size), Keep: kept})
	if next.Offset != at.Offset+1 || next.Epoch != at.Epoch || told[4].Position != next {
		t.Errorf("after %+v came %+v, and the subscriber got %+v", at, next, told[4].Position)
	}
	wantRead(t, b, broker.Query{Topic: topics[0], Keep: kept, After: at}, 1, false, next)
	// Once nobody is subscribed any more it goes like any other.
	b.Unsubscribe(topics[0])
	fillStreams(b, topics[1:], 1, size)
	wantRead(t, b, broker.Query{Topic: topics[0], Keep: kept, After: next}, 0, true, broker.Position{})
}

func TestMemory_AStreamAloneLosesItsOldestMessages(t *testing.T) {
	const size = 1000
	for _, subscribed := range []bool{false, true} {
		limit := 10 * streamCost(t, size)
		b := newMemory(t, limit, ignore)
		if subscribed {
			_ = b.Subscribe(t.Context(), broker.Subscription{Topic: "user:a", Keep: kept})
		}
		var positions []broker.Position
		for range 90 {
			positions = append(positions, put(t, b, broker.Publication{Topic: "user:a", Payload: make([]byte, size), Keep: kept}))
			if got := b.HistoryBytes(); got > limit {
				t.Fatalf("%d bytes are kept, the limit is %d", got, limit)
			}
		}
		all := read(t, b, broker.Query{Topic: "user:a", Keep: kept})
		if n := len(all.Messages); n < 10 || n > 12 || !all.Gap || all.Current != positions[89] || all.Messages[0].Position != positions[90-n] {
			t.Errorf("subscribed %v: %d messages, gap %v, at %+v", subscribed, n, all.Gap, all.Current)
		}
		wantRead(t, b, broker.Query{Topic: "user:a", Keep: kept, After: positions[85]}, 4, false, positions[89])
	}
}

func TestMemory_AMessageBeyondTheBoundDropsNoOthers(t *testing.T) {
	const size = 1000
	limit := 20 * streamCost(t, size)
	b := newMemory(t, limit, ignore)
	topics := topicNames(10)
	fillStreams(b, topics, 1, size)
	_ = b.Subscribe(t.Context(), broker.Subscription{Topic: topics[0], Keep: kept})
	at := put(t, b, broker.Publication{Topic: topics[0], Payload: make([]byte, limit), Keep: kept})
	if at.Offset != 2 {
		t.Errorf("it is at %+v", at)
	}
	wantRead(t, b, broker.Query{Topic: topics[0], Keep: kept}, 0, true, at)
	wantRead(t, b, broker.Query{Topic: topics[0], Keep: kept, After: at}, 0, false, at)
	if got := survivors(t, b, topics); got != "0 1 2 3 4 5 6 7 8 9" {
		t.Errorf("left are %s", got)
	}
}

func TestMemory_ALimitOfZeroKeepsNothing(t *testing.T) {
	var told []broker.Message
	b := newMemory(t, 0, func(m broker.Message) { told = append(told, m) })
	_ = b.Subscribe(t.Context(), broker.Subscription{Topic: "user:a", Keep: kept})
	fillStreams(b, []string{"user:a", "user:b"}, 5, 100)
	wantRead(t, b, broker.Query{Topic: "user:b", Keep: kept}, 0, false, broker.Position{})
	end := told[len(told)-1].Position
	wantRead(t, b, broker.Query{Topic: "user:a", Keep: kept}, 0, true, end)
	wantRead(t, b, broker.Query{Topic: "user:a", Keep: kept, After: end}, 0, false, end)
	if len(told) != 6 || end.Offset != 5 {
		t.Errorf("the subscriber was called %d times, the last time with %+v", len(told), end)
	}
}

// What is counted must not drift from what is there.
func TestMemory_CountsWhatIsThere(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	topics := topicNames(50)
	limit := 40 * streamCost(t, 2000)
	b := newMemory(t, limit, ignore)
	for step := range 20_000 {
		topic := topics[r.IntN(len(topics))]
		switch r.IntN(10) {
		case 0:
			_ = b.Subscribe(t.Context(), broker.Subscription{Topic: topic, Keep: kept})
		case 1, 2:
			b.Unsubscribe(topic)
		case 3:
			_ = b.Forget(t.Context(), topic)
		case 4:
			read(t, b, broker.Query{Topic: topic, Keep: kept, Last: 3})
		default:
			put(t, b, broker.Publication{Topic: topic, Payload: make([]byte, r.IntN(5000)), Keep: broker.Retention{Messages: 1 + r.IntN(20), Age: kept.Age}})
		}
		if got := b.HistoryBytes(); got > limit || got < 0 {
			t.Fatalf("step %d: %d bytes, the limit is %d", step, got, limit)
		}
	}
	b.Unsubscribe(topics...)
	whole, messages := int64(0), 0
	for _, topic := range topics {
		for _, m := range read(t, b, broker.Query{Topic: topic, Keep: kept, Whole: true}).Messages {
			whole, messages = whole+int64(len(m.Payload)), messages+1
		}
	}
	if got, most := b.HistoryBytes(), whole+int64(messages)*100+int64(len(topics))*1000; got < whole || got > most {
		t.Errorf("%d bytes are counted for %d messages with %d", got, messages, whole)
	}
	_ = b.Close()
	if got := b.HistoryBytes(); got != 0 {
		t.Errorf("%d bytes are left when all is gone", got)
	}
}

func TestMemory_RacesKeepOrderAndBound(t *testing.T) {
	const publishers, each = 4, 1500
	topics := topicNames(30)
	limit := 25 * streamCost(t, 500)
	var mu sync.Mutex // guards told
	told := map[string][]broker.Message{}
	b := newMemory(t, limit, func(m broker.Message) {
		mu.Lock()
		defer mu.Unlock()
		told[m.Topic] = append(told[m.Topic], m)
	})
	_ = b.Subscribe(t.Context(), broker.Subscription{Topic: topics[0], Keep: kept})
	end := make(chan struct{})
	var work, others sync.WaitGroup
	for p := range publishers {
		work.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(p)))
			for range each {
				batch := []broker.Publication{{Topic: topics[r.IntN(len(topics))], Payload: make([]byte, r.IntN(1000)), Keep: kept}, {Topic: topics[0], Payload: []byte("m"), Keep: kept}}
				b.Publish(context.Background(), batch)
			}
		})
	}
	for i := range 3 {
		others.Go(func() { disturb(t, b, topics[1:], uint64(i), end) })
	}
	work.Wait()
	close(end)
	others.Wait()
	put(t, b, broker.Publication{Topic: topics[1], Keep: kept})
	if got := b.HistoryBytes(); got > limit {
		t.Errorf("%d bytes are kept, the limit is %d", got, limit)
	}
	first := told[topics[0]]
	for i, m := range first[1:] {
		if m.Position.Offset != uint64(i+1) || m.Position.Epoch != first[0].Position.Epoch {
			t.Fatalf("call %d: %+v, opened at %+v", i, m.Position, first[0].Position)
		}
	}
	if len(first) < publishers*each+1 {
		t.Errorf("the subscriber got %d messages", len(first)-1)
	}
}

// disturb reads, subscribes, leaves and forgets until the end, and wants every range
// that it reads to have no hole.
func disturb(t *testing.T, b *memory.Broker, topics []string, seed uint64, end chan struct{}) {
	r := rand.New(rand.NewPCG(2, seed))
	seen := map[string]broker.Position{}
	for {
		select {
		case <-end:
			return
		default:
		}
		topic := topics[r.IntN(len(topics))]
		switch r.IntN(12) {
		case 0:
			_ = b.Forget(context.Background(), topic)
		case 1, 2:
			_ = b.Subscribe(context.Background(), broker.Subscription{Topic: topic, Keep: kept})
		case 3, 4:
			b.Unsubscribe(topic)
		default:
			got := read(t, b, broker.Query{Topic: topic, Keep: kept, After: seen[topic], Limit: 1 + r.IntN(20)})
			holes := slices.ContainsFunc(got.Messages, func(m broker.Message) bool {
				return m.Position.Epoch != got.Current.Epoch || m.Position.Offset-got.Messages[0].Position.Offset >= uint64(len(got.Messages))
			})
			if holes || !got.Gap && len(got.Messages) > 0 && got.Messages[0].Position.Offset != seen[topic].Offset+1 {
				t.Errorf("after %+v: %d messages, gap %v, from %+v", seen[topic], len(got.Messages), got.Gap, got.Messages[0].Position)
			}
			if seen[topic] = got.Current; len(got.Messages) > 0 {
				seen[topic] = got.Messages[len(got.Messages)-1].Position
			}
		}
	}
}
