package brokertest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/testkit"
)

func userHere(user string) broker.Change {
	return broker.Change{Kind: broker.UserHere, Name: user, Tell: true}
}

func userGone(user string, delay time.Duration) broker.Change {
	return broker.Change{Kind: broker.UserGone, Name: user, Tell: true, Delay: delay}
}

func channelHere(channel string) broker.Change {
	return broker.Change{Kind: broker.ChannelHere, Name: channel, Tell: true}
}

func channelGone(channel string) broker.Change {
	return broker.Change{Kind: broker.ChannelGone, Name: channel, Tell: true}
}

func memberHere(channel, user string, connections int) broker.Change {
	return broker.Change{Kind: broker.MemberHere, Name: channel, User: user, Connections: connections, Tell: true}
}

func memberGone(channel, user string) broker.Change {
	return broker.Change{Kind: broker.MemberGone, Name: channel, User: user, Tell: true}
}

// inTurn has the nodes declare the same, one after the other: what one declares is stored before
// the next begins.
func inTurn(t *testing.T, nodes []*RosterNode, changes ...broker.Change) {
	t.Helper()
	for _, n := range nodes {
		n.Declare(changes...)
		for _, c := range changes {
			n.Page(t, c.Name, broker.MembersQuery{Limit: 1}) // in the partition of this name
		}
	}
}

func onlineAndOffline(t *testing.T, nodes []*RosterNode) {
	inTurn(t, nodes, userHere("ann"))
	nodes[0].Facts.Await(t, "ann", "online")
	inTurn(t, nodes, userGone("ann", 0))
	nodes[0].Facts.Await(t, "ann", "online, offline")
	inTurn(t, nodes, userHere("ann"), userHere("bob"))
	nodes[0].Facts.Await(t, "ann", "online, offline, online")
	nodes[0].Facts.Await(t, "bob", "online")
}

func offlineAfterDelay(t *testing.T, nodes []*RosterNode) {
	const delay = 100 * time.Millisecond
	inTurn(t, nodes, userHere("ann"))
	inTurn(t, nodes, userGone("ann", delay))
	nodes[0].Facts.Await(t, "ann", "online, offline")
	all := nodes[0].Facts.All()
	if d := all[1].At.Sub(all[0].At); d < delay {
		t.Errorf("offline %v after online, want %v at least", d, delay)
	}
}

func goesAndComes(t *testing.T, nodes []*RosterNode) {
	users := make([]string, 500)
	for i := range users {
		users[i] = fmt.Sprint("user", i)
	}
	f := func(change func(user string) broker.Change) {
		for i, user := range users {
			nodes[i%len(nodes)].Declare(change(user))
		}
	}
	for range 3 {
		f(userHere)
		f(func(user string) broker.Change { return userGone(user, time.Hour) })
	}
	f(userHere)
	f(func(user string) broker.Change { return userGone(user, 0) })
	for _, user := range users {
		nodes[0].Facts.Await(t, user, "online, offline")
	}
}

func occupiedAndVacated(t *testing.T, nodes []*RosterNode) {
	inTurn(t, nodes, channelHere("chat"))
	nodes[0].Facts.Await(t, "chat", "occupied")
	inTurn(t, nodes, channelGone("chat"))
	nodes[0].Facts.Await(t, "chat", "occupied, vacated")
	inTurn(t, nodes, channelHere("chat"))
	nodes[0].Facts.Await(t, "chat", "occupied, vacated, occupied")
}

func joinAndLeave(t *testing.T, nodes []*RosterNode) {
	inTurn(t, nodes, memberHere("chat", "ann", 1), memberHere("chat", "ann", 2), memberHere("chat", "bob", 1))
	nodes[0].Facts.Await(t, "chat", "joined ann, joined bob")
	inTurn(t, nodes, memberHere("chat", "ann", 1), memberGone("chat", "bob"))
	nodes[0].Facts.Await(t, "chat", "joined ann, joined bob, left bob")
	inTurn(t, nodes, memberGone("chat", "ann"))
	nodes[0].Facts.Await(t, "chat", "joined ann, joined bob, left bob, left ann")
}

