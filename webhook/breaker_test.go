package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/testkit"
)

func status(code int) verdict {
	v := verdict{result: "rejected", after: -1, answer: Answer{Status: code}}
	if code/100 == 5 {
		v.result, v.err = "error", ErrUnavailable
	}
	return v
}

var hung = verdict{result: "timeout", after: -1, err: ErrUnavailable}

// asker counts what became of messages.
type asker struct {
	*rig
	answered, unavailable int
}

// say asks once for each connection in turn, and waits.
func (a *asker) say(connections ...string) {
	for _, c := range connections {
		a.Ask(event(Message, c, 1), func(_ Answer, err error) {
			a.answered++
			if errors.Is(err, ErrUnavailable) {
				a.unavailable++
			}
		})
		synctest.Wait()
	}
}

func small(c *config.Webhook) { c.Breaker = config.Breaker{Failures: 5, Pause: 10 * time.Second} }

func TestBreaker_OpensAfterFailuresInARowAndHalfOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out testkit.Log
		next := hung
		a := &asker{rig: newRig(t, small, func(*job) verdict { return next })}
		a.rare = ratelog.New(slog.New(slog.NewTextHandler(&out, nil)))
		tried := func(what string, want int) {
			t.Helper()
			if n := len(a.log()); n != want {
				t.Fatalf("%s: the backend was asked %d times, want %d", what, n, want)
			}
		}
		a.say("a", "b", "c", "a")
		next = status(500) // an answer: not in a row
		a.say("a")
		next = hung
		a.say("a", "b", "c", "a")
		tried("one failure before it opens", 9)
		if a.Refuses() {
			t.Fatal("it is open already")
		}
		a.say("b")
		tried("the fifth in a row", 10)
		a.say("a", "d", "e")
		tried("open", 10)
		if !a.Refuses() || a.unavailable != 13 {
			t.Errorf("open: %v, %d are unavailable of %d", a.Refuses(), a.unavailable, a.answered)
		}
		time.Sleep(9 * time.Second)
		a.say("a")
		tried("within the pause", 10)
		time.Sleep(time.Second)
		a.say("a", "b")
		tried("one tries after the pause", 11)
		time.Sleep(9 * time.Second)
		a.say("a")
		tried("it paused again", 11)
		time.Sleep(time.Second)
		next = good
		a.say("a", "b", "c")
		tried("the backend is back", 14)
		if a.Refuses() || a.answered-a.unavailable != 3 {
			t.Errorf("closed: %v, %d of %d answered well", !a.Refuses(), a.answered-a.unavailable, a.answered)
		}
		for _, want := range []string{"breaker opened", "event=message", "failures=5", "pause=10s", `setting="webhook.breaker, webhook.timeout"`, "breaker closed"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%s", want, out.String())
			}
		}
		if n := strings.Count(out.String(), "breaker opened"); n != 1 {
			t.Errorf("%d lines of the opening", n)
		}
	})
}

// While one request tries, others are answered as if it were open.
func TestBreaker_OnlyOneTriesHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		next := hung
		a := &asker{rig: newRig(t, small, func(*job) verdict {
			if next.result != "timeout" {
				<-release
			}
			return next
		})}
		a.say("a", "b", "c", "a", "b")
		next = good
		time.Sleep(10 * time.Second)
		a.say("a", "b", "c", "d")
		if n := len(a.log()); n != 6 || a.answered != 8 || !a.Refuses() {
			t.Fatalf("asked %d times, %d answers, refuses %v; want 6, 8, true", n, a.answered, a.Refuses())
		}
		close(release)
		synctest.Wait()
		if a.answered != 9 || a.unavailable != 8 || a.Refuses() {
			t.Errorf("%d answers, %d unavailable, refuses %v; want 9, 8, false", a.answered, a.unavailable, a.Refuses())
		}
	})
}

func TestBreaker_WhatCountsIsThatNobodyIsThere(t *testing.T) {
	f := func(what string, v verdict, connections []string, opens bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			a := &asker{rig: newRig(t, small, func(*job) verdict { return v })}
			for range 10 {
				a.say(connections...)
			}
			if a.Refuses() != opens {
				t.Errorf("%s: open is %v, want %v", what, a.Refuses(), opens)
			}
		})
	}
	three := []string{"a", "b", "c"}
	f("timeout", hung, three, true)
	f("from two connections", hung, three[:2], false)
	f("no connection", verdict{result: "unreachable", after: -1, err: ErrUnavailable}, three, true)
	for _, code := range []int{502, 503, 504} {
		f(fmt.Sprint(code), status(code), three, true)
	}
	for _, code := range []int{200, 204, 302, 401, 404, 429, 500, 501} {
		f(fmt.Sprint(code), status(code), three, false)
	}
	f("malformed", verdict{result: "error", after: -1, err: ErrUnavailable}, three, false)
}

