package envelope

import (
	"encoding/binary"
	"errors"

	"github.com/pushcart/pushcart/hub/internal/registry"
)

// Version is the first byte of every envelope, so that nodes of two versions can run side
// by side; the kind is the second.
const Version = 1

// Kinds of envelope.
const (
	PushKind    = 1 // a message to deliver
	ReceiptKind = 2 // what became of it on one node
	OrderKind   = 3 // a request, JSON, carried out in order with the pushes
	QueryKind   = 4 // a request, JSON, in no order
	ReplyKind   = 5 // one node's answer to a request, JSON
	EndingKind  = 6 // an order that takes connections away, JSON: after all pushes before it
	BulkKind    = 7 // what pushes that come after it refer to
)

// Flags of a push envelope, beside the Kind in its lowest bits.
const (
	flagKind       = 0x03
	flagReceipt    = 0x04 // the publisher waits for receipts
	flagConnection = 0x08 // it is for one connection of the node
	flagExcept     = 0x10 // some are not to get it
	flagSkip       = 0x20 // some get it by another target
	flagBulk       = 0x40 // who that is, who is excepted, and the payload, are in a bulk
	flagWhole      = 0x80 // with flagBulk: of these only who gets it by another target
)

// kindMore stands in the place of a Kind that is in a second byte, with these flags.
const (
	kindMore = registry.Kind(3)
	moreFrom = 0x04 // a client published it
	moreAck  = 0x08 // clients are to confirm it
)

// ErrUnreadable: bytes that no node of this version sends.
var ErrUnreadable = errors.New("push: unreadable envelope")

// Envelope is a push on its way to a node.
type Envelope struct {
	Kind     registry.Kind
	Accepted int64 // Unix nanoseconds
	// ID and Event are the push's, for clients that see them.
	ID, Event string
	// From is the user that published it, "" for the backend; Ack: clients are to confirm
	// it.
	From string
	Ack  bool
	// Receipt is where to report; of no node if nobody waits.
	Receipt ReturnAddress
	// Connection is who gets it, if one is set.
	One        bool
	Connection uint64
	Except     Except
	Skip       Skip
	Bulk       *BulkRef // has what is not here, if set
	Payload    []byte
}

// Apart: not all connections of the topic get the message, or it wants a receipt.
func (e *Envelope) Apart() bool {
	return e.One || e.Receipt.Node != "" || e.Bulk != nil || !e.Except.empty() || !e.Skip.Empty()
}

// ReturnAddress is the publisher's node, its number for the push, and how many
// milliseconds it waits for frames to be written.
type ReturnAddress struct {
	Node    string
	Request uint64
	Wait    uint64
}

// Except lists whose connections a push is not for. Where the message is kept, the
// users are kept with it, for every later reader; connections are only those
// that are open.
type Except struct{ Users, Connections []string }

func (x *Except) empty() bool { return len(x.Users)+len(x.Connections) == 0 }

// Size is about how many bytes it takes on the wire.
func (x *Except) Size() int { return SizeOf(x.Users) + SizeOf(x.Connections) }

// Skip lists whose connections do not get a message as other targets of the same push
// bring it to them: its users, all its channels (of which only those before the
// message's own count), its connections. As every node applies it alike, a connection
// that several targets match gets one frame without anybody remembering what was sent
// (SPEC §6.1). It holds for live delivery only: a reader of a stream wants all of it.
type Skip struct{ Users, Channels, Connections []string }

// Empty says whether nobody is skipped.
func (s *Skip) Empty() bool { return len(s.Users)+len(s.Channels)+len(s.Connections) == 0 }

// Size is about how many bytes it takes on the wire.
func (s *Skip) Size() int {
	return SizeOf(s.Users) + SizeOf(s.Channels) + SizeOf(s.Connections)
}

// SizeOf is about how many bytes a list of names takes on the wire.
func SizeOf(list []string) (n int) {
	for _, name := range list {
		n += len(name) + 2
	}
	return n
}

func (e *Envelope) flags() byte {
	flags := byte(e.Kind)
	if e.more() != 0 {
		flags = byte(kindMore)
	}
	if e.Receipt.Node != "" {
		flags |= flagReceipt
	}
	if e.One {
		flags |= flagConnection
	}
	if !e.Except.empty() {
		flags |= flagExcept
	}
	if !e.Skip.Empty() {
		flags |= flagSkip
	}
	if e.Bulk != nil {
		flags |= flagBulk
		if e.Bulk.Whole {
			flags |= flagWhole
		}
	}
	return flags
}

// more are the flags of the second byte, 0 where there is none.
func (e *Envelope) more() (flags byte) {
	if e.From != "" {
		flags |= moreFrom
	}
	if e.Ack {
		flags |= moreAck
	}
	return flags
}

// Encode returns the envelope as bytes, with no slack.
func (e *Envelope) Encode() []byte {
	return e.Append(make([]byte, 0, e.size()))
}

// size is what append writes at most: what is kept in memory should have no slack.
func (e *Envelope) size() int {
	const head, address, reference = 4 + 8 + 2 + 2, 2*binary.MaxVarintLen64 + 2, binary.MaxVarintLen64 + 2
	n := head + len(e.ID) + len(e.Event) + len(e.Payload)
	if e.more() != 0 {
		n += 3 + len(e.From)
	}
	if e.Receipt.Node != "" {
		n += address + len(e.Receipt.Node)
	}
	if e.One {
		n += 8
	}
	if e.From != "" {
		n += 2 + len(e.From)
	}
	if !e.Except.empty() {
		n += 2*binary.MaxVarintLen32 + e.Except.Size()
	}
	if !e.Skip.Empty() {
		n += 3*binary.MaxVarintLen32 + e.Skip.Size()
	}
	if e.Bulk != nil {
		n += reference + len(e.Bulk.Node)
	}
	return n
}

