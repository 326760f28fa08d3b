package ws

import (
	"math"
	"sync"
	"time"

	"github.com/pushcart/pushcart/hub"
)

// closeWait is how long the peer has to answer a Close frame, lingerWait how
// long it has to end TCP after our FIN, hurryWait how long both while the process
// ends.
const (
	closeWait  = 5 * time.Second
	lingerWait = 2 * time.Second
	hurryWait  = 500 * time.Millisecond
)

// sent is what became of a frame that was handed to the outbox.
type sent uint8

const (
	sentWhole sent = iota
	sentQueued
	sentNothing // the connection is at its end
	sentFull    // the outbox is full
)

// Send implements hub.Conn: frames are written at once if nothing waits and the
// socket takes them, which is the common case and allocates nothing.
func (c *Conn) Send(batch []*hub.Message) {
	defer c.srv.guard.Recover("delivery to a connection", c.broken)
	if len(batch) == 1 {
		c.sendOne(batch[0])
		return
	}
	c.sendAll(batch)
}

func (c *Conn) sendOne(m *hub.Message) {
	s, given := c.own(item{frame: c.frameOf(m), msg: m})
	switch s {
	case sentWhole:
		m.Done(hub.Written)
	case sentQueued:
		c.srv.relieve()
	case sentNothing:
		m.Done(hub.Gone)
	case sentFull:
		m.Done(hub.Slow)
		c.giveUp(given, endSlow)
	}
}

// joiner is what joining frames into one write needs; pooled.
type joiner struct {
	scratch []byte
	done    []*hub.Message
}

var joiners = sync.Pool{New: func() any { return &joiner{scratch: make([]byte, 0, joinSize)} }}

// joinSize is how many bytes of frames are joined into one write.
const joinSize = 32 << 10

// sendAll queues several frames and writes them together.
func (c *Conn) sendAll(batch []*hub.Message) {
	j := joiners.Get().(*joiner)
	j.done = j.done[:0]
	sent, given, full := c.queueAll(j, batch)
	report(j.done)
	joiners.Put(j)
	c.giveUp(given, full)
	c.giveUp(batch[sent:], full)
	c.srv.relieve()
}

// queueAll takes messages of a batch until one does not fit; full is why.
func (c *Conn) queueAll(j *joiner, batch []*hub.Message) (sent int, given []*hub.Message, full *hub.Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := c.phase == phaseOpen && c.out == nil // nothing waits but what is queued here
	for ; sent < len(batch) && c.ended == nil && !c.gone; sent++ {
		it := item{frame: c.frameOf(batch[sent]), msg: batch[sent]}
		if idle && c.fullLocked(it) {
			j.done = c.flushLocked(j.scratch, j.done)
			idle = c.out == nil
		}
		if c.fullLocked(it) {
			full = endSlow
			given = c.endLocked(endSlow)
			break
		}
		c.waitLocked(it, 0)
	}
	if idle {
		j.done = c.flushLocked(j.scratch, j.done)
	}
	return sent, given, full
}

// Write implements session.Transport.
func (c *Conn) Write(payload []byte, kind hub.Kind) {
	defer c.srv.guard.Recover("write to a connection", c.broken)
	c.reply(c.encode(opOf(kind), payload))
}

// reply sends a frame that is not a push, unless the connection is at its end. Who asks
// for more than it reads is held up, before that makes it a slow consumer.
func (c *Conn) reply(frame []byte) {
	s, given := c.answer(item{frame: frame})
	c.giveUp(given, endSlow)
	if s == sentQueued {
		c.srv.relieve()
	}
}

// pong answers the pings of a turn, before what comes after them. While the answer
// waits nothing more is read, so that a flood of pings is held up where it comes
// from.
func (c *Conn) pong(t *turn) {
	if t.pongs == nil {
		return
	}
	c.giveUp(c.choke(t.pongs), endSlow)
	t.pongs = nil
}

func (c *Conn) choke(pongs []byte) (given []*hub.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, given := c.ownLocked(item{frame: pongs})
	if s == sentQueued {
		c.backlog = somePongs
	}
	return given
}

func (c *Conn) answer(it item) (s sent, given []*hub.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, given = c.ownLocked(it)
	if s == sentQueued && c.phase == phaseOpen && !c.roomyLocked() {
		c.backlog = max(c.backlog, someAnswers)
	}
	return s, given
}

// roomyLocked says whether half of the outbox is free.
func (c *Conn) roomyLocked() bool {
	o, box := c.out, &c.srv.box
	return o == nil || o.len() <= box.Messages/2 && o.bytes <= int(box.Bytes)/2
}

// own writes or queues a frame. Where the outbox is full the connection ends as
// slow; the pushes that it returns were given up, which the caller reports.
func (c *Conn) own(it item) (s sent, given []*hub.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ownLocked(it)
}

func (c *Conn) ownLocked(it item) (s sent, given []*hub.Message) {
	if c.ended != nil {
		return sentNothing, nil
	}
	if s = c.queueLocked(it); s == sentFull {
		given = c.endLocked(endSlow)
	}
	return s, given
}

