package ws

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/hub"
)

func TestHeartbeat_KeepsTheIntervalAtFewMoments(t *testing.T) {
	f := func(interval, timeout time.Duration) {
		t.Helper()
		h := newHeartbeat(interval, timeout)
		moments := map[tick]int{}
		for range 10_000 {
			now := tick(1000)
			ping := h.first(now)
			if ping <= now || ping > now+h.every+h.step {
				t.Fatalf("%v: first ping %d ticks after %d", interval, ping-now, now)
			}
			for range 3 {
				moments[ping%h.every]++
				if wait := h.deadline(ping) - ping; wait < h.wait || wait >= h.wait+h.step {
					t.Fatalf("%v: %d ticks for the pong, want %d", interval, wait, h.wait)
				}
				if next := h.next(ping + h.step - 1); next-ping != h.every { // sent late
					t.Fatalf("%v: next ping after %d ticks, want %d", interval, next-ping, h.every)
				}
				ping = h.next(ping)
			}
		}
		if n := len(moments); n > 2*beats || int(h.every) >= beats && n < beats {
			t.Errorf("%v: pings at %d moments of the interval, want %d to %d", interval, n, beats, 2*beats)
		}
		for at, n := range moments {
			if want := 30_000 / len(moments); n < want/2 || n > want*2 {
				t.Errorf("%v: %d pings at moment %d, want about %d", interval, n, at, want)
			}
		}
	}
	f(25*time.Second, 10*time.Second)
	f(5*time.Second, 2*time.Second)
	f(7*time.Second, 6900*time.Millisecond)
	f(100*time.Millisecond, 50*time.Millisecond)
	f(time.Millisecond, time.Nanosecond)
}

// Where goroutines write, every frame waits for a moment. A ping that fell on one
// was left out, and its pong missed all the same.
func TestHeartbeat_PingsAlsoWhileFramesWait(t *testing.T) {
	f := func(name string, frames int) {
		t.Helper()
		c, out := bareConn()
		c.srv.box.Messages = 3
		out.full = true
		c.Send(textMessages(1, 1))
		for range frames - 1 {
			c.Send(textMessages(1, 1))
		}
		c.mu.Lock()
		c.keepAliveLocked(c.pingAt)
		c.mu.Unlock()
		out.full = false
		c.writable(nil, nil)
		if !bytes.HasSuffix(out.out, pingFrame) || !c.pinged {
			t.Errorf("%s: a pong is waited for, but % x was written", name, out.out)
		}
	}
	f("one", 1)
	f("as many as may", 3)
}

func TestConn_IsAttendedAtWhateverComesFirst(t *testing.T) {
	const second = tick(time.Second / tickLength)
	f := func(ping, wake, expires, want tick) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			c, _ := bareConn()
			c.pingAt, c.held, c.wakeAt = ping, wake != 0, wake
			if expires != 0 {
				c.session.ExpireAt(time.Now().Add(time.Duration(expires) * tickLength))
			}
			if got := c.dueLocked(); got != want {
				t.Errorf("ping at %d, reading again at %d, expiry at %d: due at %d", ping, wake, expires, got)
			}
		})
	}
	f(90, 0, 0, 90)
	f(90, 70, 0, 70)
	f(90, 0, 2*second, 2*second+1)
	f(90, 70, 2*second, 2*second+1)
	f(30, 70, 2*second, 30)
}

func TestConn_EndsAtOnceWhereItsTimeIsOver(t *testing.T) {
	for _, at := range []time.Time{time.Unix(0, 0), time.Now().Add(-time.Hour)} {
		c, _ := bareConn()
		c.pingAt = never
		c.session.ExpireAt(at)
		c.mu.Lock()
		due := c.dueLocked()
		c.keepAliveLocked(c.loop.now())
		c.mu.Unlock()
		if c.ended != endExpired || due > c.loop.now()+2 {
			t.Errorf("%v: ended by %v, due at %d", at, c.ended, due)
		}
	}
}

// After a pause of the machine the deadlines of many pongs are over that lie in
// their sockets: who is read later than others must not be closed for it.
func TestHeartbeat_APongThatWasNotReadYetIsNoMissingOne(t *testing.T) {
	f := func(input, choked bool, want *hub.Cause) {
		t.Helper()
		c, out := bareConn()
		c.loop.began = time.Now().Add(-time.Hour)
		c.pinged, c.pingSent, c.pingAt = true, c.loop.now()-500, c.loop.now()-300
		if out.input = input; choked {
			c.backlog = somePongs
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.keepAliveLocked(c.loop.now())
		if c.ended != want {
			t.Errorf("input %v, choked %v: ended with %+v, want %+v", input, choked, c.ended, want)
		}
	}
	f(false, false, endNoPong)
	f(true, false, nil)
	f(true, true, endNoPong) // it sends pings and does not read the pongs
}
