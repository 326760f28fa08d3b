package ws

import (
	"math"
	"unicode/utf8"

	"github.com/pushcart/pushcart/hub"
)

// framesAtOnce is how many frames of one connection are taken before others have
// their turn, so that a flood of small ones holds up nobody else.
const framesAtOnce = 256

// turn is one connection's turn with the reader.
type turn struct {
	frames int
	pongs  []byte // for one write, as many writes are what makes a flood of pings dear
}

// received takes what a read of the socket gave, and returns how many frames it
// parsed. b may be changed and is not kept.
func (c *Conn) received(b []byte) (frames int) {
	c.seen.Store(uint32(c.loop.now()))
	return c.feed(b)
}

// feed parses b after what was kept. Only the reader calls it.
func (c *Conn) feed(b []byte) (frames int) {
	if c.in != nil && len(c.in.raw) > 0 {
		b = append(c.in.raw, b...)
		c.in.raw = b[:0]
	}
	if c.inSize.Load() == shed {
		c.failed = true
	}
	var t turn
	for len(b) > 0 && !c.failed {
		if t.frames == framesAtOnce || c.halted() {
			break
		}
		n, fault := c.step(&t, b)
		if fault != nil {
			c.pong(&t)
			c.failed = true
			c.end(fault)
			break
		}
		if n == 0 {
			break
		}
		b = b[n:]
	}
	c.pong(&t)
	if len(b) > 0 && !c.failed {
		c.keep(b)
		if t.frames == framesAtOnce {
			c.again()
		}
	}
	c.tidy()
	return t.frames
}

// again has what was kept parsed at the connection's next turn.
func (c *Conn) again() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = true
	c.loop.post(c)
}

// halted says whether nothing may be parsed now; then what is left will be
// parsed when that is over.
func (c *Conn) halted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.haltedLocked() {
		return false
	}
	c.rest = true
	return true
}

func (c *Conn) haltedLocked() bool {
	return c.heldLocked() || c.inflating || c.held || c.backlog > 0 || c.stalled
}

// heldLocked says whether the session wants nothing to be read. At the end of the
// connection the peer's Close is read all the same.
func (c *Conn) heldLocked() bool { return c.holds > 0 && c.ended == nil }

// takeRest says whether kept bytes may be parsed now.
func (c *Conn) takeRest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.rest || c.haltedLocked() || c.phase == phaseOpening {
		return false
	}
	c.rest = false
	return true
}

// keep stores bytes that cannot be parsed yet.
func (c *Conn) keep(b []byte) {
	c.unfinished().raw = append(c.in.raw[:0], b...)
}

func (c *Conn) unfinished() *inbound {
	if c.in == nil {
		c.in = inbounds.Get().(*inbound)
	}
	return c.in
}

// tidy gives back buffers that hold nothing and charges for those that do.
func (c *Conn) tidy() {
	if c.in != nil && (c.failed || c.in.empty()) {
		c.in.release()
		c.in = nil
	}
	c.charge()
}

// shed is the inSize of a connection that was picked to make room.
const shed = -1

// charge keeps the node's sum of unfinished input in step with c.in.
func (c *Conn) charge() {
	n := int32(0)
	if c.in != nil {
		n = int32(min(c.in.size(), math.MaxInt32))
	}
	old := c.inSize.Load()
	if old == n || old == shed || !c.inSize.CompareAndSwap(old, n) {
		return
	}
	if sum := c.srv.inboundBytes.Add(int64(n - old)); n > old && sum+c.srv.asked.bytes.Load() > c.srv.inboundTotal {
		c.srv.shedInbound()
	}
}

// dropInput gives back what the reader holds; the connection is over.
func (c *Conn) dropInput() {
	c.failed = true
	c.tidy()
}

// step takes one frame, or what is there of it, from the start of b, and returns
// how many bytes it used; 0: more are needed.
func (c *Conn) step(t *turn, b []byte) (int, *hub.Cause) {
	if c.in != nil && c.in.busy {
		return c.payload(t, b)
	}
	h, ok, err := parseHeader(b)
	if err != nil {
		return 0, protocolError("bad frame length")
	}
	if !ok {
		return 0, nil
	}
	if fault := c.check(h); fault != nil {
		return 0, fault
	}
	switch h.op {
	case opText, opBinary:
		if c.stall() {
			return 0, nil
		}
	case opClose:
		if c.settles() {
			return 0, nil
		}
	}
	t.frames++
	rest := b[h.size:]
	if int64(len(rest)) < h.length {
		in := c.unfinished()
		in.head, in.got, in.busy = h, 0, true
		in.begin(h)
		return h.size, nil
	}
	p := rest[:h.length]
	unmask(p, h.key, 0)
	return h.size + len(p), c.frame(t, h, p)
}

