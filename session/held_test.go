package session

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/webhook"
)

// waiting is how many events wait to be told.
func waiting(e *Engine) int {
	all, _ := e.hooks.Waiting("", 1000)
	return len(all)
}

// lostEvents reads the metric as Prometheus does.
func lostEvents(e *Engine) (n int) {
	w := httptest.NewRecorder()
	e.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "pushcart_webhooks_total") && strings.Contains(line, `result="lost"`) {
			var one int
			_, _ = fmt.Sscan(line[strings.LastIndex(line, " "):], &one)
			n += one
		}
	}
	return n
}

// What no other node could take over is not told, unless that does not change soon.
func TestHeld_NothingIsToldBeforeTheBrokerHasIt(t *testing.T) {
	for _, stored := range []bool{true, false} {
		e, l, app := newShared(t, "connected", "disconnected")
		l.hold = true
		one, two := open(t, e, asAnn()), open(t, e, asAnn())
		l.wants(t, "here connected disconnected", "here connected disconnected")
		if waiting(e) != 2 || len(app.events) != 0 {
			t.Errorf("%d wait, told %q", waiting(e), app.events)
		}
		l.store(stored)
		app.wants(t, "connected ann 2 {}", "connected ann 2 {}")
		testkit.Eventually(t, "both are told", func() bool { return waiting(e) == 0 })
		l.mu.Lock()
		l.hold = true
		l.mu.Unlock()
		closedBy(one)
		closedBy(two)
		if waiting(e) != 2 {
			t.Errorf("%d wait, want 2", waiting(e))
		}
		l.store(stored)
		end := `disconnected ann 3 {"cause":"client","code":7003,"reason":"so it is"}`
		app.wants(t, end, end)
		testkit.Eventually(t, "nothing is left", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.records) == 0 })
		if n := len(e.roster.loose.sessions); n > 0 {
			t.Errorf("%d loose connections are left", n)
		}
	}
}

// newFull is a node with room for so many events, whose backend is away.
func newFull(t *testing.T, most int) (*Engine, *ledger, *told) {
	e, l, app := newSharedWith(t, func(c *config.Config) {
		c.Webhook.Outbox.Messages = most
		c.Webhook.Retry.Min, c.Webhook.Retry.Max = time.Hour, time.Hour
	}, "connected", "disconnected")
	app.answers(http.StatusServiceUnavailable)
	t.Cleanup(func() {
		app.answers(http.StatusNoContent)
		_ = e.hooks.Close(context.Background())
	})
	return e, l, app
}

// tried waits until all that waits had its first try.
func tried(t *testing.T, e *Engine) {
	t.Helper()
	testkit.Eventually(t, "all are tried", func() bool {
		all, _ := e.hooks.Waiting("", 1000)
		first := map[string]bool{}
		for _, p := range all {
			if p.Event == webhook.Connected {
				first[p.Connection] = p.Tries > 0 && !p.Due.IsZero()
			}
		}
		for _, is := range first {
			if !is {
				return false
			}
		}
		return true
	})
}

// A connection that ended and finds no room is told by others: whole, and in order.
func TestHandOver_WhatFindsNoRoomStaysInTheBroker(t *testing.T) {
	for _, full := range []bool{false, true} {
		e, l, _ := newFull(t, 4)
		l.full = full
		var ids []string
		for range 4 {
			c := open(t, e, "")
			tried(t, e)
			closedBy(c)
			ids = append(ids, c.Member().ID())
		}
		want, lost := ids[:2], 0
		if full {
			want, lost = nil, 4
		}
		testkit.Eventually(t, "the oldest are given up", func() bool { return waiting(e) == 4 })
		testkit.Eventually(t, "they are handed over or counted", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return slices.Equal(l.handed, want) && lostEvents(e) == lost && len(l.records) == 2
		})
	}
}

