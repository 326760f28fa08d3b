package hub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

// roomy are rules that keep nothing and give room for eight channels.
func roomy(t testing.TB) *Rules {
	t.Helper()
	r, err := NewRules(nil, config.Users{}, config.Limits{ChannelsPerConnection: 8})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lastingPair is two nodes of one network, with room.
func lastingPair(t testing.TB) (a, b *Hub, n *brokertest.Network) {
	t.Helper()
	a, b, n = pair(t)
	a.Apply(roomy(t))
	b.Apply(roomy(t))
	return a, b, n
}

// enter joins a connection as session does.
func enter(t testing.TB, h *Hub, user string, channels ...string) *fakeConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	c := &fakeConn{member: h.NewMember()}
	_ = h.Join(ctx, c, user, channels) // the broker may be away
	h.JoinLasting(ctx, c)
	return c
}

func put(t testing.TB, h *Hub, user, channel string) {
	t.Helper()
	if err := h.SubscribeUser(context.Background(), user, channel); err != nil {
		t.Errorf("subscribe %s to %s: %v", user, channel, err)
	}
}

func del(t testing.TB, h *Hub, user, channel string) {
	t.Helper()
	if err := h.UnsubscribeUser(context.Background(), user, channel); err != nil {
		t.Errorf("unsubscribe %s from %s: %v", user, channel, err)
	}
}

func wantChannels(t testing.TB, c Conn, want ...string) {
	t.Helper()
	if got := c.Member().Channels(); !slices.Equal(got, want) {
		t.Errorf("channels: got %q, want %q", got, want)
	}
}

func TestLasting_SubscribesAllConnectionsOfTheUserAndThoseToCome(t *testing.T) {
	a, b, _ := lastingPair(t)
	var ann []*fakeConn
	for i := range 5 {
		ann = append(ann, enter(t, []*Hub{a, b}[i%2], "ann"))
	}
	bob := enter(t, a, "bob")
	put(t, b, "ann", "news")
	put(t, b, "ann", "news")
	ann = append(ann, enter(t, a, "ann"), enter(t, b, "ann", "own"))
	for i, c := range ann {
		want := []string{"news"}
		if i == 6 {
			want = []string{"own", "news"}
		}
		wantChannels(t, c, want...)
	}
	wantChannels(t, bob)
	mustPublish(t, a, `{"to":{"channels":["news"]},"text":"1"}`)
	for _, c := range ann {
		wantFrames(t, c, "1")
	}
	del(t, a, "ann", "news")
	del(t, a, "ann", "news")
	for _, c := range append(ann, enter(t, a, "ann"), enter(t, b, "ann")) {
		if slices.Contains(c.Member().Channels(), "news") {
			t.Error("still subscribed")
		}
	}
	mustPublish(t, a, `{"to":{"channels":["news"]},"text":"2"}`)
	mustPublish(t, a, `{"to":{"users":["ann"]},"text":"3"}`)
	for _, c := range ann {
		wantFrames(t, c, "1", "3")
	}
}

func TestLasting_DeletingEndsWhatATokenGave(t *testing.T) {
	h := alone(t)
	h.Apply(roomy(t))
	c := enter(t, h, "ann", "news", "own")
	del(t, h, "ann", "news")
	wantChannels(t, c, "own")
	wantChannels(t, enter(t, h, "ann", "news"), "news")
}

func TestLasting_LeavesNothingBehind(t *testing.T) {
	a, _, n := lastingPair(t)
	put(t, a, "ann", "news")
	for range 3 {
		one, two := enter(t, a, "ann"), enter(t, a, "ann")
		if a.lasting.count.Load() != 1 {
			t.Errorf("%d users are known, want one", a.lasting.count.Load())
		}
		a.Leave(one)
		a.Leave(two)
		if c := a.lasting.count.Load(); c != 0 || n.Subscribers("channel:news")+n.Subscribers("user:ann") != 0 {
			t.Errorf("%d users are known, %d nodes at news, %d at ann", c, n.Subscribers("channel:news"), n.Subscribers("user:ann"))
		}
	}
}

func TestLasting_WithoutAnyNothingIsRead(t *testing.T) {
	a, _, n := lastingPair(t)
	for range 10 {
		enter(t, a, "ann")
		enter(t, a, "")
	}
	if n.Reads != 0 || a.lasting.count.Load() != 0 {
		t.Errorf("%d lists were read, %d users noted", n.Reads, a.lasting.count.Load())
	}
}

