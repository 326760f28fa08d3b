package roster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/broker/redisbroker/roster"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

// watched is a node with what it received and logged.
type watched struct {
	*brokertest.RosterNode
	roster *roster.Roster
	log    testkit.Log
}

// startNodes starts nodes at these addresses.
func startNodes(t *testing.T, addrs ...string) (nodes []*watched) {
	t.Helper()
	var all []brokertest.RosterBroker
	for i, addr := range addrs {
		w := &watched{}
		n := newNode(t, addr, "pc", i, &w.log)
		w.roster = n.Roster
		nodes, all = append(nodes, w), append(all, n)
	}
	for i, n := range brokertest.StartRosters(t, all) {
		nodes[i].RosterNode = n
	}
	return nodes
}

// go-redis has a log of its own.
func init() { logging.Disable() }

func here(user string) broker.Change {
	return broker.Change{Kind: broker.UserHere, Name: user, Tell: true}
}

func gone(user string) broker.Change {
	return broker.Change{Kind: broker.UserGone, Name: user, Tell: true}
}

func occupied(channel string) broker.Change {
	return broker.Change{Kind: broker.ChannelHere, Name: channel, Tell: true}
}

func vacated(channel string) broker.Change {
	return broker.Change{Kind: broker.ChannelGone, Name: channel, Tell: true}
}

func member(channel, user string, n int) broker.Change {
	return broker.Change{Kind: broker.MemberHere, Name: channel, User: user, Connections: n, Tell: true}
}

func left(channel, user string) broker.Change {
	return broker.Change{Kind: broker.MemberGone, Name: channel, User: user, Tell: true}
}

// await waits until just so much was told of each name.
func (w *watched) await(t *testing.T, told map[string]string) {
	t.Helper()
	for name, want := range told {
		w.Facts.Await(t, name, want)
	}
}

// members waits until a channel's are as wanted: NAME*CONNECTIONS.
func (w *watched) members(t *testing.T, channel, want string) {
	t.Helper()
	got := ""
	if !testkit.Until(func() bool {
		m, err := w.Members(t.Context(), channel, broker.MembersQuery{})
		got = fmt.Sprint(err)
		if err == nil {
			var all []string
			for _, one := range m.Page {
				all = append(all, fmt.Sprint(one.User, "*", one.Connections))
			}
			got = strings.Join(all, " ")
		}
		return got == want
	}) {
		t.Fatalf("members of %s: %s, want %s", channel, got, want)
	}
}

// flooded is two nodes with users, channels and members on one of them, and on both.
func flooded(t *testing.T, addrs ...string) (a, b *watched) {
	t.Helper()
	nodes := startNodes(t, addrs[0], addrs[len(addrs)-1])
	a, b = nodes[0], nodes[1]
	a.Declare(here("ann"), here("both"), here("dave"), occupied("chat"), occupied("den"), member("room", "ann", 2), member("room", "both", 1))
	a.members(t, "room", "ann*2 both*1")
	b.Declare(here("bob"), here("both"), here("dave"), occupied("chat"), member("room", "both", 3), member("room", "bob", 1))
	b.members(t, "room", "ann*2 bob*1 both*4")
	a.await(t, toldAtFirst)
	return a, b
}

var toldAtFirst = map[string]string{
	"ann": "online", "bob": "online", "both": "online", "dave": "online", "chat": "occupied", "den": "occupied",
	"room": "joined ann, joined both, joined bob",
}

