package brokertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/testkit"
)

// streams runs the part of the suite that is about what is kept, with one node and
// with two; where three may see more than two, with three.
func streams(t *testing.T, cluster Cluster) {
	for _, c := range []struct {
		name string
		most int // nodes
		test func(*testing.T, []*streamNode)
	}{
		{"OffsetsGrowByOneInOneEpoch", 2, offsets},
		{"OpenedComesFirst", 2, openedFirst},
		{"OpenedWhilePublishing", 3, openedWhilePublishing},
		{"PlainSubscribersHearNoOpened", 2, plainSubscribers},
		{"WhatIsNotKeptHasItsPlaceInTheOrder", 3, notKept},
		{"SubscribingAgainOpensAgain", 2, opensAgain},
		{"ConcurrentPublishersMakeOneOrder", 3, onePublishedOrder},
		{"EveryByteArrives", 2, everyByte},
		{"AnyNameIsAStreamOfItsOwn", 2, anyName},
		{"TwoRulesForOneTopic", 2, twoRules},
		{"ReadsAfterAPosition", 2, readsAfter},
		{"ReadsWholeAndLast", 2, readsWholeAndLast},
		{"ReadsTheEndAlone", 2, readsTheEnd},
		{"ReadsInPages", 2, readsInPages},
		{"ReadsAtMostSoMany", 2, readsAtMostSoMany},
		{"ReadsAtMostSoManyBytes", 2, readsAtMostSoManyBytes},
		{"PositionsThatAreNoneAreGaps", 2, badPositions},
		{"WhatCountDropsIsAGap", 2, countDrops},
		{"WhatAgeDropsIsAGap", 2, ageDrops},
		{"WhatAgeDropsIsAGapBeforeYoungerOnes", 2, ageDropsSome},
		{"PastTheirTTLMessagesAreLeftOut", 2, ttl},
		{"ReadsBeyondManyPastTheirTTL", 1, ttlOfMany},
		{"ForgettingKeepsThePosition", 2, forgets},
		{"ReadingAndForgettingBeginNoStream", 2, unknownTopics},
		{"ReadersAgree", 2, readersAgree},
		{"ReadersFollowPublishers", 2, readersFollow},
		{"ADuplicateAnswersWithItsPosition", 2, duplicates},
		{"AConflictKeepsNothing", 2, conflicts},
		{"AnIDTwiceInABatchIsKeptOnce", 2, twiceInABatch},
		{"RacingIDsAreKeptOnce", 3, racingKeptIDs},
		{"ABatchOverSeveralStreams", 2, batchOverStreams},
		{"ClosedBrokersRefuse", 2, streamsRefuseWhenClosed},
	} {
		for n := 1; n <= c.most; n++ {
			t.Run(fmt.Sprint(c.name, "/", n, " nodes"), func(t *testing.T) { c.test(t, startStreams(t, cluster, n)) })
		}
	}
}

// kept is a rule that drops nothing while a test runs.
var kept = broker.Retention{Messages: 10_000, Age: time.Hour}

// streamNode is a started broker with everything that its receiver was told.
type streamNode struct {
	broker.Broker
	broker.Streams
	mu  sync.Mutex // guards all
	all map[string][]broker.Message
}

func startStreams(t *testing.T, cluster Cluster, n int) (nodes []*streamNode) {
	t.Helper()
	for _, b := range cluster(t, n) {
		kept, ok := b.(broker.Streams)
		if !ok {
			t.Fatal("this broker has no streams")
		}
		nd := &streamNode{Broker: b, Streams: kept, all: map[string][]broker.Message{}}
		if err := b.Start(nd.receive); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		testkit.Eventually(t, "the broker is up", b.Up)
		nodes = append(nodes, nd)
	}
	return nodes
}

func (n *streamNode) receive(m broker.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all[m.Topic] = append(n.all[m.Topic], m)
}

func (n *streamNode) heard(topic string) []broker.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.all[topic])
}

// awaitHeard waits until the node was told of so many things, and returns them.
func (n *streamNode) awaitHeard(t *testing.T, topic string, count int) []broker.Message {
	t.Helper()
	testkit.Eventually(t, fmt.Sprint(count, " calls for ", topic), func() bool { return len(n.heard(topic)) >= count })
	return n.heard(topic)
}

