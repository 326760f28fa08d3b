package brokertest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/testkit"
)

// membersText is a page as text: USER*CONNECTIONS.
func membersText(m broker.Members) string {
	var all []string
	for _, one := range m.Page {
		all = append(all, fmt.Sprint(one.User, "*", one.Connections))
	}
	return strings.Join(all, " ")
}

func countsConnections(t *testing.T, nodes []*RosterNode) {
	n := len(nodes)
	f := func(want string, total int) {
		t.Helper()
		for i, node := range nodes {
			got := node.Page(t, "chat", broker.MembersQuery{})
			if membersText(got) != want || got.Total != total || got.More {
				t.Errorf("node %d: got %s of %d, more %v, want %s of %d", i, membersText(got), got.Total, got.More, want, total)
			}
		}
	}
	f("", 0)
	inTurn(t, nodes, memberHere("chat", "bob", 1), memberHere("chat", "ann", 3))
	f(fmt.Sprintf("ann*%d bob*%d", 3*n, n), 2)
	inTurn(t, nodes, memberHere("chat", "ann", 2))
	f(fmt.Sprintf("ann*%d bob*%d", 2*n, n), 2)
	inTurn(t, nodes[:1], memberGone("chat", "bob"), memberHere("chat", "ann", 5))
	if n > 1 {
		f(fmt.Sprintf("ann*%d bob*%d", 2*n+3, n-1), 2)
	} else {
		f("ann*5", 1)
	}
	inTurn(t, nodes, memberGone("chat", "bob"), memberGone("chat", "ann"))
	f("", 0)
}

func showsInfo(t *testing.T, nodes []*RosterNode) {
	before := time.Now().Add(-time.Second).UnixMilli()
	last := nodes[len(nodes)-1]
	var since int64
	for i, info := range []string{`{"name":"Ann"}`, `"x"`, ``, `[1,"\u00e9é\n"]`} {
		c := memberHere("chat", "ann", i+1)
		if info != "" {
			c.Info = []byte(info)
		}
		inTurn(t, nodes[i%len(nodes):][:1], c)
		got := last.Page(t, "chat", broker.MembersQuery{})
		if len(got.Page) != 1 || string(got.Page[0].Info) != info {
			t.Fatalf("got %+v, want info %s", got, info)
		}
		if since == 0 {
			since = got.Page[0].Since
		}
		if s := got.Page[0].Since; s != since || s < before || s > time.Now().Add(time.Second).UnixMilli() {
			t.Errorf("since %d, want %d, about now", s, since)
		}
	}
}

func seesOwn(t *testing.T, nodes []*RosterNode) {
	for i := range 300 {
		n := nodes[i%len(nodes)]
		n.Declare(memberHere("chat", fmt.Sprint("user", i), 1))
		if got := n.Page(t, "chat", broker.MembersQuery{Limit: 1}); got.Total != i+1 {
			t.Fatalf("%d members, want %d", got.Total, i+1)
		}
	}
}

func pages(t *testing.T, nodes []*RosterNode) {
	var all []string
	for i := range 25 {
		all = append(all, fmt.Sprintf("%c%02d", "aäZ"[i%3], i))
		inTurn(t, nodes[i%len(nodes):][:1], memberHere("chat", all[i], 1))
	}
	slices.Sort(all)
	f := func(after string, limit int, want []string, more bool) {
		t.Helper()
		got := nodes[0].Page(t, "chat", broker.MembersQuery{After: after, Limit: limit})
		if len(got.Page) != len(want) || got.More != more || got.Total != 25 {
			t.Fatalf("after %q, %d: got %d, more %v, of %d, want %d, %v, of 25", after, limit, len(got.Page), got.More, got.Total, len(want), more)
		}
		for i, m := range got.Page {
			if m.User != want[i] || m.Connections != 1 {
				t.Errorf("after %q: number %d is %+v, want %s", after, i, m, want[i])
			}
		}
	}
	f("", 0, all, false)
	f("", 10, all[:10], true)
	f(all[9], 10, all[10:20], true)
	f(all[19], 10, all[20:], false)
	f(all[14], 10, all[15:], false)
	f(all[24], 10, nil, false)
	f("", 25, all, false)
	f("", 24, all[:24], true)
	f("\xff", 5, nil, false)
	f(all[3]+"x", 2, all[4:6], true) // who left since
	f("", 5000, all, false)
}