func TestRoster_AFlushRepeatsAndForgetsNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := flooded(t, server.Addr)
	server.Do(t, "FLUSHALL")
	a.roster.CheckAll()
	b.roster.CheckAll()
	b.members(t, "room", "ann*2 bob*1 both*4")
	for _, n := range []*watched{a, b} { // all is declared again
		n.Flush(t.Context())
	}
	a.Declare(gone("ann"), gone("both"), gone("dave"), vacated("chat"), vacated("den"), left("room", "ann"), left("room", "both"))
	a.members(t, "room", "bob*1 both*3")
	a.await(t, map[string]string{"ann": "online, offline", "den": "occupied, vacated", "room": "joined ann, joined both, joined bob, left ann"})
	b.Declare(gone("both"), vacated("chat"))
	a.await(t, map[string]string{
		"ann": "online, offline", "bob": "online", "both": "online, offline", "dave": "online",
		"chat": "occupied, vacated", "den": "occupied, vacated", "room": "joined ann, joined both, joined bob, left ann",
	})
}

func TestRoster_MembersAreSeenThoughRedisWasFlushed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a := startNodes(t, server.Addr)[0]
	a.Declare(member("room", "ann", 2))
	a.members(t, "room", "ann*2")
	for i := range 20 {
		server.Do(t, "FLUSHALL")
		a.Declare(member("room", "bob", 1+i))
		if m, err := a.Members(t.Context(), "room", broker.MembersQuery{}); err != nil || m.Total != 2 || m.Page[1].Connections != 1+i {
			t.Fatalf("%+v, %v, want ann and bob", m, err)
		}
	}
}

func TestRoster_WhoLeftWhileRedisWasLostIsToldAfterTheLease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	vip := redistest.NewVIP(t, server.Addr)
	a, b := flooded(t, server.Addr, vip.Addr)
	server.Kill()
	began := time.Now()
	testkit.Eventually(t, "redis is away", func() bool { return !a.Up() && !b.Up() })
	a.Declare(gone("ann"), gone("both"), vacated("chat"), vacated("den"), left("room", "ann"), left("room", "both"))
	a.Declare(here("new"), gone("new"), here("carl"), gone("carl"), here("carl"))
	release := vip.Hold()
	defer release()
	server.Restart(t)
	a.roster.CheckAll()
	a.await(t, map[string]string{"carl": "online"})
	a.Flush(t.Context()) // all of it is there before b declares anything
	release()
	b.roster.CheckAll()
	a.await(t, map[string]string{"carl": "online", "ann": "online, offline", "den": "occupied, vacated", "room": "joined ann, joined both, joined bob, left ann"})
	if d := time.Since(began); d < broker.Lease {
		t.Errorf("told after %v: other nodes had no time to declare again", d)
	}
	b.members(t, "room", "bob*1 both*3")
	a.await(t, map[string]string{"new": "", "both": "online", "dave": "online", "chat": "occupied", "bob": "online"})
	b.Declare(gone("both"), vacated("chat"), left("room", "both"))
	a.await(t, map[string]string{"both": "online, offline", "chat": "occupied, vacated", "room": "joined ann, joined both, joined bob, left ann, left both"})
}

// A copy of Redis that lacks the last changes has some who left since, and lacks some who
// came.
func TestRoster_AnOldCopyIsPutRight(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := flooded(t, server.Addr)
	server.Do(t, "SAVE")
	a.Declare(here("late"), member("room", "late", 1), gone("ann"), left("room", "ann"), vacated("den"))
	a.members(t, "room", "bob*1 both*4 late*1")
	a.await(t, map[string]string{"late": "online", "ann": "online, offline", "den": "occupied, vacated"})
	server.Kill()
	server.RestartSaved(t)
	a.roster.CheckAll()
	b.roster.CheckAll()
	b.members(t, "room", "bob*1 both*4 late*1")
	for _, rest := range []string{"user:", "channel:"} {
		name := map[string]string{"user:": "ann", "channel:": "den"}[rest]
		testkit.Eventually(t, name+" is not there", func() bool { return server.Do(t, "HEXISTS", a.roster.KeyOf(rest, name), ".on") == "0" })
	}
	if told := a.Facts.Of("late"); told != "online" {
		t.Errorf("told of late: %q", told)
	}
	a.Declare(gone("late"))
	a.await(t, map[string]string{"late": "online, offline", "both": "online", "bob": "online"})
}

func TestRoster_KeysDeletedByHandComeBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := flooded(t, server.Addr)
	remove := func() {
		t.Helper()
		server.Do(t, "DEL", a.roster.KeyOf("user:", "ann"))
		server.Do(t, "DEL", a.roster.KeyOf("user:", "both"))
		server.Do(t, "DEL", a.roster.KeyOf("channel:", "chat"))
		server.Do(t, "DEL", a.roster.KeyOf("channel:", "den"))
		server.Do(t, "DEL", a.roster.KeyOf("present:", "room"), a.roster.KeyOf("presence:", "room"))
	}
	remove()
	a.roster.RenewAll()
	b.roster.RenewAll()
	b.members(t, "room", "ann*2 bob*1 both*4")
	a.Flush(t.Context())
	b.Flush(t.Context())
	a.await(t, toldAtFirst)
	for name, rest := range map[string]string{"ann": "user:", "both": "user:", "chat": "channel:", "den": "channel:"} {
		if server.Do(t, "EXISTS", a.roster.KeyOf(rest, name)) != "1" {
			t.Errorf("%s is still missing", name)
		}
	}
	remove()
	server.Do(t, "DEL", a.roster.KeyBeside("room", "roster:"+a.roster.Name()))
	a.Declare(gone("ann"), gone("both"), vacated("chat"), vacated("den"), left("room", "ann"), left("room", "both"))
	b.Declare(vacated("chat"))
	b.roster.RenewAll()
	a.await(t, map[string]string{
		"ann": "online, offline", "den": "occupied, vacated", "chat": "occupied, vacated",
		"room": "joined ann, joined both, joined bob, left ann",
	})
	b.members(t, "room", "bob*1 both*3")
	if told := a.Facts.Of("both"); told != "online" {
		t.Errorf("told of both: %q, and one node has it", told)
	}
}

func TestRoster_KeysOfAnotherTypeHoldUpNobodyElse(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a := startNodes(t, server.Addr)[0]
	foreign := []string{a.roster.KeyOf("user:", "ann"), a.roster.KeyOf("channel:", "ann"), a.roster.KeyOf("presence:", "ann"), a.roster.KeyOf("present:", "bob")}
	for _, key := range foreign {
		server.Do(t, "SET", key, "x")
	}
	a.Declare(here("ann"), occupied("ann"), member("ann", "u", 1), member("bob", "u", 1), here("carl"))
	a.await(t, map[string]string{"carl": "online"})
	a.log.Await(t, "key of ours")
	for _, key := range foreign {
		if got := server.Do(t, "GET", key); got != "x" {
			t.Errorf("%s is %q now", key, got)
		}
		server.Do(t, "DEL", key)
	}
	a.await(t, map[string]string{"bob": "joined u"})
	testkit.Eventually(t, "all is told", func() bool { return strings.Count(a.Facts.Of("ann"), ",") == 2 })
	a.Declare(gone("ann"), vacated("ann"), left("ann", "u"))
	testkit.Eventually(t, "all is told", func() bool { return strings.Count(a.Facts.Of("ann"), ",") == 5 })

	told := ""
	for _, rest := range []string{"outbox", "due", "roster:" + a.roster.Name()} {
		key := a.roster.KeyBeside("dave", rest)
		server.Do(t, "DEL", key)
		server.Do(t, "SET", key, "x")
		a.Declare(here("dave"))
		testkit.Eventually(t, "it is refused", func() bool {
			_, err := a.Members(t.Context(), "dave", broker.MembersQuery{})
			return err != nil && strings.Contains(err.Error(), "WRONGTYPE")
		})
		a.log.Await(t, key)
		server.Do(t, "DEL", key)
		a.await(t, map[string]string{"dave": told + "online"})
		a.Declare(gone("dave"))
		a.await(t, map[string]string{"dave": told + "online, offline"})
		told += "online, offline, "
	}
}