func (n *streamNode) listen(t *testing.T, topics ...string) {
	t.Helper()
	var wanted []broker.Subscription
	for _, topic := range topics {
		wanted = append(wanted, broker.Subscription{Topic: topic, Keep: kept})
	}
	n.subscribe(t, wanted...)
}

func (n *streamNode) subscribe(t *testing.T, wanted ...broker.Subscription) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := n.Subscribe(ctx, wanted...); err != nil {
		t.Fatal(err)
	}
}

// put publishes one and returns what became of it.
func (n *streamNode) put(p broker.Publication) broker.Publication {
	batch := []broker.Publication{p}
	n.Publish(context.Background(), batch)
	return batch[0]
}

// keep publishes text by the rule and returns its position.
func (n *streamNode) keep(t *testing.T, topic, text string, rule broker.Retention) broker.Position {
	t.Helper()
	p := n.put(broker.Publication{Topic: topic, Payload: []byte(text), Keep: rule})
	if p.Err != nil || p.Position.Offset == 0 || p.Position.Epoch == "" || p.Duplicate {
		t.Fatalf("publish %.20q to %s: position %+v, duplicate %v, %v", text, topic, p.Position, p.Duplicate, p.Err)
	}
	return p.Position
}

func (n *streamNode) read(t *testing.T, q broker.Query) broker.Range {
	t.Helper()
	if !q.Keep.Keeps() {
		q.Keep = kept
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r, err := n.Read(ctx, q)
	if err != nil {
		t.Fatalf("read %+v: %v", q, err)
	}
	return r
}

// readAll reads on after q's position, page by page, to the end.
func (n *streamNode) readAll(t *testing.T, q broker.Query) (all []broker.Message) {
	t.Helper()
	for {
		r := n.read(t, q)
		all = append(all, r.Messages...)
		if !r.More {
			return all
		}
		next := broker.Position{Offset: r.Reached, Epoch: r.Current.Epoch}
		if next == q.After {
			t.Fatalf("there is more, and a read ends where it began, at %+v", next)
		}
		q.Whole, q.Last, q.After = false, 0, next
	}
}

// wantRange compares what was read: payloads, with spaces between, and whether it
// begins with a gap.
func wantRange(t *testing.T, got broker.Range, gap bool, payloads string) {
	t.Helper()
	if texts := strings.Join(textsOf(got.Messages), " "); texts != payloads || got.Gap != gap {
		t.Errorf("got %q, gap %v; want %q, gap %v", texts, got.Gap, payloads, gap)
	}
}

func textsOf(messages []broker.Message) (texts []string) {
	for _, m := range messages {
		texts = append(texts, string(m.Payload))
	}
	return texts
}

// wantFeed wants what a subscriber of a stream may be told: Opened, and then every
// kept message after it once and in order, in one epoch.
func wantFeed(t *testing.T, messages []broker.Message) {
	t.Helper()
	var last broker.Position
	for i, m := range messages {
		switch {
		case i == 0 && m.Kind != broker.Opened:
			t.Fatalf("call 0 is not Opened: %+v", brief(m))
		case m.Kind == broker.Opened && i > 0 && (m.Position.Offset < last.Offset || m.Position.Epoch != last.Epoch):
			t.Fatalf("call %d: opened at %+v after %+v", i, m.Position, last)
		case m.Kind == broker.Opened:
			last = m.Position
		case m.Kind != broker.Published:
			t.Fatalf("call %d: %+v, though nothing was lost", i, brief(m))
		case m.Position.Offset > 0 && (m.Position.Offset != last.Offset+1 || m.Position.Epoch != last.Epoch):
			t.Fatalf("call %d: %+v after %+v", i, brief(m), last)
		case m.Position.Offset > 0:
			last = m.Position
		}
	}
}

func brief(m broker.Message) string {
	return fmt.Sprintf("kind %d of %s at %+v: %.20q", m.Kind, m.Topic, m.Position, m.Payload)
}