func declaredAgain(t *testing.T, nodes []*RosterNode) {
	for range 3 {
		inTurn(t, nodes, userHere("ann"), channelHere("chat"), memberHere("room", "ann", 1))
	}
	for range 3 {
		inTurn(t, nodes, userGone("ann", 0), channelGone("chat"), memberGone("room", "ann"))
	}
	inTurn(t, nodes[:1], userHere("ann"), channelHere("chat"), memberHere("room", "ann", 1))
	nodes[0].Facts.Await(t, "ann", "online, offline, online")
	nodes[0].Facts.Await(t, "chat", "occupied, vacated, occupied")
	nodes[0].Facts.Await(t, "room", "joined ann, left ann, joined ann")
}

func goneOfNothing(t *testing.T, nodes []*RosterNode) {
	inTurn(t, nodes[1:], userHere("ann"), channelHere("chat"), memberHere("room", "ann", 1))
	n := nodes[0]
	inTurn(t, nodes[:1], userGone("ann", 0), channelGone("chat"), memberGone("room", "ann"))
	inTurn(t, nodes[:1], userHere("ann"), channelHere("chat"), memberHere("room", "ann", 1))
	n.Facts.Await(t, "ann", "online")
	n.Facts.Await(t, "chat", "occupied")
	n.Facts.Await(t, "room", "joined ann")
}

func keptAndNotTold(t *testing.T, nodes []*RosterNode) {
	quiet := func(c broker.Change) broker.Change {
		c.Tell = false
		return c
	}
	inTurn(t, nodes, quiet(userHere("ann")), quiet(channelHere("chat")), quiet(memberHere("room", "ann", 1)))
	inTurn(t, nodes, userHere("ann"), channelHere("chat"), memberHere("room", "ann", 1))
	inTurn(t, nodes, userGone("ann", 0), channelGone("chat"), memberGone("room", "ann"))
	nodes[0].Facts.Await(t, "ann", "offline")
	nodes[0].Facts.Await(t, "chat", "vacated")
	nodes[0].Facts.Await(t, "room", "left ann")
	inTurn(t, nodes, userHere("ann"), channelHere("chat"), memberHere("room", "ann", 1))
	inTurn(t, nodes, quiet(userGone("ann", 0)), quiet(channelGone("chat")), quiet(memberGone("room", "ann")))
	inTurn(t, nodes, userHere("ann"), channelHere("chat"), memberHere("room", "ann", 1))
	nodes[0].Facts.Await(t, "ann", "offline, online, online")
	nodes[0].Facts.Await(t, "chat", "vacated, occupied, occupied")
	nodes[0].Facts.Await(t, "room", "left ann, joined ann, joined ann")
}

func connections(t *testing.T, nodes []*RosterNode) {
	record := []byte(strings.Repeat("\x00\n:{}", 200))
	for i, n := range nodes {
		id := fmt.Sprint("connection", i)
		n.Declare(
			broker.Change{Kind: broker.ConnectionHere, Name: id, Record: record},
			broker.Change{Kind: broker.ConnectionHere, Name: id, Record: record[1:]},
			broker.Change{Kind: broker.ConnectionEnded, Name: id, Record: record},
			broker.Change{Kind: broker.ConnectionGone, Name: id},
			broker.Change{Kind: broker.ConnectionGone, Name: id},
		)
		inTurn(t, nodes[i:i+1], userHere(id), userGone(id, 0))
		nodes[0].Facts.Await(t, id, "online, offline")
	}
}