// missing is how much of the frame that is arriving has yet to come.
func (c *Conn) missing() int {
	if c.in == nil || !c.in.busy || c.failed {
		return 0
	}
	return int(c.in.head.length - c.in.got)
}

// check refuses a frame head that RFC 6455 §5 forbids, before any of its payload
// is kept.
func (c *Conn) check(h header) *hub.Cause {
	begun := c.in != nil && c.in.op != 0
	switch {
	case h.rsv != 0 && !c.mayCompress(h):
		return protocolError("reserved bits set")
	case !h.masked:
		return protocolError("frame not masked")
	case h.op > opPong, h.op > opBinary && h.op < opClose:
		return protocolError("unknown opcode")
	case h.op >= opClose && !h.fin:
		return protocolError("fragmented control frame")
	case h.op >= opClose && h.length > maxControl:
		return protocolError("control frame too long")
	case h.op >= opClose:
		return nil
	case h.op == opContinuation && !begun:
		return protocolError("continuation of nothing")
	case h.op != opContinuation && begun:
		return protocolError("message inside a message")
	}
	have, most := int64(0), c.srv.maxMessage
	if begun {
		have = int64(len(c.in.message))
	}
	if h.rsv != 0 || begun && c.in.compressed {
		most = compressedLimit(most)
	}
	if h.length > most-have {
		return endTooBig
	}
	return nil
}

// mayCompress says whether a frame with reserved bits set is right all the same:
// the first of a compressed message (RFC 7692 §6).
func (c *Conn) mayCompress(h header) bool {
	return c.window != 0 && h.rsv == rsv1 && (h.op == opText || h.op == opBinary)
}

// payload takes bytes of the frame that is arriving.
func (c *Conn) payload(t *turn, b []byte) (int, *hub.Cause) {
	in := c.in
	n := int(min(int64(len(b)), in.head.length-in.got))
	p := b[:n]
	unmask(p, in.head.key, int(in.got&3))
	in.got += int64(n)
	whole := in.got == in.head.length
	in.busy = !whole
	if in.head.op >= opClose {
		in.control = append(in.control, p...)
		if !whole {
			return n, nil
		}
		fault := c.control(t, in.head.op, in.control)
		in.control = in.control[:0]
		return n, fault
	}
	return n, c.fragment(t, p, whole && in.head.fin)
}

// frame takes a whole frame.
func (c *Conn) frame(t *turn, h header, p []byte) *hub.Cause {
	switch {
	case h.op >= opClose:
		return c.control(t, h.op, p)
	case h.fin && h.op != opContinuation && h.rsv == 0:
		if h.op == opText && !utf8.Valid(p) {
			return endUTF8
		}
		c.message(t, h.op, p)
		return nil
	}
	c.unfinished().begin(h)
	return c.fragment(t, p, h.fin)
}

// fragment adds to the message that is arriving; last ends it.
func (c *Conn) fragment(t *turn, p []byte, last bool) *hub.Cause {
	in := c.in
	text := in.op == opText && !in.compressed
	if text && !in.text.feed(p) {
		return endUTF8
	}
	in.message = append(in.message, p...)
	if !last {
		return nil
	}
	switch {
	case text && !in.text.done():
		return endUTF8
	case in.compressed:
		c.compressed(t, in.op, in.message)
		in.message = nil
	default:
		c.message(t, in.op, in.message)
	}
	in.endMessage()
	return nil
}

// control answers a control frame (RFC 6455 §5.5). A pong needs nothing: that
// something came at all is the sign of life.
func (c *Conn) control(t *turn, op byte, p []byte) *hub.Cause {
	switch op {
	case opPing:
		t.pongs = appendFrame(t.pongs, opPong, p)
	case opClose:
		return c.peerClose(p)
	}
	return nil
}

// peerClose answers the peer's Close with the same code.
func (c *Conn) peerClose(p []byte) *hub.Cause {
	e := &hub.Cause{Why: hub.PeerClosed, Code: codeNoStatus}
	switch {
	case len(p) == 1:
		return protocolError("bad close frame")
	case len(p) >= 2:
		e.Code, e.Reason = int(p[0])<<8|int(p[1]), string(p[2:])
		if !validPeerCode(e.Code) {
			return protocolError("bad close code")
		}
		if !utf8.ValidString(e.Reason) {
			return endUTF8
		}
	}
	return e
}
