package ws

import (
	"time"

	"github.com/pushcart/pushcart/hub"
)

// message hands a whole message of the client to its protocol; where that asks the
// backend, nothing more is read until the answer (SPEC §5 Order and back-pressure).
// p is not kept.
func (c *Conn) message(t *turn, op byte, p []byte) {
	if t.pongs != nil && (c.srv.sessions.Asks() || c.session.ProtocolIndex() > 0) { // perhaps it is answered
		c.pong(t)
	}
	if c.takes(len(p)) {
		c.codec().protocol.Input(c.srv.sessions, &c.session, c, kindOf(op), p)
	}
}

// takes counts a message; false: the connection is at its end.
func (c *Conn) takes(size int) bool {
	c.inFrames.Add(1)
	c.inBytes.Add(uint64(size))
	c.srv.counts.messages.Add(1)
	wait := c.srv.sessions.Throttle(&c.session)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return false
	}
	if wait > 0 {
		c.held, c.wakeAt = true, c.loop.at(time.Now().Add(wait))
		c.loop.post(c)
	}
	return true
}

func kindOf(op byte) hub.Kind {
	if op == opBinary {
		return hub.Binary
	}
	return hub.Text
}

// compressed takes a whole message that has to be decompressed first; nothing
// more is read meanwhile. data is not the reader's any more.
func (c *Conn) compressed(t *turn, op byte, data []byte) {
	c.pong(t)
	if c.inflates() {
		c.srv.inflater.push(deflated{c: c, op: op, data: data})
	}
}

func (c *Conn) inflates() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inflating = c.ended == nil
	return c.inflating
}

// inflated goes on with what compressed began.
func (c *Conn) inflated(op byte, p []byte, fault *hub.Cause) {
	if fault != nil {
		c.end(fault)
	} else {
		c.message(&turn{}, op, p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inflating = false
	if !c.heldLocked() {
		c.readOnLocked()
	}
}

// readOnLocked is called when a message is done with.
func (c *Conn) readOnLocked() {
	if !c.held {
		c.seen.Store(uint32(c.loop.now())) // its pong deadline stood still
		c.resumeLocked()
	}
}

// resumeLocked goes on reading: first what was kept, then what comes.
func (c *Conn) resumeLocked() {
	if c.phase == phaseClosed || c.phase == phaseOpening || c.finIn {
		return
	}
	if c.rest {
		c.loop.post(c)
	}
	c.sock.wantRead(true)
}
