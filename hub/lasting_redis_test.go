package hub

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

func redisHub(t *testing.T, addr string) *Hub {
	t.Helper()
	b, err := redisbroker.New(config.Redis{Addresses: []string{addr}, Prefix: "pc"}, ids.NewNode(), metrics.New("", ""), discard())
	if err != nil {
		t.Fatal(err)
	}
	h := newHub(t, b)
	h.Apply(keepingMany(t))
	testkit.Eventually(t, "there are no lists", func() bool { return b.Up() && !b.MayLast("user:0") })
	return h
}

// The first lists of all begin while their users connect to the other node.
func TestLasting_OverRedisNoConnectMissesAPut(t *testing.T) {
	server := redistest.Start(t)
	hubs := []*Hub{redisHub(t, server.Addr), redisHub(t, server.Addr)}
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	for i := range rounds {
		user, h := fmt.Sprint(i), hubs[i%2]
		var conns [2]Conn
		var wg sync.WaitGroup
		wg.Go(func() { put(t, hubs[(i+1)%2], user, "kept.a") })
		for n := range conns {
			wg.Go(func() {
				c := &fakeConn{member: h.NewMember()}
				if n == 0 {
					if err := h.Join(context.Background(), c, user, nil); err != nil {
						t.Error(err)
					}
					h.JoinLasting(context.Background(), c)
					conns[n] = c
					return
				}
				conns[n] = raceConn(t, h, user)
			})
		}
		wg.Wait()
		for n, c := range conns {
			if !testkit.Until(func() bool { return slices.Equal(c.Member().Channels(), []string{"kept.a"}) }) {
				t.Fatalf("round %d, connection %d: has %q", i, n, c.Member().Channels())
			}
		}
	}
}

// A node's connections to Redis are cut while lists change.
func TestLasting_OverRedisACutNodeMakesUpForWhatItMissed(t *testing.T) {
	server := redistest.Start(t)
	vip := redistest.NewVIP(t, server.Addr)
	cut, other := redisHub(t, vip.Addr), redisHub(t, server.Addr)
	put(t, other, "ann", "old")
	var conns []Conn
	for range 3 {
		conns = append(conns, enter(t, cut, "ann"))
		conns = append(conns, raceConn(t, cut, "ann"))
	}
	for round := range 5 {
		release := vip.Hold()
		vip.Cut()
		del(t, other, "ann", "old")
		name := fmt.Sprint("new", round)
		put(t, other, "ann", name)
		conns = append(conns, enter(t, cut, "ann"))
		release()
		for i, c := range conns {
			if !testkit.Until(func() bool { return slices.Equal(c.Member().Channels(), []string{name}) }) {
				t.Fatalf("round %d, connection %d: has %q, want %s", round, i, c.Member().Channels(), name)
			}
		}
		put(t, other, "ann", "old")
		del(t, other, "ann", name)
		for i, c := range conns {
			if !testkit.Until(func() bool { return slices.Equal(c.Member().Channels(), []string{"old"}) }) {
				t.Fatalf("round %d, connection %d: has %q, want old", round, i, c.Member().Channels())
			}
		}
	}
}
