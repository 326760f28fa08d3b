package registry

import (
	"sync/atomic"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/receipt"
)

// Message is what one push delivers on this node. It is shared by all
// connections that get it and does not change.
type Message struct {
	// Kind and Data are the payload.
	Kind Kind
	Data []byte
	// ID names the message for clients; Event is what the push calls it, "" if
	// nothing.
	ID, Event string
	// From is the user that published it, "" for the backend. Ack: clients are to confirm
	// it; see Hub.Acknowledge.
	From string
	Ack  bool
	// Topic is the destination, like "channel:news"; see [Message.Channel].
	Topic string
	// Offset is the message's place in the stream of its topic, 0 if it is not kept, and
	// Epoch the stream's.
	Offset uint64
	Epoch  string
	// NewEpoch: the epoch is another than that of the message before, or somebody was told
	// none yet. Set before the message is sent.
	NewEpoch bool
	// Accepted is when the push was accepted, in Unix nanoseconds.
	Accepted int64
	// Presence is of the kinds that tell of members; else nil.
	Presence *broker.Presence

	first   encoded // most messages are wanted in one encoding
	others  atomic.Pointer[encoded]
	Receipt *receipt.Receipt
}

// Channel is the channel that the message was published to, "" if it was pushed to a
// user, a connection or everyone.
func (m *Message) Channel() string {
	if kind, name := SplitTopic(m.Topic); kind == ChannelTopic {
		return name
	}
	return ""
}

// Encoding is one way to write messages to clients: a protocol's, for one
// transport, compressed or not.
type Encoding uint8

// encoded is a message in one encoding; the other fields are set before state says
// that they are.
type encoded struct {
	state atomic.Uint32
	as    Encoding
	bytes []byte
	next  *encoded
}

const (
	encodedNot = iota
	encodedSoon
	encodedReady
)

// Encoded returns the message in an encoding, made by encode at the first call and
// then kept. It never waits: who calls while another's encode runs encodes for
// himself.
func (m *Message) Encoded(as Encoding, encode func(*Message) []byte) []byte {
	if m.first.state.Load() == encodedReady {
		if m.first.as == as {
			return m.first.bytes
		}
		for e := m.others.Load(); e != nil; e = e.next {
			if e.as == as {
				return e.bytes
			}
		}
	}
	b := encode(m)
	if m.first.state.CompareAndSwap(encodedNot, encodedSoon) {
		m.first.as, m.first.bytes = as, b
		m.first.state.Store(encodedReady)
		return b
	}
	e := &encoded{as: as, bytes: b}
	for {
		e.next = m.others.Load()
		if m.others.CompareAndSwap(e.next, e) {
			return b
		}
	}
}

// Done reports what became of one Send; a no-op unless the publisher waits for
// it.
func (m *Message) Done(o receipt.Outcome) {
	if m.Receipt != nil {
		m.Receipt.Done(o)
	}
}