func TestLasting_HasItsBounds(t *testing.T) {
	var log testkit.Log
	net := brokertest.NewNetwork()
	h := NewHub(net.Node(), ids.NewNode(), metrics.New("", ""), testkit.Logger(&log))
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	h.Apply(roomy(t))
	full := enter(t, h, "ann", "1", "2", "3", "4", "5", "6", "7")
	for i := range 8 {
		put(t, h, "ann", fmt.Sprint("c", i))
	}
	if err := h.SubscribeUser(t.Context(), "ann", "c8"); !errors.Is(err, ErrFull) {
		t.Errorf("the ninth: %v, want ErrFull", err)
	}
	put(t, h, "ann", "c7")
	wantChannels(t, full, "1", "2", "3", "4", "5", "6", "7", "c0")
	wantChannels(t, enter(t, h, "ann"), "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7")
	if h.fullLasting.Load() < 7 || strings.Count(log.String(), "limits.channels_per_connection") != 1 {
		t.Errorf("%d counted, log: %s", h.fullLasting.Load(), log.String())
	}
}

func TestLasting_FollowersAreTold(t *testing.T) {
	h := keepingAlone(t)
	f := newFan(h, "ann")
	h.FollowUser(f, Start{}, f.answer)
	testkit.Eventually(t, "it is there", f.has("ok@0"))
	say(t, h, "kept.a", "1")
	put(t, h, "ann", "kept.a")
	put(t, h, "ann", "kept.a")
	put(t, h, "ann", "plain")
	say(t, h, "kept.a", "2")
	testkit.Eventually(t, "it gets what comes", f.has(" 2"))
	del(t, h, "ann", "kept.a")
	say(t, h, "kept.a", "3")
	mustPublish(t, h, `{"to":{"users":["ann"]},"text":"end"}`)
	testkit.Eventually(t, "it gets what comes", f.has("end"))
	if got := f.text(); got != "ok@0 subscribed:kept.a@1 subscribed:plain@0 2 unsubscribed:kept.a end" {
		t.Errorf("got %s", got)
	}
	late := newFan(h, "ann")
	h.FollowUser(late, Start{}, late.answer)
	testkit.Eventually(t, "it is there", late.has("ok@1"))
	names, settled := h.Lasting(t.Context(), late)
	if !slices.Equal(names, []string{"plain"}) {
		t.Errorf("names: %q", names)
	}
	late.follow(h, "plain", Start{Anyway: true})
	settled()
	testkit.Eventually(t, "it is there", func() bool { return len(late.lines()) == 2 })
	wantChannels(t, late, "plain")
}

// What is deleted between the reading of a list and the subscription is not subscribed to.
func TestLasting_AnOrderDuringAConnectCounts(t *testing.T) {
	h := keepingAlone(t)
	for _, c := range []struct {
		name   string
		orders func()
		want   []string
	}{
		{"deleted", func() { del(t, h, "ann", "x") }, []string{"y"}},
		{"deleted and put", func() { del(t, h, "ann", "x"); put(t, h, "ann", "x") }, []string{"x", "y"}},
		{"put", func() { put(t, h, "ann", "z") }, []string{"z", "x", "y"}},
		{"put and deleted", func() { put(t, h, "ann", "z"); del(t, h, "ann", "z") }, []string{"x", "y"}},
	} {
		put(t, h, "ann", "x")
		put(t, h, "ann", "y")
		f := newFan(h, "ann")
		h.FollowUser(f, Start{}, f.answer)
		testkit.Eventually(t, "it is there", f.has("ok@"))
		names, settled := h.Lasting(t.Context(), f)
		if !slices.Equal(names, []string{"x", "y"}) {
			t.Errorf("%s: names %q", c.name, names)
		}
		c.orders()
		for _, n := range names {
			f.follow(h, n, Start{Anyway: true})
		}
		settled()
		testkit.Eventually(t, c.name, func() bool { return slices.Equal(f.member.Channels(), c.want) })
		if c.name == "deleted" && !strings.Contains(f.text(), "unsubscribed:x") {
			t.Errorf("it was not told: %s", f.text())
		}
		h.Leave(f)
		del(t, h, "ann", "z")
	}
}

// Connects, puts and deletes at once: in the end every connection has what the list has.
func TestLasting_RacesEndWithTheList(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for round := range rounds {
		a, b, _ := lastingPair(t)
		a.Apply(keepingMany(t))
		b.Apply(keepingMany(t))
		raceRound(t, round, a, b)
	}
}

func raceRound(t *testing.T, round int, a, b *Hub) {
	t.Helper()
	hubs := []*Hub{a, b}
	var mu sync.Mutex
	var conns []Conn
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 4 {
				channel := []string{"kept.a", "plain"}[rand.IntN(2)]
				if rand.IntN(2) == 0 {
					put(t, hubs[i%2], "ann", channel)
				} else {
					del(t, hubs[i%2], "ann", channel)
				}
			}
		})
		wg.Go(func() {
			var c Conn
			if i < 2 {
				c = raceConn(t, hubs[i%2], "ann")
			} else {
				c = enter(t, hubs[i%2], "ann")
			}
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, c)
		})
	}
	wg.Wait()
	lists, err := a.broker.Lasting(t.Context(), "user:ann")
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range conns {
		if !testkit.Until(func() bool { return slices.Equal(slices.Sorted(slices.Values(c.Member().Channels())), lists[0]) }) {
			t.Fatalf("round %d, connection %d: has %q, the list is %q", round, i, c.Member().Channels(), lists[0])
		}
	}
}