// 10,000 that wait for a place, for a retry or behind a notification need not each find
// out for themselves.
func TestBreaker_AnswersAllThatWaitWhenItOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000
		a := &asker{rig: newRig(t, func(c *config.Webhook) { c.MaxInFlight = 64 }, func(j *job) verdict {
			time.Sleep(5 * time.Second) // fake
			if j.event.ConnectionID == "0" {
				return verdict{result: "unreachable", after: -1, again: true, err: ErrUnavailable}
			}
			return hung
		})}
		begin := time.Now()
		took := make(chan time.Duration, n)
		for i := range n {
			conn := fmt.Sprint(i)
			if i%10 == 1 {
				a.Tell(event(Connected, conn, 1))
			}
			a.Ask(event(Message, conn, 2), func(_ Answer, err error) {
				if !errors.Is(err, ErrUnavailable) {
					t.Errorf("got %v", err)
				}
				took <- time.Since(begin)
			})
		}
		pass(5 * time.Second)
		if got := len(took); got < n-64 {
			t.Errorf("%d answers of %d, and only 64 are with the backend", got, n)
		}
		pass(5 * time.Second) // those that began when others had failed
		if got := len(took); got != n || a.queue.asked() != 0 {
			t.Errorf("%d answers of %d, %d wait", got, n, a.queue.asked())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = a.Close(ctx)
		if got := len(took); got != n {
			t.Errorf("%d answers of %d", got, n)
		}
	})
}

func TestBreaker_OfConnectAndOfMessageAreTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asker{rig: newRig(t, small, func(j *job) verdict {
			if j.event.Name == Connect {
				return hung
			}
			return good
		})}
		for i := range 8 {
			_, err := a.Connect(t.Context(), a.Settings(), event(Connect, fmt.Sprint(i), 1))
			if !errors.Is(err, ErrUnavailable) || errors.Is(err, errBreaker) != (i >= 5) {
				t.Errorf("connect %d: %v", i, err)
			}
		}
		a.say("a")
		if a.answered != 1 || a.unavailable != 0 || len(a.log()) != 6 {
			t.Errorf("message: %d answers, %d unavailable; asked %q", a.answered, a.unavailable, a.log())
		}
		// One that is not there any more when its turn comes leaves the try to others.
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 3 {
			_, err := a.Connect(ctx, a.Settings(), event(Connect, "gone", 1))
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("gone: %v", err)
			}
			synctest.Wait()
		}
		a.queue.mu.Lock()
		probe := a.queue.kindOf(Connect).breaker.probe
		a.queue.mu.Unlock()
		if probe != nil {
			t.Error("who left still holds the place of the one that tries")
		}
	})
}

func TestBreaker_ANewConfigurationCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asker{rig: newRig(t, small, func(*job) verdict { return hung })}
		a.say("a", "b", "c", "a", "b")
		if !a.Refuses() {
			t.Fatal("it is not open")
		}
		cfg := testConfig("http://other.test/")
		small(&cfg)
		a.Apply(settingsOf(t, cfg, config.Backend{}))
		if a.Refuses() {
			t.Error("it is still open: the new backend was never asked")
		}
		cfg.Breaker.Failures = 0
		a.Apply(settingsOf(t, cfg, config.Backend{}))
		for range 100 {
			a.say("a", "b", "c")
		}
		if a.Refuses() {
			t.Error("failures: 0, and it opened")
		}
	})
}

// subscribe and publish are asked once, in order with the messages of their connection,
// and have a breaker each.
func TestBreaker_OfSubscribeAndPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, small, func(j *job) verdict {
			if j.event.Name == Subscribe {
				v := status(503)
				v.again, v.err = true, ErrUnavailable
				return v
			}
			return good
		})
		var broken, failed, fine int
		ask := func(name, connection string) {
			r.Ask(event(name, connection, 1), func(_ Answer, err error) {
				switch {
				case errors.Is(err, errBreaker):
					broken++
				case err != nil:
					failed++
				default:
					fine++
				}
			})
			synctest.Wait()
		}
		for i := range 8 {
			ask(Subscribe, fmt.Sprint(i))
		}
		if broken != 3 || failed != 5 || len(r.log()) != 5 {
			t.Errorf("%d answered by the breaker, %d failed, asked %q", broken, failed, r.log())
		}
		for i := range 8 {
			ask(Publish, fmt.Sprint(i))
			ask(Message, fmt.Sprint(i))
		}
		if fine != 16 || r.Refuses() {
			t.Errorf("%d of publish and message went well", fine)
		}
	})
}
