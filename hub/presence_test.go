package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// rosterBroker is a broker in memory that records what is declared.
type rosterBroker struct {
	*memory.Broker

	mu       sync.Mutex // guards all below
	changes  []broker.Change
	receiver broker.Receiver
}

func (b *rosterBroker) Start(r broker.Receiver) error {
	b.mu.Lock()
	b.receiver = r
	b.mu.Unlock()
	return b.Broker.Start(r)
}

func (b *rosterBroker) Flush(context.Context)            {}
func (b *rosterBroker) WatchRoster(broker.RosterWatcher) {}

func (b *rosterBroker) Declare(changes ...broker.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes = append(b.changes, changes...)
}

func (b *rosterBroker) Members(context.Context, string, broker.MembersQuery) (broker.Members, error) {
	return broker.Members{Page: []broker.Member{{User: "ann", Connections: 1}}, Total: 1}, nil
}

// says hands out what a broker says of the members of a channel.
func (b *rosterBroker) says(channel string, kind broker.Kind, p broker.Presence) {
	b.mu.Lock()
	receiver := b.receiver
	b.mu.Unlock()
	receiver(broker.Message{Topic: ChannelTopic + channel, Kind: kind, Presence: &p})
}

// declared are the changes since the last call, sorted where the order is that of a map.
func (b *rosterBroker) declared(sorted bool) (lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kinds := map[broker.ChangeKind]string{
		broker.UserHere: "user here", broker.UserGone: "user gone", broker.ChannelHere: "channel here", broker.ChannelGone: "channel gone",
		broker.MemberHere: "member here", broker.MemberGone: "member gone",
	}
	for _, c := range b.changes {
		line := kinds[c.Kind] + " " + c.Name
		if c.User != "" {
			line += fmt.Sprintf(" %s %d %s frames %d", c.User, c.Connections, c.Info, c.Frames)
		}
		if c.Delay > 0 {
			line += " after " + c.Delay.String()
		}
		if !c.Tell {
			line += " untold"
		}
		lines = append(lines, line)
	}
	b.changes = nil
	if sorted {
		slices.Sort(lines)
	}
	return lines
}

func wantDeclared(t *testing.T, b *rosterBroker, sorted bool, want ...string) {
	t.Helper()
	if got := b.declared(sorted); !slices.Equal(got, want) {
		t.Errorf("declared:\ngot  %q\nwant %q", got, want)
	}
}

func presenceRules(t *testing.T, tell Telling, keeps bool, rules ...config.ChannelRule) *Rules {
	t.Helper()
	users := config.Users{OfflineDelay: 10 * time.Second}
	for i := range rules {
		if keeps {
			rules[i].History = config.History{Messages: 100, Age: time.Hour}
		}
	}
	r, err := NewRules(rules, users, config.Limits{ChannelsPerConnection: 8})
	if err != nil {
		t.Fatal(err)
	}
	return r.Tell(tell)
}

var withPresence = config.ChannelRule{Match: "room.*", Presence: true, PresenceFrames: 5}

// presentConn has something to show.
type presentConn struct {
	fakeConn
	info string
}

func (c *presentConn) PresenceInfo() []byte { return []byte(c.info) }

func newRoster(t *testing.T) (*Hub, *rosterBroker) {
	t.Helper()
	b := &rosterBroker{Broker: memory.New()}
	return newHub(t, b), b
}

func TestDeclare_FirstAndLastOfUsersAndChannelsAndEachOfMembers(t *testing.T) {
	h, b := newRoster(t)
	h.Apply(presenceRules(t, Telling{Users: true, Channels: true, Members: true}, false, withPresence))
	wantDeclared(t, b, false)

	one := join(t, h, "ann", "room.1", "other")
	wantDeclared(t, b, false, "user here ann after 10s", "channel here room.1", "member here room.1 ann 1  frames 5", "channel here other")
	two := &presentConn{fakeConn: fakeConn{member: h.NewMember()}, info: `{"name":"Ann"}`}
	if err := h.Join(t.Context(), two, "ann", []string{"room.1"}); err != nil {
		t.Fatal(err)
	}
	wantDeclared(t, b, false, `member here room.1 ann 2 {"name":"Ann"} frames 5`)
	anonymous := join(t, h, "", "room.1")
	wantDeclared(t, b, false)

	h.Leave(one)
	wantDeclared(t, b, false, `member here room.1 ann 1 {"name":"Ann"} frames 5`, "channel gone other")
	h.Leave(two)
	wantDeclared(t, b, false, "user gone ann after 10s", "member gone room.1 ann 0  frames 5")
	h.Leave(anonymous)
	h.Leave(anonymous)
	wantDeclared(t, b, false, "channel gone room.1")
}

