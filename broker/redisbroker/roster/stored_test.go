package roster

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// verdicts are what declarations came to, by the names of their connections.
type verdicts struct {
	mu  sync.Mutex // guards all below
	all map[string][]bool
}

func (v *verdicts) of(name string) func(bool) {
	return func(stored bool) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.all == nil {
			v.all = map[string][]bool{}
		}
		v.all[name] = append(v.all[name], stored)
	}
}

func (v *verdicts) has(name string, want ...bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return fmt.Sprint(v.all[name]) == fmt.Sprint(want)
}

func (v *verdicts) await(t *testing.T, name string, want ...bool) {
	t.Helper()
	if !testkit.Until(func() bool { return v.has(name, want...) }) {
		v.mu.Lock()
		defer v.mu.Unlock()
		t.Fatalf("%s: %v, want %v", name, v.all[name], want)
	}
}

func arrives(name string, stored func(bool)) broker.Change {
	return broker.Change{Kind: broker.ConnectionHere, Name: name, Record: []byte("here"), Stored: stored}
}

func ends(name string, stored func(bool)) broker.Change {
	return broker.Change{Kind: broker.ConnectionEnded, Name: name, Record: []byte("ended"), Stored: stored}
}

// fieldOf is what Redis has of a connection.
func (n *testNode) fieldOf(p *probe, name string) string {
	return p.HGet(context.Background(), n.rosterKey(partitionOf(name), n.life.name()), "c"+name).Val()
}

func TestStored_IsSaidWhenRedisHasIt(t *testing.T) {
	server := redistest.Start(t)
	n, redis := beginOne(t, server.Addr), look(t, server)
	var v verdicts
	for i := range 50 {
		name := fmt.Sprint("c", i)
		for _, c := range []struct {
			change broker.Change
			want   string
		}{{arrives(name, nil), "Lhere"}, {ends(name, nil), "Eended"}} {
			said := v.of(name)
			c.change.Stored = func(stored bool) {
				if got := n.fieldOf(redis, name); got != c.want {
					t.Errorf("%s: redis has %q, want %q", name, got, c.want)
				}
				said(stored)
			}
			n.Declare(c.change)
			v.await(t, name, []bool{true, true}[:map[string]int{"Lhere": 1, "Eended": 2}[c.want]]...)
		}
	}
	n.Declare(broker.Change{Kind: broker.ConnectionGone, Name: "never here", Stored: v.of("never here")})
	v.await(t, "never here", true)
}

// Nobody waits for a Redis that is away, be it gone or silent, but for one round trip.
func TestStored_SaysThatRedisIsAway(t *testing.T) {
	var v verdicts
	never := beginOne(t, testkit.FreeAddr(t))
	never.Declare(arrives("a", v.of("a")))
	v.await(t, "a", false)

	server := redistest.Start(t)
	n := beginOne(t, server.Addr)
	n.Declare(arrives("b", v.of("b")))
	v.await(t, "b", true)
	server.Pause()
	n.Declare(arrives("c", v.of("c")))
	v.await(t, "c", false)
	for i := range Partitions { // wherever their names belong
		n.Declare(arrives(fmt.Sprint("d", i), v.of("d")))
	}
	testkit.Eventually(t, "all are told at once", func() bool { v.mu.Lock(); defer v.mu.Unlock(); return len(v.all["d"]) == Partitions })
	server.Resume()
	testkit.Eventually(t, "it is back", func() bool {
		n.Declare(arrives("e", v.of("e")))
		n.Flush(t.Context())
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.all["e"][len(v.all["e"])-1]
	})
	for i := range Partitions { // also where nothing was tried since
		name := fmt.Sprint("f", i)
		n.Declare(arrives(name, v.of(name)))
		v.await(t, name, true)
	}
}

func TestStored_WhatIsForgottenIsNot(t *testing.T) {
	server := redistest.Start(t)
	n := beginOne(t, server.Addr)
	var v verdicts
	n.Declare(arrives("a", v.of("a")))
	v.await(t, "a", true)
	thaw := n.freeze()
	n.Declare(arrives("b", v.of("b")))
	n.declared.forget()
	v.await(t, "b", false)
	thaw()
	n.Declare(arrives("c", v.of("c")))
	n.close()
	testkit.Eventually(t, "it is settled at the end", func() bool { return v.has("c", true) || v.has("c", false) })
	n.Declare(arrives("d", v.of("d")))
	v.await(t, "d", false)
}

