package ws

import "sync"

// inbound is the unfinished input of a connection: part of a frame, part of a
// fragmented message, or bytes that wait while the backend answers. A connection
// has one only while there is any.
type inbound struct {
	// raw are bytes that were read and not looked at: part of a frame head, or
	// what came after a message that is being answered.
	raw []byte

	// The frame whose payload is arriving.
	head header
	got  int64 // payload bytes of it that came
	busy bool  // there is one

	// The control frame whose payload is arriving, inside or between messages.
	control []byte

	// The message that its frames make.
	message    []byte
	op         byte // of its first frame, 0: none begun
	text       utf8Checker
	compressed bool
}

var inbounds = sync.Pool{New: func() any { return new(inbound) }}

// readBuffer is how much is read at once.
const readBuffer = 64 << 10

// keptBuffer is the largest buffer that goes back to the pool.
const keptBuffer = 4 << 10

func (in *inbound) empty() bool { return len(in.raw) == 0 && !in.busy && in.op == 0 }

// size is what the connection is charged for in websocket.inbound_total.
func (in *inbound) size() int { return cap(in.raw) + cap(in.message) + cap(in.control) }

func (in *inbound) release() {
	raw, message, control := in.raw, in.message, in.control
	*in = inbound{}
	if cap(raw) <= keptBuffer {
		in.raw = raw[:0]
	}
	if cap(message) <= keptBuffer {
		in.message = message[:0]
	}
	in.control = control[:0]
	inbounds.Put(in)
}

// begin notes a data frame's head; a continuation's says nothing new.
func (in *inbound) begin(h header) {
	if h.op == opText || h.op == opBinary {
		in.op, in.compressed = h.op, h.rsv != 0
	}
}

func (in *inbound) endMessage() {
	in.op, in.text, in.compressed = 0, utf8Checker{}, false
	in.message = in.message[:0]
}