func TestDeclare_NothingWhereNothingWantsIt(t *testing.T) {
	h, b := newRoster(t)
	h.Apply(presenceRules(t, Telling{Members: true}, false, config.ChannelRule{Match: "**"}))
	c := join(t, h, "ann", "room.1")
	h.Leave(c)
	wantDeclared(t, b, true)
	if _, err := h.Presence(t.Context(), "room.1", PresenceQuery{}); !errors.Is(err, ErrNoPresence) {
		t.Errorf("got %v", err)
	}
}

func TestApply_DeclaresWhatIsHereAndTakesItBack(t *testing.T) {
	h, b := newRoster(t)
	join(t, h, "ann", "room.1")
	join(t, h, "ann", "room.1", "other")
	bob := join(t, h, "bob", "room.1")
	wantDeclared(t, b, true)

	h.Apply(presenceRules(t, Telling{Users: true, Channels: true}, false, withPresence))
	wantDeclared(t, b, true, "channel here other", "channel here room.1", "member here room.1 ann 2  frames 5 untold",
		"member here room.1 bob 1  frames 5 untold", "user here ann after 10s", "user here bob after 10s")
	more := withPresence
	more.PresenceFrames = 9
	h.Apply(presenceRules(t, Telling{Users: true, Members: true}, false, more))
	wantDeclared(t, b, true, "channel gone other untold", "channel gone room.1 untold",
		"member here room.1 ann 2  frames 9", "member here room.1 bob 1  frames 9")
	if page, err := h.Presence(t.Context(), "room.1", PresenceQuery{}); err != nil || page.Total != 1 {
		t.Errorf("got %+v, %v", page, err)
	}

	h.Apply(presenceRules(t, Telling{}, false))
	wantDeclared(t, b, true, "member gone room.1 ann 0  frames 0 untold", "member gone room.1 bob 0  frames 0 untold",
		"user gone ann after 10s untold", "user gone bob after 10s untold")
	h.Leave(bob)
	wantDeclared(t, b, true)
}

// TestApply_WhileUsersComeAndGo wants the last that is declared of each to be true, however
// reloads and connections meet.
func TestApply_WhileUsersComeAndGo(t *testing.T) {
	h, b := newRoster(t)
	on, off := presenceRules(t, Telling{Users: true, Channels: true, Members: true}, false, withPresence), presenceRules(t, Telling{}, false)
	var work sync.WaitGroup
	for i := range 4 {
		work.Go(func() {
			for range 200 {
				h.Leave(join(t, h, fmt.Sprint("user", i), "room.1"))
			}
		})
	}
	for range 50 {
		h.Apply(on)
		h.Apply(off)
	}
	work.Wait()
	h.Apply(on)
	join(t, h, "user0", "room.1")
	last := map[string]broker.ChangeKind{}
	for _, c := range b.changes {
		last[c.Name+" "+c.User] = c.Kind
	}
	for name, kind := range last {
		here := kind == broker.UserHere || kind == broker.ChannelHere || kind == broker.MemberHere
		if wanted := name == "user0 " || name == "room.1 " || name == "room.1 user0"; here != wanted {
			t.Errorf("%q: the last that was declared is %d, here %t", name, kind, here)
		}
	}
}

