package brokertest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/testkit"
)

const chatTopic = "channel:chat"

// awaitReceived waits until all nodes received just this.
func awaitReceived(t *testing.T, nodes []*RosterNode, topic string, want ...string) {
	t.Helper()
	for i, n := range nodes {
		if !testkit.Until(func() bool { return slices.Equal(n.Received(topic), want) }) {
			t.Fatalf("node %d received %q, want %q", i, n.Received(topic), want)
		}
	}
}

func say(t *testing.T, n *RosterNode, text string) {
	t.Helper()
	batch := []broker.Publication{{Topic: chatTopic, Payload: []byte(text)}}
	if n.Publish(context.Background(), batch); batch[0].Err != nil {
		t.Fatal(batch[0].Err)
	}
}

func shownFrames(c broker.Change, frames int) broker.Change {
	c.Frames = frames
	return c
}

func framesInOrder(t *testing.T, nodes []*RosterNode) {
	for _, n := range nodes {
		n.Subscribed(t, chatTopic)
	}
	var want []string
	for i := range 20 {
		n, user := nodes[i%len(nodes)], fmt.Sprint("ann é\"", i)
		here := shownFrames(memberHere("chat", user, 1), 10)
		if i%2 == 0 {
			here.Info = fmt.Appendf(nil, `{"n":%d}`, i)
		}
		inTurn(t, []*RosterNode{n}, here)
		say(t, nodes[(i+1)%len(nodes)], fmt.Sprint("message ", i))
		inTurn(t, []*RosterNode{n}, shownFrames(memberGone("chat", user), 10))
		info := ""
		if here.Info != nil {
			info = " " + string(here.Info)
		}
		want = append(want, "joined "+user+info, fmt.Sprint("message ", i), "left "+user+info)
	}
	say(t, nodes[0], "end")
	awaitReceived(t, nodes, chatTopic, append(want, "end")...)
}

func pausesAndResumes(t *testing.T, nodes []*RosterNode) {
	const frames = 10
	for _, n := range nodes {
		n.Subscribed(t, chatTopic)
	}
	var want []string
	at := func(i int) []*RosterNode { return nodes[i%len(nodes):][:1] }
	user := func(i int) string { return fmt.Sprintf("user%02d", i) }
	for i := range 15 {
		inTurn(t, at(i), shownFrames(memberHere("chat", user(i), 1), frames))
		switch {
		case i < frames:
			want = append(want, "joined "+user(i))
		case i == frames:
			want = append(want, "paused")
		}
	}
	for i := 14; i >= 8; i-- { // 8 are left: not below 80 %
		inTurn(t, at(i), shownFrames(memberGone("chat", user(i)), frames))
	}
	inTurn(t, at(20), shownFrames(memberHere("chat", user(20), 1), frames))
	inTurn(t, at(20), shownFrames(memberGone("chat", user(20)), frames))
	say(t, nodes[0], "nobody was told")
	want = append(want, "nobody was told")
	awaitReceived(t, nodes, chatTopic, want...)
	inTurn(t, at(0), shownFrames(memberGone("chat", user(0)), frames))
	inTurn(t, at(21), shownFrames(memberHere("chat", user(21), 1), frames))
	say(t, nodes[0], "end")
	want = append(want, "resumed 7 from user01", "joined user21", "end")
	awaitReceived(t, nodes, chatTopic, want...)
}

func noFrames(t *testing.T, nodes []*RosterNode) {
	for _, n := range nodes {
		n.Subscribed(t, chatTopic)
	}
	inTurn(t, nodes, memberHere("chat", "ann", 1))
	inTurn(t, nodes, memberHere("chat", "ann", 2))
	inTurn(t, nodes, memberGone("chat", "ann"))
	quiet := shownFrames(memberHere("chat", "bob", 1), 10)
	quiet.Tell = false
	inTurn(t, nodes, quiet)
	say(t, nodes[0], "end")
	awaitReceived(t, nodes, chatTopic, "joined bob", "end")
}