// Whatever somebody writes into our hashes, the rest goes on, and what is declared comes
// to hold.
func TestRoster_ValuesWrittenByHandStopNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a := startNodes(t, server.Addr)[0]
	user, channel := a.roster.KeyOf("user:", "ann"), a.roster.KeyOf("presence:", "room")
	frames := func(c broker.Change) broker.Change {
		c.Frames = 5
		return c
	}
	for i, junk := range []string{"", "x", "-1", "1e99", "99999999999999999999", "nan", "1 1", "1 1 {", "9 x y", strings.Repeat("9", 400) + " 1 "} {
		a.Declare(here("ann"), frames(member("room", "ann", 1)), frames(member("room", "bob", 1)))
		a.members(t, "room", "ann*1 bob*1")
		for _, field := range []string{".gen", ".on", ".tell", ".delay", a.roster.Name()} {
			server.Do(t, "HSET", user, field, junk)
		}
		for _, field := range []string{".gen", ".tell", ".frames", ".paused", "ann\n", "bob\n"} {
			server.Do(t, "HSET", channel, field, junk)
		}
		a.Declare(gone("ann"), frames(member("room", "ann", 2)), frames(left("room", "bob")))
		a.Declare(frames(left("room", "ann")))
		a.members(t, "room", "")
		end := fmt.Sprint("end", i)
		a.Declare(here(end))
		a.await(t, map[string]string{end: "online"})
		server.Do(t, "DEL", user, channel, a.roster.KeyOf("present:", "room"))
	}
	if a.log.Has("does not accept") {
		t.Errorf("the log complains:\n%s", &a.log)
	}
}

