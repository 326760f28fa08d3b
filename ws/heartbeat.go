package ws

import (
	"math/rand/v2"
	"time"

	"github.com/pushcart/pushcart/hub"
)

// heartbeat is when pings are sent and pongs are missed. Both happen at few moments
// only, beats of them to an interval, as a poller that wakes for one ping pays
// more for waking than for the ping.
type heartbeat struct {
	every, wait tick // websocket.ping_interval and pong_timeout
	step        tick // between two moments; divides every
}

const beats = 32

func newHeartbeat(interval, timeout time.Duration) heartbeat {
	const most = 1 << 30 // a year and a half: no sum with the clock wraps before it ends
	h := heartbeat{every: max(1, min(ticks(interval), most)), wait: max(1, min(ticks(timeout), most))}
	for h.step = max(1, h.every/beats); h.every%h.step != 0; {
		h.step--
	}
	return h
}

// first is when a new connection is pinged: at a random moment of the interval, so
// that the pings of a storm of connects are spread evenly for good.
func (h *heartbeat) first(now tick) tick {
	return h.up(now + 1 + tick(rand.Uint32N(uint32(h.every))))
}

// next is when the ping after one that was sent at the given time comes; a little
// lateness does not add up.
func (h *heartbeat) next(sent tick) tick { return (sent + h.every) / h.step * h.step }

// deadline is when the pong for a ping of now must be there.
func (h *heartbeat) deadline(now tick) tick { return h.up(now + h.wait) }

func (h *heartbeat) up(t tick) tick { return (t + h.step - 1) / h.step * h.step }

// keepAliveLocked sends the ping that is due, and ends a connection that did not
// answer one or whose token expired.
func (c *Conn) keepAliveLocked(now tick) []*hub.Message {
	if c.ended != nil {
		return nil
	}
	if c.held && now >= c.wakeAt {
		c.held = false
		c.seen.Store(uint32(now))
		c.resumeLocked()
	}
	beat := c.beat()
	switch {
	case c.expired():
		return c.endLocked(endExpired)
	case now < c.pingAt:
	case c.heldLocked() || c.inflating || c.held || c.stalled: // not read, so its pong could not be seen (SPEC §5)
		c.pinged, c.pingAt = false, beat.next(now)
	case !c.pinged:
		c.pinged, c.pingSent, c.pingAt = true, now, beat.deadline(now)
		if c.out == nil {
			c.queueLocked(item{frame: pingFrame})
		} else { // also where that is full: the pong is waited for
			c.waitLocked(item{frame: pingFrame}, 0)
		}
	case tick(c.seen.Load()) >= c.pingSent:
		c.pinged, c.pingAt = false, max(now+1, beat.next(c.pingSent))
	case c.backlog == 0 && c.sock.unread():
		c.pingAt = now + 1 // it is we who are late: the machine stood still, or there is much to read
	default:
		return c.endLocked(endNoPong)
	}
	return nil
}

var pingFrame = newFrame(opPing, nil)

// expired says whether the session's time is over.
func (c *Conn) expired() bool {
	at := c.session.Expires()
	return !at.IsZero() && !time.Now().Before(at)
}