func bigChannel(t *testing.T, nodes []*RosterNode) {
	const members = 100_000
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			for m := i; m < members; m += len(nodes) {
				n.Declare(broker.Change{Kind: broker.MemberHere, Name: "big", User: fmt.Sprintf("user%06d", m), Connections: 1})
			}
		})
	}
	wg.Wait()
	last := nodes[len(nodes)-1]
	for step := members / 10; step <= members; step += members / 10 {
		testkit.Eventually(t, fmt.Sprint(step, " are there"), func() bool {
			got, err := last.Members(t.Context(), "big", broker.MembersQuery{Limit: 1})
			return err == nil && got.Total >= step // an error: not in the time of one call
		})
	}
	seen, after := 0, ""
	for more := true; more; {
		page := last.Page(t, "big", broker.MembersQuery{After: after})
		if len(page.Page) != broker.MaxMembers || page.Total != members {
			t.Fatalf("after %s: a page of %d of %d", after, len(page.Page), page.Total)
		}
		for _, m := range page.Page {
			if want := fmt.Sprintf("user%06d", seen); m.User != want || m.Connections != 1 {
				t.Fatalf("got %+v, want %s", m, want)
			}
			seen++
		}
		after, more = page.Page[len(page.Page)-1].User, page.More
	}
	if seen != members {
		t.Errorf("the pages have %d, want %d", seen, members)
	}
}

func thousandConnections(t *testing.T, nodes []*RosterNode) {
	const each = 1000
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			n.Declare(userHere("ann"))
			for i := range each {
				n.Declare(memberHere("chat", "ann", i+1))
			}
		})
	}
	wg.Wait()
	for _, n := range nodes {
		n.Page(t, "chat", broker.MembersQuery{})
	}
	if got := membersText(nodes[0].Page(t, "chat", broker.MembersQuery{})); got != fmt.Sprint("ann*", each*len(nodes)) {
		t.Errorf("members: %s", got)
	}
	for _, n := range nodes {
		wg.Go(func() {
			for i := each - 1; i > 0; i-- {
				n.Declare(memberHere("chat", "ann", i))
			}
			n.Declare(memberGone("chat", "ann"), userGone("ann", 0))
		})
	}
	wg.Wait()
	nodes[0].Facts.Await(t, "chat", "joined ann, left ann")
	nodes[0].Facts.Await(t, "ann", "online, offline")
}

func allLeave(t *testing.T, nodes []*RosterNode) {
	const members = 3000
	do := func(change func(i int) broker.Change) {
		var wg sync.WaitGroup
		for at, n := range nodes {
			wg.Go(func() {
				for i := at; i < members; i += len(nodes) {
					n.Declare(change(i))
				}
			})
		}
		wg.Wait()
		for _, n := range nodes {
			n.Page(t, "chat", broker.MembersQuery{Limit: 1})
		}
	}
	inTurn(t, nodes, channelHere("chat"))
	do(func(i int) broker.Change { return memberHere("chat", fmt.Sprint(i), 1) })
	if got := nodes[0].Page(t, "chat", broker.MembersQuery{Limit: 1}); got.Total != members {
		t.Fatalf("%d members, want %d", got.Total, members)
	}
	do(func(i int) broker.Change { return memberGone("chat", fmt.Sprint(i)) })
	inTurn(t, nodes, channelGone("chat"))
	if got := nodes[0].Page(t, "chat", broker.MembersQuery{}); got.Total != 0 || len(got.Page) != 0 {
		t.Errorf("%d members, want none", got.Total)
	}
	facts := nodes[0].Facts
	testkit.Eventually(t, "all is told", func() bool { return len(facts.All()) >= 2*members+2 })
	counts := map[string]int{}
	for _, f := range facts.All() {
		counts[factNames[f.Kind]]++
	}
	if want := map[string]int{"occupied": 1, "vacated": 1, "joined": members, "left": members}; fmt.Sprint(counts) != fmt.Sprint(want) {
		t.Errorf("told %v, want %v", counts, want)
	}
}