func TestRoster_WhatRedisRefusesIsToldLater(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a := startNodes(t, server.Addr)[0]
	a.Declare(here("before"))
	a.await(t, map[string]string{"before": "online"})
	f := func(name string, refuse, take []any) {
		server.Do(t, refuse...)
		a.Declare(here(name), here(name+"2"), member("room", name, 1))
		a.log.Await(t, "does not accept this node")
		a.Declare(gone(name+"2"), gone(name), here(name))
		if told := a.Facts.Of(name); told != "" {
			t.Errorf("%s: told %q", name, told)
		}
		server.Do(t, take...)
		a.await(t, map[string]string{name: "online"})
		a.Declare(gone(name), left("room", name))
		a.await(t, map[string]string{name: "online, offline", name + "2": ""})
		a.log.Take()
	}
	f("full", []any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"})
	f("replica", []any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"})
	a.await(t, map[string]string{"before": "online", "room": "joined full, left full, joined replica, left replica"})
}

func TestRoster_ForgottenScriptsAreLoadedAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a := startNodes(t, server.Addr)[0]
	for i := range 5 {
		server.Do(t, "SCRIPT", "FLUSH")
		a.Declare(member("room", fmt.Sprint("user", i), 1))
		if got, err := a.Members(t.Context(), "room", broker.MembersQuery{}); err != nil || got.Total != i+1 {
			t.Errorf("round %d: %d members, %v", i, got.Total, err)
		}
		server.Do(t, "SCRIPT", "FLUSH")
		if got, err := a.Members(t.Context(), "room", broker.MembersQuery{}); err != nil || got.Total != i+1 {
			t.Errorf("round %d again: %d members, %v", i, got.Total, err)
		}
	}
}

// Answers are lost while users come and go: what happened is told once, and nothing that
// did not happen.
func TestRoster_ALostAnswerTellsNothingTwice(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	vip := redistest.NewVIP(t, server.Addr)
	nodes := startNodes(t, server.Addr, vip.Addr)
	a, b := nodes[0], nodes[1]
	b.Declare(here("first"))
	b.Flush(t.Context())
	taken := 0
	for range 4 {
		hear := vip.Mute()
		var all []broker.Change // which go out in one round trip, the last for a while
		for i := range 20 {
			user := fmt.Sprint("user", i)
			all = append(all, here(user), member("room"+user, user, 1))
			if i%2 == 1 {
				all = append(all, gone(user), left("room"+user, user))
			}
		}
		b.Declare(all...)
		took := func() bool {
			for i := 0; i < 20; i += 2 {
				user := fmt.Sprint("user", i)
				if server.Do(t, "HEXISTS", a.roster.KeyOf("user:", user), ".on") != "1" ||
					server.Do(t, "ZCARD", a.roster.KeyOf("present:", "room"+user)) != "1" {
					return false
				}
			}
			return true
		}
		// Where something else was under way when the answers stopped, it is not even sent.
		testkit.Eventually(t, "redis took it, or it could not be sent", func() bool { return took() || !b.Up() })
		if took() {
			taken++
		}
		hear()
		testkit.Eventually(t, "redis is back", b.Up)
		for i := range 20 {
			user := fmt.Sprint("user", i)
			b.Declare(gone(user), left("room"+user, user))
		}
		b.Flush(t.Context())
		user := "user0"
		a.Facts.Await(t, user, strings.TrimSuffix(strings.Repeat("online, offline, ", taken), ", "))
	}
	a.Declare(here("end"))
	a.await(t, map[string]string{"end": "online"})
	for i := range 20 {
		user := fmt.Sprint("user", i)
		a.Declare(occupied(user), occupied("room"+user))
		for name, pair := range map[string]string{user: "online, offline, ", "room" + user: "joined " + user + ", left " + user + ", "} {
			testkit.Eventually(t, "all is told", func() bool { return strings.HasSuffix(a.Facts.Of(name), "occupied") })
			rounds := strings.Count(a.Facts.Of(name), pair)
			if got := a.Facts.Of(name); got != strings.Repeat(pair, rounds)+"occupied" || i%2 == 0 && rounds != taken {
				t.Errorf("told of %s: %q", name, got)
			}
		}
	}
}

func TestRoster_ABuriedNodeBeginsAnew(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a := startNodes(t, server.Addr)[0]
	a.Declare(here("ann"), member("room", "ann", 1))
	a.await(t, map[string]string{"ann": "online", "room": "joined ann"})
	first := a.roster.Name()
	server.Do(t, "SET", a.roster.KeyBeside("ann", "dead:"+first), "")
	a.Declare(here("ann"), here("bob"))
	testkit.Eventually(t, "it hears that it was buried", func() bool { return a.Buried() == 1 })
	if n := a.roster.Entries(); n > 1 { // bob may be later
		t.Errorf("%d declarations are kept", n)
	}
	a.Declare(gone("ann"), left("room", "ann"), here("carl"))
	// What it had under its first name is told as lost.
	a.await(t, map[string]string{"carl": "online", "ann": "online, offline", "room": "joined ann, left ann"})
	if a.roster.Name() == first || a.Buried() != 1 {
		t.Errorf("its name is %s after %s, it was buried %d times", a.roster.Name(), first, a.Buried())
	}
}

func TestRoster_FactsWithoutRoomAreCountedAndLogged(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	log, m := &testkit.Log{}, metrics.New("test", "")
	n, err := redisbroker.New(config.Redis{Addresses: []string{server.Addr}, Prefix: "pc"}, "node1", m, testkit.Logger(log))
	if err != nil {
		t.Fatal(err)
	}
	server.Do(t, "SET", n.KeyBeside("room", "owner"), "another:1") // which tells nothing
	all := brokertest.StartRosters(t, []brokertest.RosterBroker{n})
	n.LimitOutbox(broker.OutboxLimits{Waiting: 64 * 10})
	for i := range 20 {
		all[0].Declare(member("room", fmt.Sprint(i), 1))
	}
	log.Await(t, "webhook.outbox.redis")
	testkit.Eventually(t, "the last ten wait", func() bool { return server.Do(t, "XLEN", n.KeyBeside("room", "outbox")) == "10" })
	testkit.Eventually(t, "ten are lost", func() bool {
		return testkit.Metric(t, m.Handler(), "pushcart_webhook_outbox_redis_lost_total") == 10
	})
}