func generations(t *testing.T, nodes []*RosterNode) {
	before := time.Now().Add(-time.Second)
	const rounds = 50
	for i := range rounds {
		inTurn(t, nodes[i%len(nodes):][:1], userHere("ann"), userGone("ann", 0), channelHere("chat"), channelGone("chat"),
			memberHere("room", "ann", 1), memberHere("room", "bob", 1), memberGone("room", "ann"), memberGone("room", "bob"))
	}
	all := nodes[0].Facts
	testkit.Eventually(t, "all are told", func() bool { return len(all.All()) >= 8*rounds })
	last := map[string]uint64{}
	for _, f := range all.All() {
		if f.Generation <= last[f.Name] {
			t.Errorf("%s of %s: generation %d after %d", factNames[f.Kind], f.Name, f.Generation, last[f.Name])
		}
		last[f.Name] = f.Generation
		if ms := uint64(before.UnixMilli()); f.Generation < ms || f.Generation > ms+uint64(time.Hour.Milliseconds()) {
			t.Errorf("%s of %s: generation %d is not about the time", factNames[f.Kind], f.Name, f.Generation)
		}
		if f.At.Before(before) || f.At.After(time.Now().Add(time.Second)) {
			t.Errorf("%s of %s: happened at %v", factNames[f.Kind], f.Name, f.At)
		}
	}
	if got := len(all.All()); got != 8*rounds {
		t.Errorf("%d are told, want %d", got, 8*rounds)
	}
}

func awkwardNames(t *testing.T, nodes []*RosterNode) {
	for _, name := range []string{awkward, ".gen", ".on", "_", "c", "ümläut/\"\\", "user:ann", strings.Repeat("x", 255), "%d %s", "-", "("} {
		inTurn(t, nodes, userHere(name), channelHere("c"+name), memberHere("r"+name, name, 1))
		if got := nodes[0].Page(t, "r"+name, broker.MembersQuery{}); len(got.Page) != 1 || got.Page[0].User != name || got.Total != 1 {
			t.Errorf("members of r%s: %+v", name, got)
		}
		inTurn(t, nodes, userGone(name, 0), channelGone("c"+name), memberGone("r"+name, name))
		nodes[0].Facts.Await(t, name, "online, offline")
		nodes[0].Facts.Await(t, "c"+name, "occupied, vacated")
		nodes[0].Facts.Await(t, "r"+name, "joined "+name+", left "+name)
	}
}

// rosterRaces has all nodes change their minds at once.
func rosterRaces(t *testing.T, nodes []*RosterNode) {
	const rounds, users = 50, 8
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			for range rounds {
				for u := range users {
					user := fmt.Sprint("user", u)
					n.Declare(userHere(user), memberHere("room"+user, user, 1))
					n.Declare(userGone(user, 0), memberGone("room"+user, user))
				}
			}
			for u := range users / 2 {
				user := fmt.Sprint("user", u)
				n.Declare(userHere(user), memberHere("room"+user, user, 1))
			}
		})
	}
	wg.Wait()
	for u := range users {
		user := fmt.Sprint("user", u)
		for _, n := range nodes { // all is declared now
			n.Page(t, user, broker.MembersQuery{})
			n.Page(t, "room"+user, broker.MembersQuery{})
		}
		inTurn(t, nodes[:1], channelHere(user), channelHere("room"+user))
		ends := func(told, first, second, end string, there bool) {
			words := strings.Split(told, ", ")
			for i, w := range words[:len(words)-1] {
				if want := []string{first, second}[i%2]; w != want {
					t.Errorf("%s: told %q, want %s as number %d", user, told, want, i)
				}
			}
			if words[len(words)-1] != end || len(words)%2 == 1 == there {
				t.Errorf("%s: told %q, and it is there: %v", user, told, there)
			}
		}
		for name, words := range map[string][2]string{user: {"online", "offline"}, "room" + user: {"joined " + user, "left " + user}} {
			testkit.Eventually(t, "all is told", func() bool { return strings.HasSuffix(nodes[0].Facts.Of(name), "occupied") })
			ends(nodes[0].Facts.Of(name), words[0], words[1], "occupied", u < users/2)
		}
	}
}

func closedRoster(t *testing.T, nodes []*RosterNode) {
	n := nodes[0]
	n.Declare(userHere("ann"))
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n.Declare(userHere("bob"))
	if _, err := n.Members(t.Context(), "chat", broker.MembersQuery{}); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("members: got %v, want ErrClosed", err)
	}
	if told := n.Facts.Of("bob"); told != "" {
		t.Errorf("told of bob: %q", told)
	}
}
