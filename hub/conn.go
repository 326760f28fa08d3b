package hub

import (
	"encoding/json"
	"sync/atomic"
	"time"
)

// Kind says what the payload of a message is.
type Kind uint8

// The kinds of payload (SPEC §6.1).
const (
	Text   Kind = iota // UTF-8
	JSON               // JSON, as the backend wrote it
	Binary             // any bytes
)

// Conn is what the hub needs from a connection. Package ws implements it.
type Conn interface {
	// Member is the hub's own record of the connection; always the same pointer.
	Member() *Member
	// Send queues or writes the messages' frames, in this order, and never blocks;
	// several go out in one write. The connection calls Done of each message exactly
	// once, now or later, from any goroutine. It does not keep the slice.
	Send(messages []*Message)
	// Close ends the connection on the backend's behalf (SPEC §6.2 disconnect).
	// Only the first cause of a connection's end counts.
	Close(code int, reason string)
	// Info describes the connection for the API.
	Info() Info
	// SetState replaces the connection's state (SPEC §5 state).
	SetState(state json.RawMessage)
}

// Info is one connection as GET /v1/connections/{id} shows it.
type Info struct {
	ConnectionID string          `json:"connection_id"`
	UserID       string          `json:"user_id"`
	NodeID       string          `json:"node_id"`
	Since        time.Time       `json:"since"`
	RemoteIP     string          `json:"remote_ip"`
	Channels     []string        `json:"channels"`
	MessagesIn   uint64          `json:"messages_in"`
	BytesIn      uint64          `json:"bytes_in"`
	MessagesOut  uint64          `json:"messages_out"`
	BytesOut     uint64          `json:"bytes_out"`
	State        json.RawMessage `json:"state,omitempty"`
}

// Outcome is what became of one Send.
type Outcome uint8

// The outcomes of Send.
const (
	Written Outcome = iota // handed to the socket whole
	Slow                   // the outbox was full; the connection is closed
	Gone                   // the connection ended before
)

// Protocols is the number of frame encodings that a message may be cached in.
const Protocols = 2

// Message is what one push delivers on this node. It is shared by all
// connections that get it and does not change.
type Message struct {
	// Kind and Data are the payload.
	Kind Kind
	Data []byte
	// Accepted is when the push was accepted, in Unix nanoseconds.
	Accepted int64

	frames  [Protocols]frame
	receipt *receipt
}

// frame is a message in one encoding; bytes is set before state says frameReady.
type frame struct {
	state atomic.Uint32
	bytes []byte
}

const (
	frameNone = iota
	frameComing
	frameReady
)

// Frame returns the message in the encoding with the given index, made by encode
// at the first call and then kept. It never waits: who calls while another's
// encode runs encodes for himself.
func (m *Message) Frame(protocol int, encode func(*Message) []byte) []byte {
	f := &m.frames[protocol]
	if f.state.Load() == frameReady {
		return f.bytes
	}
	b := encode(m)
	if f.state.CompareAndSwap(frameNone, frameComing) {
		f.bytes = b
		f.state.Store(frameReady)
	}
	return b
}

// Done reports what became of one Send; a no-op unless the publisher waits for
// it.
func (m *Message) Done(o Outcome) {
	if m.receipt != nil {
		m.receipt.done(o)
	}
}