func TestAbandon_EndsAllAndDeclaresWhoCameSince(t *testing.T) {
	h, b := newRoster(t)
	h.Apply(presenceRules(t, Telling{Users: true}, false, withPresence))
	c := join(t, h, "ann", "room.1")
	b.declared(false)
	h.Abandon(&Cause{Why: Buried, Code: 1012})
	if code, _ := c.closed(); code != 1012 {
		t.Errorf("not ended: %d", code)
	}
	b.declared(false)
	if h.Connections() != 0 || h.Users() != 0 {
		t.Errorf("%d connections, %d users are left", h.Connections(), h.Users())
	}
	join(t, h, "ann", "room.1")
	wantDeclared(t, b, false, "user here ann after 10s", "member here room.1 ann 1  frames 5 untold")
}

func TestMembers_OfAChannelWithoutHistoryGoToFollowersOnly(t *testing.T) {
	h, b := newRoster(t)
	h.Apply(presenceRules(t, Telling{}, false, withPresence))
	raw := join(t, h, "raw", "room.1")
	f := newFan(h, "ann")
	f.follow(h, "room.1", Start{})
	testkit.Eventually(t, "it is answered", f.has("ok@0"))
	b.says("room.1", broker.Joined, broker.Presence{User: "ann"}) // itself
	b.says("room.1", broker.Joined, broker.Presence{User: "bob"})
	b.says("room.1", broker.Left, broker.Presence{User: "bob"})
	b.says("room.1", broker.Paused, broker.Presence{})
	b.says("room.1", broker.Resumed, broker.Presence{Members: []broker.Member{{User: "ann"}, {User: "raw"}}})
	say(t, h, "room.1", "1")
	testkit.Eventually(t, "all arrive", f.has("1"))
	if got := f.text(); got != "ok@0 +bob -bob paused resumed:2 1" {
		t.Errorf("got %s", got)
	}
	wantFrames(t, raw, "1")
}

func TestMembers_KeepTheOrderOfTheirStreamForOneWhoRecovers(t *testing.T) {
	h, b := newRoster(t)
	h.Apply(presenceRules(t, Telling{}, true, withPresence))
	live := newFan(h, "ann")
	live.follow(h, "room.1", Start{})
	testkit.Eventually(t, "it is answered", live.has("ok@0"))
	say(t, h, "room.1", "1")
	say(t, h, "room.1", "2")
	testkit.Eventually(t, "it is live", live.has("2"))
	slow := newFan(h, "bob")
	slow.room = 1
	slow.follow(h, "room.1", Start{Recent: 10})
	testkit.Eventually(t, "one message came", slow.has("1"))
	b.says("room.1", broker.Joined, broker.Presence{User: "carl"})
	say(t, h, "room.1", "3")
	b.says("room.1", broker.Joined, broker.Presence{User: "dora"})
	b.says("room.1", broker.Left, broker.Presence{User: "carl"})
	testkit.Eventually(t, "who is live is told", live.has("-carl"))
	if got := live.text(); got != "ok@0 1 2 +carl 3 +dora -carl" {
		t.Errorf("live: got %s", got)
	}
	if got := slow.text(); got != "ok@2 1" {
		t.Errorf("slow, before there is room: got %s", got)
	}
	slow.makeRoom(-1)
	testkit.Eventually(t, "all arrive", slow.has("-carl"))
	say(t, h, "room.1", "4")
	testkit.Eventually(t, "it is live", slow.has("4"))
	if got := slow.text(); got != "ok@2 1 2 3 +dora -carl 4" { // of carl the last counts
		t.Errorf("slow: got %s", got)
	}
}

func TestMembers_WhatACursorHoldsIsBounded(t *testing.T) {
	c := &cursor{}
	message := func(user string) heldMessage {
		return heldMessage{Message: &Message{Presence: &broker.Presence{User: user}}}
	}
	for i := range maxHeld {
		for range 2 { // the same user's take one place
			if !c.hold(message(fmt.Sprint(i))) {
				t.Fatalf("full at %d", i)
			}
		}
	}
	if c.hold(message("one more")) || len(c.held) != maxHeld || c.held[0].Presence.User != "1" {
		t.Errorf("held %d, from %q on", len(c.held), c.held[0].Presence.User)
	}
	if c.hold(message("")); len(c.held) != 1 {
		t.Errorf("what tells of everybody leaves %d", len(c.held))
	}
}
