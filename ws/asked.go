package ws

import (
	"sync"
	"sync/atomic"
)

// asked are the messages that have yet to be answered. Past half of
// websocket.inbound_total no connection begins another: it is not read until there
// is room again, so that TCP holds its client up and nothing is lost.
type asked struct {
	most  int64
	bytes atomic.Int64

	any     atomic.Bool // somebody is in stalled
	mu      sync.Mutex  // guards stalled
	stalled map[*Conn]struct{}
}

func (a *asked) full() bool {
	n := a.bytes.Load()
	return n > 0 && n >= a.most
}

// Charge implements session.Transport.
func (c *Conn) Charge(bytes int) {
	a := &c.srv.asked
	a.bytes.Add(int64(bytes))
	if bytes < 0 {
		a.relieve()
	}
}

// Hold implements session.Transport.
func (c *Conn) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds++
}

// Resume implements session.Transport.
func (c *Conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holds--; c.holds == 0 {
		c.readOnLocked()
	}
}

// Reschedule implements session.Transport.
func (c *Conn) Reschedule() { c.loop.post(c) }

// settles says whether what comes last, a Close or a FIN, waits until all requests of the
// client are answered (SPEC §5); then it is looked at again.
func (c *Conn) settles() bool {
	if c.over() || !c.srv.sessions.Settle(&c.session, c) {
		return false
	}
	c.again()
	return true
}

func (c *Conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended != nil
}

// stall says whether the connection may not begin a message now; then it is read on
// when there is room.
func (c *Conn) stall() bool {
	a := &c.srv.asked
	if !a.full() {
		return false
	}
	if !c.stalls() {
		return false // nobody is asked any more, and the peer's Close is looked for
	}
	a.mu.Lock()
	if a.stalled == nil {
		a.stalled = map[*Conn]struct{}{}
	}
	a.stalled[c] = struct{}{}
	a.any.Store(true)
	a.mu.Unlock()
	a.relieve() // perhaps the last answer came between
	return true
}

func (c *Conn) stalls() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = c.ended == nil
	c.rest = c.rest || c.stalled
	return c.stalled
}

// relieve lets all go on once half of the room is free. They compete for it; who
// finds none stalls again.
func (a *asked) relieve() {
	if !a.any.Load() || a.bytes.Load() > a.most/2 {
		return
	}
	a.mu.Lock()
	waiting := a.stalled
	a.stalled = nil
	a.any.Store(false)
	a.mu.Unlock()
	for c := range waiting {
		c.unstall()
	}
}

func (c *Conn) unstall() {
	defer c.srv.guard.Recover("connection that waited for room", c.broken)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stalled {
		c.stalled = false
		c.readOnLocked()
	}
}

// forget takes out a connection that is over.
func (a *asked) forget(c *Conn) {
	if a.any.Load() {
		a.mu.Lock()
		delete(a.stalled, c)
		a.mu.Unlock()
	}
}

// readSize is how much is read from a connection at once. The shorter memory is, the
// less: what comes behind a message that is asked has to be kept.
func (s *Server) readSize() int {
	n := s.asked.bytes.Load()
	if n == 0 {
		return readBuffer
	}
	// Half is for what is asked. What is kept must fit into the other half with it.
	switch n += s.inboundBytes.Load(); {
	case n >= s.inboundTotal/2:
		return leastRead
	case n >= s.inboundTotal/4:
		return keptBuffer
	}
	return readBuffer
}

// leastRead is enough for control frames and the heads of others.
const leastRead = 512
