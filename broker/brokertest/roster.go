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

// RosterBroker is a broker with its roster and outbox.
type RosterBroker interface {
	broker.Broker
	broker.Roster
	broker.Outbox
}

// Rosters is what the suite of rosters runs on.
type Rosters struct {
	// Most is on how many nodes at most: 1 for memory.
	Most int
	// Make makes n brokers that are connected with each other and not started yet.
	Make func(t *testing.T, n int) []RosterBroker
}

// RunRoster runs the suite of Roster.
func RunRoster(t *testing.T, rosters Rosters) {
	for _, c := range []struct {
		name string
		test func(*testing.T, []*RosterNode)
	}{
		{"OnlineFromTheFirstNodeToTheLast", onlineAndOffline},
		{"OfflineAfterTheDelay", offlineAfterDelay},
		{"GoingAndComingWithinTheDelayTellsNothing", goesAndComes},
		{"OccupiedFromTheFirstNodeToTheLast", occupiedAndVacated},
		{"MembersJoinWithTheFirstConnectionAndLeaveWithTheLast", joinAndLeave},
		{"WhatIsDeclaredAgainIsToldOnce", declaredAgain},
		{"GoneOfWhatIsNotHereDoesNothing", goneOfNothing},
		{"WhatIsNotToBeToldIsKept", keptAndNotTold},
		{"EndsOfConnectionsAreToldByTheirNode", connections},
		{"GenerationsGrow", generations},
		{"NamesMayBeAnything", awkwardNames},
		{"RacesEndAsTheyAre", rosterRaces},
		{"OneUserWithAThousandConnections", thousandConnections},
		{"AChannelEverybodyLeavesAtOnce", allLeave},
		{"MembersCountConnectionsOfAllNodes", countsConnections},
		{"MembersShowWhatTheLastToComeSaid", showsInfo},
		{"MembersAreSeenOnceDeclared", seesOwn},
		{"MembersComeInPages", pages},
		{"FramesKeepTheOrderOfTheChannel", framesInOrder},
		{"FramesStopAboveTheirBoundAndGoOnBelow", pausesAndResumes},
		{"FramesAreOnlyWhereTheyAreWanted", noFrames},
		{"ClosedOnesRefuse", closedRoster},
	} {
		for n := 1; n <= rosters.Most; n++ {
			t.Run(fmt.Sprint(c.name, "/", n, " nodes"), func(t *testing.T) { c.test(t, StartRosters(t, rosters.Make(t, n))) })
		}
	}
	t.Run("MembersOfABigChannel", func(t *testing.T) { bigChannel(t, StartRosters(t, rosters.Make(t, rosters.Most))) })
}

// RosterNode is one started broker with what it received.
type RosterNode struct {
	RosterBroker
	// Facts is what all nodes told.
	Facts *Facts

	mu     sync.Mutex // guards all below
	got    map[string][]broker.Message
	buried int
}

// StartRosters starts brokers whose facts are put down together.
func StartRosters(t *testing.T, all []RosterBroker) (nodes []*RosterNode) {
	t.Helper()
	facts := &Facts{}
	for _, b := range all {
		n := &RosterNode{RosterBroker: b, Facts: facts, got: map[string][]broker.Message{}}
		b.LimitOutbox(broker.OutboxLimits{Waiting: 1 << 20, DeadLetters: 1000, Age: time.Hour})
		b.WatchRoster(broker.RosterWatcher{
			Tell: func(f broker.Fact) {
				facts.add(f)
				if f.Entry != "" {
					b.Settle(f.Entry)
				}
			},
			Withdraw: func(func(string) bool) {}, // all is settled at once
			Buried:   n.bury,
		})
		if err := b.Start(n.receive); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		testkit.Eventually(t, "the broker is up", n.Up)
	}
	return nodes
}

func (n *RosterNode) bury() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.buried++
}

// Buried is how often the node was buried.
func (n *RosterNode) Buried() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buried
}

func (n *RosterNode) receive(m broker.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got[m.Topic] = append(n.got[m.Topic], m)
}

// Received is what came on a topic, as text: the payload of a message, and of a frame
// its kind and whom it names.
func (n *RosterNode) Received(topic string) (all []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.got[topic] {
		all = append(all, messageText(m))
	}
	return all
}

func messageText(m broker.Message) string {
	switch m.Kind {
	case broker.Published:
		return string(m.Payload)
	case broker.Joined:
		return strings.TrimSpace("joined " + m.Presence.User + " " + string(m.Presence.Info))
	case broker.Left:
		return strings.TrimSpace("left " + m.Presence.User + " " + string(m.Presence.Info))
	case broker.Paused:
		return "paused"
	case broker.Resumed:
		return fmt.Sprint("resumed ", len(m.Presence.Members), " from ", m.Presence.Members[0].User)
	}
	return fmt.Sprint("kind ", m.Kind)
}

// Subscribed has the node receive topics.
func (n *RosterNode) Subscribed(t *testing.T, topics ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Subscribe(ctx, broker.Topics(topics...)...); err != nil {
		t.Fatal(err)
	}
}

// Page is Members, which works.
func (n *RosterNode) Page(t testing.TB, channel string, q broker.MembersQuery) broker.Members {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	m, err := n.Members(ctx, channel, q)
	if err != nil {
		t.Fatalf("members of %s: %v", channel, err)
	}
	return m
}

// Facts is what was told, in its order. The same fact told again is left out: it has the
// same id for the backend.
type Facts struct {
	mu   sync.Mutex // guards all below
	all  []broker.Fact
	seen map[factID]bool
}

type factID struct {
	kind       broker.FactKind
	name, user string
	generation uint64
}

func (f *Facts) add(fact broker.Fact) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := factID{fact.Kind, fact.Name, fact.User, fact.Generation}
	if f.seen[id] {
		return
	}
	if f.seen == nil {
		f.seen = map[factID]bool{}
	}
	f.seen[id] = true
	f.all = append(f.all, fact)
}

// All returns them.
func (f *Facts) All() []broker.Fact {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all)
}

var factNames = map[broker.FactKind]string{
	broker.UserOnline: "online", broker.UserOffline: "offline",
	broker.ChannelOccupied: "occupied", broker.ChannelVacated: "vacated",
	broker.MemberJoined: "joined", broker.MemberLeft: "left",
	broker.ConnectionLost: "lost", broker.ConnectionToTell: "to tell",
}

// Of is what was told of a name, as words; a member's come with the name of the user.
func (f *Facts) Of(name string) string {
	var all []string
	for _, fact := range f.All() {
		if fact.Name == name {
			all = append(all, strings.TrimSpace(factNames[fact.Kind]+" "+fact.User))
		}
	}
	return strings.Join(all, ", ")
}

// Await waits until just so much was told of a name.
func (f *Facts) Await(t testing.TB, name, want string) {
	t.Helper()
	if !testkit.Until(func() bool { return f.Of(name) == want }) {
		t.Fatalf("told of %s: %q, want %q", name, f.Of(name), want)
	}
}