// queueLocked writes or queues a frame.
func (c *Conn) queueLocked(it item) sent {
	if c.gone || c.phase > phaseClosing {
		return sentNothing
	}
	if c.phase != phaseOpening && c.out == nil {
		return c.writeLocked(it)
	}
	if c.fullLocked(it) {
		return sentFull
	}
	c.waitLocked(it, 0)
	return sentQueued
}

// fullLocked says whether the outbox has no room for a frame. A frame that finds
// nothing there but what is being written always has, and so has the Close frame.
func (c *Conn) fullLocked(it item) bool {
	o, box := c.out, &c.srv.box
	if o == nil || c.ended != nil || o.len() == o.pinned {
		return false
	}
	return o.len() >= box.Messages || o.bytes+it.size() > int(box.Bytes)
}

// writeLocked writes a frame past an empty outbox; what the socket does not take
// begins one.
func (c *Conn) writeLocked(it item) sent {
	n, err := c.sock.write(it.frame)
	c.wroteSomeLocked(n)
	if n == len(it.frame) {
		var whole tally
		whole.add(it.frame)
		c.countLocked(whole)
		return sentWhole
	}
	if err != nil && err != errAgain {
		c.deadLocked()
		return sentNothing
	}
	c.waitLocked(it, n)
	c.sock.wantWrite(true)
	return sentQueued
}

// waitLocked puts a frame of which written bytes are out into the outbox.
func (c *Conn) waitLocked(it item, written int) {
	if c.out == nil {
		c.out = outboxes.Get().(*outbox)
		c.out.offset = written
	}
	c.out.push(it)
	if written > 0 {
		c.out.bytes -= written
	}
	c.sized()
}

// sized keeps the node's sum of outbox bytes in step with c.out.
func (c *Conn) sized() {
	n := 0
	if c.out != nil {
		n = min(c.out.bytes, math.MaxInt32)
	}
	if old := c.outSize.Swap(int32(n)); int(old) != n {
		c.srv.outboxBytes.Add(int64(n) - int64(old))
	}
}

// droppable is how much of the outbox would be given up if the connection ended as
// slow, about.
func (c *Conn) droppable() int32 {
	size := c.outSize.Load()
	if size == 0 {
		return 0 // of most connections no more is looked at
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return 0 // what is left must be written
	}
	return size
}

func (c *Conn) countLocked(whole tally) {
	if whole.messages == 0 {
		return
	}
	c.outMessages += uint64(whole.messages)
	c.outBytes += uint64(whole.bytes)
	c.srv.counts.sent.Add(uint64(whole.messages))
	c.srv.counts.bytes.Add(uint64(whole.bytes))
}

// wroteSomeLocked counts a system call that wrote n bytes.
func (c *Conn) wroteSomeLocked(n int) {
	if n > 0 {
		c.srv.counts.writes.Add(1)
	}
}

// writable goes on writing what waits, with scratch to join frames in, until
// the socket is full again. For sockets that never block.
func (c *Conn) writable(scratch []byte, done []*hub.Message) []*hub.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.Store(uint32(c.loop.now())) // that the socket has room again is the peer's doing
	return c.flushLocked(scratch, done)
}

func (c *Conn) flushLocked(scratch []byte, done []*hub.Message) []*hub.Message {
	for c.out != nil && !c.gone {
		chunk := c.out.chunk(scratch)
		n, err := c.sock.write(chunk)
		done = c.wroteLocked(n, done)
		if err == errAgain {
			c.sock.wantWrite(true)
			break
		}
		if err != nil {
			c.deadLocked()
		}
	}
	return done
}

// wroteLocked notes that n bytes of the outbox's last chunk are out.
func (c *Conn) wroteLocked(n int, done []*hub.Message) []*hub.Message {
	c.wroteSomeLocked(n)
	if c.out == nil {
		return done
	}
	whole, done := c.out.advance(n, done)
	c.countLocked(whole)
	if c.out.onRoom != nil {
		if messages, bytes := c.roomLocked(); messages > 0 && bytes > 0 {
			c.out.tell()
		}
	}
	if c.out.len() == 0 {
		c.out.release(nil)
		c.out = nil
		c.sock.wantWrite(false)
		if c.phase == phaseClosing {
			c.loop.post(c)
		}
	}
	if c.out == nil || c.backlog == someAnswers && c.roomyLocked() {
		c.takenLocked()
	}
	c.sized()
	return done
}

// takenLocked reads on where that waited for the client to take what it asked for.
func (c *Conn) takenLocked() {
	if c.backlog > 0 {
		c.backlog = 0
		c.readOnLocked()
	}
}

func report(done []*hub.Message) {
	for i, m := range done {
		m.Done(hub.Written)
		done[i] = nil
	}
}

func closeFrame(code int, reason string) []byte {
	if code == codeNoStatus {
		return newFrame(opClose, nil)
	}
	p := append(make([]byte, 0, 2+len(reason)), byte(code>>8), byte(code))
	return newFrame(opClose, append(p, cut(reason, maxControl-2)...))
}

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
