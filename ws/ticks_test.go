package ws

import (
	"math"
	"testing"
	"time"
)

const year = 365 * 24 * time.Hour

// TestTicks_NeverWrap: an exp 6.81 years ahead used to close the connection after
// 50 ms.
func TestTicks_NeverWrap(t *testing.T) {
	f := func(d time.Duration, want tick) {
		t.Helper()
		if got := ticks(d); got != want {
			t.Errorf("%v: got %d, want %d", d, got, want)
		}
	}
	f(-time.Second, 0)
	f(0, 0)
	f(1, 1)
	f(tickLength, 1)
	f(tickLength+1, 2)
	f(time.Duration(never-2)*tickLength, never-2)
	f(time.Duration(never)*tickLength, never-1)
	f(7*year, never-1)
	f(math.MaxInt64, never-1)
}

func TestLoop_AMomentFarAwayNeverComes(t *testing.T) {
	f := func(uptime, until time.Duration, want tick) {
		t.Helper()
		l := &loop{began: time.Now().Add(-uptime)}
		if got := l.at(time.Now().Add(until)); got != want && (want == never || got < want-2 || got > want+2) {
			t.Errorf("up %v, %v ahead: got %d, want %d", uptime, until, got, want)
		}
	}
	f(0, -time.Hour, 1)
	f(0, time.Minute, 1+60*20)
	f(year, year, tick(2*year/tickLength))
	f(time.Hour, 6*year+81*year/100, never)
	f(0, 7*year, never)
	f(3*year, 4*year, never)
	f(0, math.MaxInt64, never)
	l := &loop{began: time.Now()}
	if got := l.at(time.Unix(1<<40, 0)); got != never {
		t.Errorf("the year 36812: got %d, want never", got)
	}
}

func TestHeartbeat_LongIntervalsDoNotWrap(t *testing.T) {
	h := newHeartbeat(7*year, 69*year/10)
	if h.every < ticks(year) || h.wait < ticks(year) {
		t.Errorf("%+v: wrapped", h)
	}
	for _, now := range []tick{0, ticks(year), ticks(2 * year)} {
		for _, due := range []tick{h.first(now), h.next(now), h.deadline(now)} {
			if due <= now {
				t.Errorf("%+v: due at %d, which is not after %d", h, due, now)
			}
		}
	}
}