// Append appends the envelope to b.
func (e *Envelope) Append(b []byte) []byte {
	flags := e.flags()
	b = append(b, Version, PushKind, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Accepted))
	b = appendString(b, e.ID)
	b = appendString(b, e.Event)
	if more := e.more(); more != 0 {
		b = append(b, byte(e.Kind)|more)
		if more&moreFrom != 0 {
			b = appendString(b, e.From)
		}
	}
	if flags&flagReceipt != 0 {
		b = appendString(b, e.Receipt.Node)
		b = binary.AppendUvarint(b, e.Receipt.Request)
		b = binary.AppendUvarint(b, e.Receipt.Wait)
	}
	if flags&flagConnection != 0 {
		b = binary.BigEndian.AppendUint64(b, e.Connection)
	}
	if flags&flagExcept != 0 {
		b = e.Except.append(b)
	}
	if flags&flagSkip != 0 {
		b = e.Skip.append(b)
	}
	if flags&flagBulk != 0 {
		b = appendString(b, e.Bulk.Node)
		b = binary.AppendUvarint(b, e.Bulk.Number)
	}
	return append(b, e.Payload...)
}

func (x *Except) append(b []byte) []byte {
	return appendList(appendList(b, x.Users), x.Connections)
}

func (s *Skip) append(b []byte) []byte {
	return appendList(appendList(appendList(b, s.Users), s.Channels), s.Connections)
}

// Parse reads a push envelope; the payload, id and event alias b,
// which nobody changes.
func Parse(b []byte) (e Envelope, err error) {
	r := reader{b: b}
	r.take(2)
	flags := r.byte()
	e.Kind = registry.Kind(flags & flagKind)
	e.Accepted = int64(r.uint64())
	e.ID, e.Event = r.alias(), r.alias()
	if e.Kind == kindMore {
		r.more(&e)
	}
	if flags&flagReceipt != 0 {
		e.Receipt = ReturnAddress{Node: r.string(), Request: r.uvarint(), Wait: r.uvarint()}
		r.bad = r.bad || e.Receipt.Node == ""
	}
	if flags&flagConnection != 0 {
		e.One, e.Connection = true, r.uint64()
	}
	if flags&flagExcept != 0 {
		e.Except = r.except()
	}
	if flags&flagSkip != 0 {
		e.Skip = r.skip()
	}
	if flags&flagBulk != 0 {
		e.Bulk = &BulkRef{Node: r.string(), Number: r.uvarint(), Whole: flags&flagWhole != 0}
		r.bad = r.bad || e.Bulk.Node == ""
	}
	e.Payload = r.b
	if r.bad || e.Kind > registry.Binary || flags > flagKind && flags != e.flags() {
		return Envelope{}, ErrUnreadable
	}
	return e, nil
}

// more reads the second byte of flags, and what it announces.
func (r *reader) more(e *Envelope) {
	more := r.byte()
	e.Kind, e.Ack = registry.Kind(more&flagKind), more&moreAck != 0
	if more&moreFrom != 0 {
		e.From = r.alias()
	}
	r.bad = r.bad || e.more() == 0 || byte(e.Kind)|e.more() != more
}

func (r *reader) except() Except { return Except{Users: r.list(), Connections: r.list()} }

func (r *reader) skip() Skip {
	return Skip{Users: r.list(), Channels: r.list(), Connections: r.list()}
}

// Receipt is what one node did with some of the messages of one request.
type Receipt struct {
	Request         uint64
	Node            string
	Messages        uint64 // how many this reports on
	Matched         bool   // it had a connection of one of the targets
	Delivered, Slow uint64
	Acked           uint64
}

// Append appends the receipt to b.
func (n *Receipt) Append(b []byte) []byte {
	b = append(b, Version, ReceiptKind)
	b = binary.AppendUvarint(b, n.Request)
	b = appendString(b, n.Node)
	b = binary.AppendUvarint(b, n.Messages)
	matched := byte(0)
	if n.Matched {
		matched = 1
	}
	b = append(b, matched)
	b = binary.AppendUvarint(b, n.Delivered)
	b = binary.AppendUvarint(b, n.Slow)
	return binary.AppendUvarint(b, n.Acked)
}

// ParseReceipt reads a receipt.
func ParseReceipt(b []byte) (n Receipt, err error) {
	r := reader{b: b}
	r.take(2)
	n.Request, n.Node, n.Messages = r.uvarint(), r.string(), r.uvarint()
	matched := r.byte()
	n.Matched = matched == 1
	n.Delivered, n.Slow, n.Acked = r.uvarint(), r.uvarint(), r.uvarint()
	if r.bad || len(r.b) > 0 || matched > 1 {
		return Receipt{}, ErrUnreadable
	}
	return n, nil
}

// Begin starts an envelope of a kind whose rest is JSON.
func Begin(kind byte) []byte { return []byte{Version, kind} }

// KindOf is the kind of b, 0 for what this version cannot read.
func KindOf(b []byte) byte {
	if len(b) < 2 || b[0] != Version {
		return 0
	}
	return b[1]
}
