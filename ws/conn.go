package ws

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"sync"
	"sync/atomic"
	"unique"

	"golang.org/x/time/rate"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/webhook"
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

// Conn is one client's WebSocket. Its size is the product's promise: what only
// some connections have is behind a pointer.
type Conn struct {
	member hub.Member
	srv    *Server
	loop   *loop
	sock   socket
	slot   uint32 // in loop, with gen; set once by loop.add
	gen    uint32

	remote [16]byte             // IPv4 as mapped; a netip.Addr is 8 bytes more
	host   unique.Handle[hosts] // few hosts, many connections
	tls    bool
	window uint8       // of permessage-deflate; 0: not negotiated
	broke  atomic.Bool // something panicked on it

	// Of the reader only.
	in     *inbound
	failed bool // the peer broke the protocol: nothing it says counts any more

	seen     atomic.Uint32 // tick of the last sign of life
	inSize   atomic.Int32  // bytes of in, as charged
	outSize  atomic.Int32  // bytes of out
	inFrames atomic.Uint64 // messages that came
	inBytes  atomic.Uint64

	mu        sync.Mutex // guards all below
	phase     phase
	busy      bool // a message is with the backend: nothing is read
	held      bool // too many messages: nothing is read until more.wakeAt
	choked    bool // a pong waits to be written: nothing is read until the outbox is empty
	stalled   bool // too many messages of all wait for the backend: nothing is read until asked has room
	rest      bool // in.raw waits to be parsed once none of the four
	finIn     bool // the peer's FIN was read, and all before it
	finOut    bool // ours is sent
	gone      bool // the socket is dead or at its end
	left      bool // hub and backend know that the connection ended
	peerDone  bool // the peer's Close came, or will not be waited for
	pinged    bool // pingAt is the pong's deadline
	pingAt    tick // the next ping, or the pong's deadline; from phaseClosing on, when the end is forced
	pingSent  tick
	expires   tick // 0: never
	out       *outbox
	more      *extras // nil for most
	ended     *ending
	sequence  uint64 // of the connection's last event
	outFrames uint64
	outBytes  uint64
}

// hosts are the names that a handshake asked for: as X-Forwarded-Host says it to
// the backend, and as its Host header did.
type hosts struct{ asked, sent string }

// extras is what only some connections have.
type extras struct {
	forwardedFor string          // where it is more than the remote address
	header       []webhook.Field // kept for message events
	limiter      *rate.Limiter   // with limits.message_rate
	wakeAt       tick            // while held
	state        json.RawMessage
}

var _ hub.Conn = (*Conn)(nil)

// Member implements hub.Conn.
func (c *Conn) Member() *hub.Member { return &c.member }

func (c *Conn) remoteIP() netip.Addr { return netip.AddrFrom16(c.remote).Unmap() }

// Info implements hub.Conn.
func (c *Conn) Info() hub.Info {
	i := hub.Info{
		ConnectionID: c.member.ID(), UserID: c.member.User(), NodeID: c.srv.hub.NodeID(),
		Since: c.member.Since(), RemoteIP: c.remoteIP().String(), Channels: c.member.Channels(),
		MessagesIn: c.inFrames.Load(), BytesIn: c.inBytes.Load(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i.MessagesOut, i.BytesOut = c.outFrames, c.outBytes
	if c.more != nil {
		i.State = c.more.state
	}
	return i
}

// SetState implements hub.Conn.
func (c *Conn) SetState(state json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.more == nil {
		c.more = &extras{}
	}
	c.more.state = state
}

// end begins the end of the connection, for the reason e, unless it has one
// already. The loop does the rest. Safe from any goroutine, also under the hub's
// fan-out.
func (c *Conn) end(e *ending) {
	c.giveUp(c.endOnce(e), e)
}

func (c *Conn) endOnce(e *ending) (given []*hub.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endLocked(e)
}

// endLocked does what must be in step with the outbox; the messages that it
// returns were given up, which the caller reports after unlocking.
func (c *Conn) endLocked(e *ending) (given []*hub.Message) {
	if c.ended != nil {
		if e.final && !c.peerDone { // the peer answers our Close, or says what ends all it can say
			c.peerDone = true
			c.loop.post(c)
		}
		return nil
	}
	c.ended = e
	opening := c.phase == phaseOpening
	if e.dropQueue && c.out != nil {
		given = c.out.drop(nil)
		c.sized()
	}
	if !opening {
		c.phase = phaseClosing
	}
	c.pingAt = c.loop.now() + ticks(closeWait)
	c.peerDone = c.peerDone || e.final
	if c.haltedLocked() { // to see the peer's Close, reading goes on
		c.busy, c.held, c.choked, c.stalled = false, false, false, false
		c.resumeLocked()
	}
	switch {
	case e.abrupt:
		c.gone = true
	case e.code != CodeAbnormal:
		c.queueLocked(item{frame: closeFrame(e)})
	}
	c.loop.post(c)
	return given
}

// giveUp reports messages that will not be written because of e.
func (c *Conn) giveUp(given []*hub.Message, e *ending) {
	o := hub.Gone
	if e == endSlow {
		o = hub.Slow
	}
	for _, m := range given {
		m.Done(o)
	}
}

// hurry ends the connection as the process goes away.
func (c *Conn) hurry() { c.endSoon(endAway) }

// endSoon ends the connection, and forces its end soon.
func (c *Conn) endSoon(e *ending) {
	c.end(e)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != phaseOpening {
		c.pingAt = min(c.pingAt, c.loop.now()+ticks(hurryWait))
		c.loop.post(c)
	}
}

// Close implements hub.Conn.
func (c *Conn) Close(code int, reason string) {
	c.end(&ending{code: code, reason: reason, cause: CauseBackend})
}

// inputEnded takes the peer's FIN, when all that came before it is worked off: it
// sends no more, and may still read (SPEC §5). Only the reader calls it.
func (c *Conn) inputEnded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finIn = true
	c.endLocked(endFIN) // where there is a cause already, the peer's Close will not come
	c.sock.wantRead(false)
	c.bothEndedLocked()
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
	if c.broke.Swap(true) {
		c.dead()
		return
	}
	defer c.srv.guard.Recover("Close after a panic", c.dead)
	c.endSoon(endInternal)
}

// stillborn ends a connection whose handshake panicked when it was registered.
func (c *Conn) stillborn() {
	defer c.loop.post(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broke.Store(true)
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