// raceConn connects one that follows, as session does.
func raceConn(t *testing.T, h *Hub, user string) Conn {
	t.Helper()
	f := newFan(h, user)
	done := make(chan struct{})
	h.FollowUser(f, Start{}, func(Followed, error) { close(done) })
	<-done
	names, settled := h.Lasting(t.Context(), f)
	for _, n := range names {
		f.follow(h, n, Start{Anyway: true})
	}
	settled()
	return f
}

// A node that heard nothing for a while learns what changed when it hears again.
func TestLasting_MissedOrdersAreMadeUpFor(t *testing.T) {
	a, b, n := lastingPair(t)
	put(t, a, "ann", "old")
	put(t, a, "ann", "stays")
	c := enter(t, b, "ann", "token")
	chosen := enter(t, b, "ann")
	b.unfollow(chosen, "channel:stays") // as its client wished
	n.Set(func() { n.Lose = func(*brokertest.NetworkNode, string, []byte) bool { return true } })
	del(t, a, "ann", "old")
	put(t, a, "ann", "new")
	wantChannels(t, c, "token", "old", "stays")
	n.Set(func() { n.Lose = nil })
	n.Missed()
	testkit.Eventually(t, "it has what the list has", func() bool {
		return slices.Equal(c.Member().Channels(), []string{"token", "stays", "new"})
	})
	testkit.Eventually(t, "so has the other, but for what it left", func() bool {
		return slices.Equal(chosen.Member().Channels(), []string{"new"})
	})
	mustPublish(t, a, `{"to":{"channels":["new"]},"text":"1"}`)
	wantFrames(t, c, "1")
}

func TestLasting_WhoComesWhileTheBrokerIsAwayIsSubscribedWhenItIsBack(t *testing.T) {
	a, b, n := lastingPair(t)
	put(t, a, "ann", "news")
	n.Set(func() { n.Down = true })
	c := enter(t, b, "ann")
	gone := enter(t, b, "ann")
	b.Leave(gone)
	none := enter(t, b, "bob")
	if err := a.SubscribeUser(t.Context(), "ann", "more"); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("put: %v, want ErrUnavailable", err)
	}
	if err := a.UnsubscribeUser(t.Context(), "ann", "news"); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("delete: %v, want ErrUnavailable", err)
	}
	wantChannels(t, c)
	n.Set(func() { n.Down = false })
	testkit.Eventually(t, "it is subscribed", func() bool { return slices.Equal(c.Member().Channels(), []string{"news"}) })
	mustPublish(t, a, `{"to":{"channels":["news"]},"text":"1"}`)
	wantFrames(t, c, "1")
	wantChannels(t, none)
	testkit.Eventually(t, "nothing is in doubt", func() bool {
		b.lasting.mu.Lock()
		defer b.lasting.mu.Unlock()
		return len(b.lasting.doubts) == 0 && !b.lasting.running
	})
}

// BenchmarkLasting_Connect is a connection of one of 10,000 users that comes and goes.
func BenchmarkLasting_Connect(b *testing.B) {
	server := redistest.Start(b)
	for _, on := range []string{"memory", "redis"} {
		var over Broker = memory.New()
		if on == "redis" {
			var err error
			if over, err = redisbroker.New(config.Redis{Addresses: []string{server.Addr}, Prefix: "pc"}, ids.NewNode(), metrics.New("", ""), discard()); err != nil {
				b.Fatal(err)
			}
		}
		h := newHub(b, over)
		h.Apply(roomy(b))
		testkit.Eventually(b, "there are no lists", func() bool { return !over.MayLast("user:1") })
		connect := func(lasting bool) func(*testing.B) {
			return func(b *testing.B) {
				b.ReportAllocs()
				b.SetParallelism(64)
				var next atomic.Int64
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						c := &fakeConn{member: h.NewMember()}
						_ = h.Join(context.Background(), c, fmt.Sprint(next.Add(1)%10_000), nil)
						if lasting {
							h.JoinLasting(context.Background(), c)
						}
						h.Leave(c)
					}
				})
			}
		}
		b.Run(on+"/without", connect(false))
		b.Run(on+"/none", connect(true))
		for i := range 10_000 {
			put(b, h, fmt.Sprint(i), "news")
		}
		b.Run(on+"/one each", connect(true))
	}
}
