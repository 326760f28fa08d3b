package ws

import (
	"cmp"
	"encoding/json"
	"sync"
	"sync/atomic"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/session"
)

// phase is how far a connection's life is; it only grows.
type phase uint8

const (
	phaseOpening phase = iota // registered, the 101 is not written: frames queue
	phaseOpen
	phaseClosing   // ended; the Close frame is on its way, or the peer's awaited
	phaseLingering // FIN sent; what still comes is thrown away
	phaseClosed
)

// Conn is one client's WebSocket. Its size matters most for memory: what only some
// connections have is behind a pointer.
type Conn struct {
	session session.Session
	srv     *Server
	loop    *loop
	sock    socket
	slot    uint32 // in loop, with gen; set once by loop.add
	gen     uint32
	input   // of the reader

	mu sync.Mutex // guards output, ended, pauses and life
	output
	ended *hub.Cause
	pauses
	window uint8 // of permessage-deflate; 0: not negotiated
	failed bool  // of the reader: the peer broke the protocol, nothing it says counts any more
	life

	seen    atomic.Uint32 // tick of the last sign of life
	inSize  atomic.Int32  // bytes of in, as charged
	outSize atomic.Int32  // bytes of out
}

// input is what came.
type input struct {
	in       *inbound
	inFrames atomic.Uint64 // messages that came
	inBytes  atomic.Uint64
}

// output is what waits to be written, and what was.
type output struct {
	out         *outbox
	outMessages uint64
	outBytes    uint64 // of their frames
}

// pauses are why nothing is read.
type pauses struct {
	holds     int8 // Holds without their Resume, which may come first
	inflating bool // a message is being decompressed
	held      bool // too many messages: until wakeAt
	backlog   backlog
	stalled   bool // too many messages of all wait for the backend: until asked has room
	rest      bool // in.raw waits to be parsed when all pauses are over
}

// backlog is what the client asked for and has yet to take, before more of it is read.
type backlog uint8

const (
	_           backlog = iota
	someAnswers         // until half of the outbox is free
	somePongs           // until all of it is
)

// life is how far the connection is.
type life struct {
	phase    phase
	finIn    bool // the peer's FIN was read, and all before it
	finOut   bool // ours is sent
	gone     bool // the socket is dead or at its end
	left     bool // the session ended
	peerDone bool // the peer's Close came, or will not be waited for
	pinged   bool // pingAt is the pong's deadline
	broke    bool // something panicked on it
	pingAt   tick // the next ping, or the pong's deadline; from phaseClosing on, when the end is forced
	pingSent tick
	wakeAt   tick // while held
}

var (
	_ session.Transport = (*Conn)(nil)
	_ hub.Presenter     = (*Conn)(nil)
)

// Member implements hub.Conn.
func (c *Conn) Member() *hub.Member { return c.session.Member() }

// Session implements session.Transport.
func (c *Conn) Session() *session.Session { return &c.session }

// Info implements hub.Conn.
func (c *Conn) Info() hub.Info {
	i := c.srv.sessions.Describe(&c.session)
	i.MessagesIn, i.BytesIn = c.inFrames.Load(), c.inBytes.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	i.MessagesOut, i.BytesOut = c.outMessages, c.outBytes
	return i
}

// SetState implements hub.Conn.
func (c *Conn) SetState(state json.RawMessage) { c.srv.sessions.SetState(&c.session, state) }

// PresenceInfo implements hub.Presenter.
func (c *Conn) PresenceInfo() []byte { return c.session.PresenceInfo() }

// End implements hub.Conn.
func (c *Conn) End(cause *hub.Cause) { c.end(cause) }

// end begins the end of the connection, for the reason e, unless it has one
// already. The loop does the rest. Safe from any goroutine, also under the hub's
// fan-out.
func (c *Conn) end(e *hub.Cause) {
	c.giveUp(c.endOnce(e), e)
}

func (c *Conn) endOnce(e *hub.Cause) (given []*hub.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endLocked(e)
}

// endLocked does what must be in step with the outbox; the messages that it
// returns were given up, which the caller reports after unlocking.
func (c *Conn) endLocked(e *hub.Cause) (given []*hub.Message) {
	if c.ended != nil {
		if final(e) && !c.peerDone { // the peer answers our Close, or says what ends all it can say
			c.peerDone = true
			c.loop.post(c)
		}
		return nil
	}
	halted, opening := c.haltedLocked(), c.phase == phaseOpening
	c.ended = e
	if dropsQueue(e) && c.out != nil {
		given = c.out.drop(nil)
		c.sized()
	}
	if !opening {
		c.phase = phaseClosing
	}
	c.pingAt = c.loop.now() + ticks(closeWait)
	c.peerDone = c.peerDone || final(e)
	if halted { // to see the peer's Close, reading goes on
		c.pauses = pauses{holds: c.holds, rest: c.rest}
		c.resumeLocked()
	}
	if e.Why == hub.PeerReset {
		c.gone = true
	} else if code, reason := c.codec().protocol.Code(e); code != codeAbnormal {
		c.queueLocked(item{frame: closeFrame(code, reason)})
	}
	c.loop.post(c)
	return given
}

// giveUp reports messages that will not be written because of e.
func (c *Conn) giveUp(given []*hub.Message, e *hub.Cause) {
	o := hub.Gone
	if e != nil && e.Why == hub.SlowConsumer {
		o = hub.Slow
	}
	for _, m := range given {
		m.Done(o)
	}
}

// hurry ends the connection as the process goes away.
func (c *Conn) hurry() { c.endSoon(endAway) }

// endSoon ends the connection, and forces its end soon.
func (c *Conn) endSoon(e *hub.Cause) {
	c.end(e)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != phaseOpening {
		c.pingAt = min(c.pingAt, c.loop.now()+ticks(hurryWait))
		c.loop.post(c)
	}
}

// inputEnded takes the peer's FIN, when all that came before it is worked off: it
// sends no more, and may still read (SPEC §5). later: its requests are answered first, and
// then it is read again. Only the reader calls it.
func (c *Conn) inputEnded() (later bool) {
	if c.settles() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finIn = true
	c.endLocked(endFIN) // where there is a cause already, the peer's Close will not come
	c.sock.wantRead(false)
	c.bothEndedLocked()
	return false
}

// outputEndedLocked notes that our FIN is sent.
func (c *Conn) outputEndedLocked() {
	c.finOut = true
	c.bothEndedLocked()
}

func (c *Conn) bothEndedLocked() {
	if c.finIn && c.finOut {
		c.gone = true
		c.loop.post(c)
	}
}

// dead notes that the socket failed. Safe from any goroutine.
func (c *Conn) dead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadLocked()
}

// broken ends the connection after a panic on it: with a Close, and, where that
// panics too or did before, without.
func (c *Conn) broken() {
	defer c.loop.post(c) // the loop takes it from here, whatever step it was at
	if c.brokeBefore() {
		c.dead()
		return
	}
	defer c.srv.guard.Recover("Close after a panic", c.dead)
	c.endSoon(endInternal)
}

func (c *Conn) brokeBefore() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.broke
	c.broke = true
	return before
}

// stillborn ends a connection whose handshake panicked when it was registered.
func (c *Conn) stillborn() {
	defer c.loop.post(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broke = true
	if c.phase == phaseOpening {
		c.phase = phaseClosing
	}
	c.ended = cmp.Or(c.ended, endInternal)
	c.gone = true
}

func (c *Conn) deadLocked() {
	if c.gone {
		return
	}
	c.gone = true
	c.endLocked(endGone) // a no-op where there is a cause already
	c.loop.post(c)
}