// What a node that ends could not tell is lost only if no other node has it.
func TestHandOver_AtTheEndOfTheNode(t *testing.T) {
	for _, full := range []bool{false, true} {
		e, l, _ := newFull(t, 100)
		l.full = full
		c := open(t, e, "")
		tried(t, e)
		closedBy(c)
		e.Drain()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = e.hooks.Close(ctx)
		if want := map[bool]int{false: 0, true: 2}[full]; lostEvents(e) != want {
			t.Errorf("full: %v: %d are counted as lost, want %d", full, lostEvents(e), want)
		}
		if got := len(l.handed); got != map[bool]int{false: 1, true: 0}[full] {
			t.Errorf("full: %v: %d are handed over", full, got)
		}
	}
}

// Nobody else tells of connections that came while the broker was away.
func TestBuried_ToldAreThoseThatTheBrokerNeverHad(t *testing.T) {
	e, l, app := newShared(t, "connected", "disconnected")
	stored := open(t, e, "")
	app.wants(t, "connected  2 {}")
	l.hold = true
	away, ended := open(t, e, asAnn()), open(t, e, asAnn())
	closedBy(ended)
	l.store(false) // as the broker does with what it forgets
	l.watch.Buried()
	for _, c := range []*tape{stored, away} {
		testkit.Eventually(t, "it is ended", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.ended != nil && c.ended.Why == hub.Buried })
	}
	testkit.Eventually(t, "all is told", func() bool { app.mu.Lock(); defer app.mu.Unlock(); return len(app.events) == 4 })
	testkit.Eventually(t, "nothing is left", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.records) == 0 && waiting(e) == 0
	})
	app.mu.Lock()
	defer app.mu.Unlock()
	for _, ev := range app.events {
		if !strings.Contains(ev, " ann ") {
			t.Errorf("told %s, which others tell", ev)
		}
	}
}

// A node that was buried tells both events of a connection, or neither: with the end alone
// it would come before the others' connected.
func TestBuried_OfAConnectionThatTheBrokerHadTheEndIsNotTold(t *testing.T) {
	e, l, app := newShared(t, "connected", "disconnected")
	app.answers(http.StatusServiceUnavailable)
	c := open(t, e, "") // stored, and connected waits for its retry
	tried(t, e)
	l.mu.Lock()
	l.hold = true
	l.mu.Unlock()
	closedBy(c)
	l.store(false) // the broker is away, or forgets
	l.watch.Buried()
	app.answers(http.StatusNoContent)
	testkit.Eventually(t, "nothing waits", func() bool { return waiting(e) == 0 })
	app.mu.Lock()
	defer app.mu.Unlock()
	for _, ev := range app.events {
		if strings.HasPrefix(ev, "disconnected") {
			t.Errorf("told %s, which others tell", ev)
		}
	}
}

// The events of one connection are one entry: it is there until the last is told, and none
// of them makes room for others.
func TestFacts_OfAConnectionStayTogether(t *testing.T) {
	dead, left, silent := newShared(t, "connected", "disconnected")
	silent.answers(http.StatusServiceUnavailable)
	c := open(t, dead, asAnn())
	left.mu.Lock()
	record := left.records[c.Member().ID()]
	left.mu.Unlock()

	e, l, _ := newFull(t, 1)
	at := time.Now()
	l.watch.Tell(broker.Fact{Entry: "1", Kind: broker.ConnectionLost, Name: c.Member().ID(), At: at, Record: record})
	tried(t, e)
	open(t, e, "")
	testkit.Eventually(t, "only those that the broker keeps stay", func() bool { return lostEvents(e) == 1 && waiting(e) == 2 })
	l.wantsSettled(t)
	l.watch.Withdraw(func(entry string) bool { return entry == "1" })
	all, _ := e.hooks.Waiting("", 10)
	for _, p := range all {
		if p.Connection == c.Member().ID() {
			t.Errorf("%s is told by two nodes", p.Event)
		}
	}
	l.wantsSettled(t)
}
