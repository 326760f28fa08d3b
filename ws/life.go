package ws

import (
	"time"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/session"
)

// open lets frames out: the 101 and the protocol's first, then what was pushed meanwhile.
func (c *Conn) open(response []byte, first []session.Frame) {
	var carried tally
	for _, f := range first {
		frame := c.encode(opOf(f.Kind), f.Payload)
		carried.add(frame)
		response = append(response, frame...)
	}
	c.begin(response, carried)
	c.loop.post(c)
	c.sock.start()
}

// begin writes the 101 and the messages that it carries.
func (c *Conn) begin(response []byte, carried tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.loop.now()
	c.seen.Store(uint32(now))
	queued := c.out
	c.out = nil
	if c.ended == nil {
		c.phase, c.pingAt = phaseOpen, c.beat().first(now)
	} else {
		c.phase, c.pingAt = phaseClosing, now+c.srv.forceAfter(closeWait)
	}
	c.writeLocked(item{frame: response})
	if !c.gone {
		c.countLocked(carried)
	}
	if queued != nil {
		c.appendLocked(queued)
	}
}

// appendLocked moves what was queued while opening behind the 101.
func (c *Conn) appendLocked(queued *outbox) {
	if c.out == nil {
		c.out = queued
	} else {
		for _, it := range queued.items[queued.head:] {
			c.out.push(it)
		}
		queued.items = queued.items[:0]
		queued.release(nil)
	}
	c.sized()
	c.sock.wantWrite(true)
}

// attend does what is due on the connection's loop: heartbeats, expiry, the end.
// Only the goroutine that runs the loop calls it.
func (c *Conn) attend() {
	d := c.dues()
	if !d.alive {
		return // the handshake posts again when it is done
	}
	c.giveUp(d.given, d.ended)
	if d.leave {
		c.srv.sessions.Ended(&c.session, c, d.ended)
	}
	if d.release {
		c.release()
		return
	}
	c.loop.schedule(c, d.next)
}

// dues is what is to be done for a connection now.
type dues struct {
	alive   bool
	given   []*hub.Message
	ended   *hub.Cause
	leave   bool
	release bool
	next    tick
}

func (c *Conn) dues() (d dues) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == phaseOpening || c.phase == phaseClosed {
		return d
	}
	now := c.loop.now()
	d.alive, d.given = true, c.keepAliveLocked(now)
	d.ended = c.ended
	d.leave = d.ended != nil && !c.left
	c.left = c.left || d.leave
	d.release = c.settleLocked(now)
	d.next = c.dueLocked()
	return d
}

// settleLocked takes the end one step further; true: the socket can go.
func (c *Conn) settleLocked(now tick) (release bool) {
	if c.gone {
		return true
	}
	switch {
	case c.phase < phaseClosing:
		return false
	case c.phase == phaseClosing && c.out == nil && (c.peerDone || now >= c.pingAt):
		// close(2) with unread input would send RST and destroy our Close frame, so
		// the FIN goes first and the peer's is awaited.
		c.phase, c.pingAt = phaseLingering, now+c.srv.forceAfter(lingerWait)
		c.sock.closeWrite()
		return c.gone
	}
	return now >= c.pingAt
}

// forceAfter is wait, or less while the process ends.
func (s *Server) forceAfter(wait time.Duration) tick {
	if s.closing.Load() {
		return ticks(hurryWait)
	}
	return ticks(wait)
}

func (c *Conn) dueLocked() tick {
	due := c.pingAt
	if c.ended != nil {
		return due
	}
	if c.held {
		due = min(due, c.wakeAt)
	}
	if at := c.session.Expires(); !at.IsZero() {
		due = min(due, c.loop.at(at))
	}
	return due
}

// release gives everything back, each also if another panics. The loop calls it
// once.
func (c *Conn) release() {
	defer c.srv.forget(c)
	defer c.sock.close()
	defer c.loop.remove(c)
	c.giveUp(c.closed())
}

func (c *Conn) closed() (given []*hub.Message, e *hub.Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = phaseClosed
	if c.out != nil {
		given = c.out.release(nil)
		c.out = nil
		c.sized()
	}
	return given, c.ended
}