// A record that is handed over is told once, by the owner of its partition, and not by a
// burial.
func TestHandOver_TheOwnerTellsIt(t *testing.T) {
	server := redistest.Start(t)
	nodes, redis := begin(t, server.Addr, 2), look(t, server)
	n := nodes[0]
	const most = 100
	var v verdicts
	for i := range most {
		name := fmt.Sprint("c", i)
		n.Declare(arrives(name, nil), ends(name, v.of(name)))
		if i%2 == 0 {
			v.await(t, name, true)
		}
		if !n.HandOver(name) {
			t.Fatalf("%s is not handed over", name)
		}
		n.Declare(broker.Change{Kind: broker.ConnectionGone, Name: name}) // comes too late
	}
	told := func() (facts []broker.Fact) {
		for _, n := range nodes {
			facts = append(facts, n.told()...)
		}
		return facts
	}
	testkit.Eventually(t, "all are told", func() bool { return len(told()) >= most })
	n.Flush(t.Context())
	n.close()
	testkit.Eventually(t, "it is gone", func() bool { return !redis.hasNode(n.id) })
	seen := map[string]bool{}
	for _, f := range told() {
		if f.Kind != broker.ConnectionToTell || string(f.Record) != "ended" || seen[f.Name] {
			t.Errorf("told %+v", f)
		}
		seen[f.Name] = true
	}
	if keys := redis.keys("*:roster:" + n.id + "*"); keys > 0 || len(seen) != most {
		t.Errorf("%d rosters are left, %d were told", keys, len(seen))
	}
}

func TestHandOver_OnlyOfAnEndWhileRedisIsThere(t *testing.T) {
	server := redistest.Start(t)
	n, redis := beginOne(t, server.Addr), look(t, server)
	var v verdicts
	n.Declare(arrives("lives", v.of("lives")), ends("ended", v.of("ended")))
	v.await(t, "lives", true)
	v.await(t, "ended", true)
	if n.HandOver("nobody") || n.HandOver("lives") {
		t.Error("handed over what did not end")
	}
	testkit.Eventually(t, "it is gone", func() bool { return n.fieldOf(redis, "lives") == "" })
	server.Pause()
	testkit.Eventually(t, "redis is away", func() bool {
		n.declared.mu.Lock()
		defer n.declared.mu.Unlock()
		return n.declared.away != 0
	})
	if n.HandOver("ended") {
		t.Error("handed over to a redis that is away")
	}
	server.Resume()
	testkit.Eventually(t, "it is gone as well", func() bool { return n.fieldOf(redis, "ended") == "" })
	if told := n.told(); len(told) > 0 {
		t.Errorf("told %+v", told)
	}
}

// Connections that come and go while Redis is away leave nothing behind.
func TestPart_ARedisThatIsAwayForLongCostsNoMemory(t *testing.T) {
	for _, stale := range []bool{false, true} {
		p := newPart()
		p.declare(&broker.Change{Kind: broker.ConnectionHere, Name: "stays"})
		p.take()
		p.fail()
		if p.stale = stale; stale {
			p.lose()
		}
		for i := range 100_000 {
			name := fmt.Sprint(i)
			p.declare(&broker.Change{Kind: broker.ConnectionHere, Name: name})
			p.declare(&broker.Change{Kind: broker.UserHere, Name: name})
			p.declare(&broker.Change{Kind: broker.ConnectionEnded, Name: name})
			p.declare(&broker.Change{Kind: broker.ConnectionGone, Name: name})
			p.declare(&broker.Change{Kind: broker.UserGone, Name: name})
			if len(p.entries) > 3*changesAtOnce || len(p.queue) > 3*changesAtOnce {
				t.Fatalf("stale %v: %d entries and %d changes after %d connections", stale, len(p.entries), len(p.queue), i)
			}
		}
		if e := p.entries[key{letter: 'c', name: "stays"}]; e == nil || !stale && !e.maybe {
			t.Errorf("stale %v: who stays is %+v", stale, e)
		}
	}
}
