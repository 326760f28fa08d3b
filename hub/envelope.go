package hub

import (
	"encoding/binary"
	"errors"
)

// An envelope is what goes between nodes. Its first byte is the version, so that
// nodes of two versions can run side by side, its second the kind.
const envelopeVersion = 1

// Kinds of envelope.
const (
	envelopePush    = 1 // a message to deliver
	envelopeReceipt = 2 // what became of it on one node
	envelopeOrder   = 3 // a request, JSON, carried out in order with the pushes
	envelopeQuery   = 4 // a request, JSON, in no order
	envelopeReply   = 5 // one node's answer to a request, JSON
	envelopeEnding  = 6 // an order that takes connections away, JSON: after all pushes before it
	envelopeBulk    = 7 // what pushes that come after it refer to
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
	kindMore = Kind(3)
	moreFrom = 0x04 // a client published it
	moreAck  = 0x08 // clients are to confirm it
)

// errEnvelope: bytes that no node of this version sends.
var errEnvelope = errors.New("push: unreadable envelope")

// envelope is a push on its way to a node.
type envelope struct {
	kind     Kind
	accepted int64 // Unix nanoseconds
	// id and event are the push's, for clients that see them.
	id, event string
	// from is the user that published it, "" for the backend; ack: clients are to confirm
	// it.
	from string
	ack  bool
	// receipt is where to report; of no node if nobody waits.
	receipt returnAddress
	// connection is who gets it, if one is set.
	one        bool
	connection uint64
	except     except
	skip       skip
	bulk       *bulkRef // has what is not here, if set
	payload    []byte
}

// apart: not all connections of the topic get the message, or it wants a receipt.
func (e *envelope) apart() bool {
	return e.one || e.receipt.node != "" || e.bulk != nil || !e.except.empty() || !e.skip.empty()
}

// returnAddress is the publisher's node, its number for the push, and how many
// milliseconds it waits for frames to be written.
type returnAddress struct {
	node    string
	request uint64
	wait    uint64
}

// except lists whose connections a push is not for. Where the message is kept, the
// users are so with it and hold for whoever reads it later; connections are only those
// that are open.
type except struct{ users, connections []string }

func (x *except) empty() bool { return len(x.users)+len(x.connections) == 0 }

// size is about how many bytes it takes on the wire.
func (x *except) size() int { return sizeOf(x.users) + sizeOf(x.connections) }

// skip lists whose connections do not get a message as other targets of the same push
// bring it to them: its users, all its channels (of which only those before the
// message's own count), its connections. As every node applies it alike, a connection
// that several targets match gets one frame without anybody remembering what was sent
// (SPEC §6.1). It holds for live delivery only: a reader of a stream wants all of it.
type skip struct{ users, channels, connections []string }

func (s *skip) empty() bool { return len(s.users)+len(s.channels)+len(s.connections) == 0 }

// size is about how many bytes it takes on the wire.
func (s *skip) size() int {
	return sizeOf(s.users) + sizeOf(s.channels) + sizeOf(s.connections)
}

func sizeOf(list []string) (n int) {
	for _, name := range list {
		n += len(name) + 2
	}
	return n
}

func (e *envelope) flags() byte {
	flags := byte(e.kind)
	if e.more() != 0 {
		flags = byte(kindMore)
	}
	if e.receipt.node != "" {
		flags |= flagReceipt
	}
	if e.one {
		flags |= flagConnection
	}
	if !e.except.empty() {
		flags |= flagExcept
	}
	if !e.skip.empty() {
		flags |= flagSkip
	}
	if e.bulk != nil {
		flags |= flagBulk
		if e.bulk.whole {
			flags |= flagWhole
		}
	}
	return flags
}

// more are the flags of the second byte, 0 where there is none.
func (e *envelope) more() (flags byte) {
	if e.from != "" {
		flags |= moreFrom
	}
	if e.ack {
		flags |= moreAck
	}
	return flags
}

func (e *envelope) encode() []byte {
	return e.append(make([]byte, 0, e.size()))
}

// size is what append writes at most: what is kept in memory should have no slack.
func (e *envelope) size() int {
	const head, address, reference = 4 + 8 + 2 + 2, 2*binary.MaxVarintLen64 + 2, binary.MaxVarintLen64 + 2
	n := head + len(e.id) + len(e.event) + len(e.payload)
	if e.more() != 0 {
		n += 3 + len(e.from)
	}
	if e.receipt.node != "" {
		n += address + len(e.receipt.node)
	}
	if e.one {
		n += 8
	}
	if e.from != "" {
		n += 2 + len(e.from)
	}
	if !e.except.empty() {
		n += 2*binary.MaxVarintLen32 + e.except.size()
	}
	if !e.skip.empty() {
		n += 3*binary.MaxVarintLen32 + e.skip.size()
	}
	if e.bulk != nil {
		n += reference + len(e.bulk.node)
	}
	return n
}

func (e *envelope) append(b []byte) []byte {
	flags := e.flags()
	b = append(b, envelopeVersion, envelopePush, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(e.accepted))
	b = appendString(b, e.id)
	b = appendString(b, e.event)
	if more := e.more(); more != 0 {
		b = append(b, byte(e.kind)|more)
		if more&moreFrom != 0 {
			b = appendString(b, e.from)
		}
	}
	if flags&flagReceipt != 0 {
		b = appendString(b, e.receipt.node)
		b = binary.AppendUvarint(b, e.receipt.request)
		b = binary.AppendUvarint(b, e.receipt.wait)
	}
	if flags&flagConnection != 0 {
		b = binary.BigEndian.AppendUint64(b, e.connection)
	}
	if flags&flagExcept != 0 {
		b = e.except.append(b)
	}
	if flags&flagSkip != 0 {
		b = e.skip.append(b)
	}
	if flags&flagBulk != 0 {
		b = appendString(b, e.bulk.node)
		b = binary.AppendUvarint(b, e.bulk.number)
	}
	return append(b, e.payload...)
}

func (x *except) append(b []byte) []byte {
	return appendList(appendList(b, x.users), x.connections)
}

func (s *skip) append(b []byte) []byte {
	return appendList(appendList(appendList(b, s.users), s.channels), s.connections)
}

// parseEnvelope reads a push envelope; the payload, id and event alias b,
// which nobody changes.
func parseEnvelope(b []byte) (e envelope, err error) {
	r := reader{b: b}
	r.take(2)
	flags := r.byte()
	e.kind = Kind(flags & flagKind)
	e.accepted = int64(r.uint64())
	e.id, e.event = r.alias(), r.alias()
	if e.kind == kindMore {
		r.more(&e)
	}
	if flags&flagReceipt != 0 {
		e.receipt = returnAddress{node: r.string(), request: r.uvarint(), wait: r.uvarint()}
		r.bad = r.bad || e.receipt.node == ""
	}
	if flags&flagConnection != 0 {
		e.one, e.connection = true, r.uint64()
	}
	if flags&flagExcept != 0 {
		e.except = r.except()
	}
	if flags&flagSkip != 0 {
		e.skip = r.skip()
	}
	if flags&flagBulk != 0 {
		e.bulk = &bulkRef{node: r.string(), number: r.uvarint(), whole: flags&flagWhole != 0}
		r.bad = r.bad || e.bulk.node == ""
	}
	e.payload = r.b
	if r.bad || e.kind > Binary || flags > flagKind && flags != e.flags() {
		return envelope{}, errEnvelope
	}
	return e, nil
}

// more reads the second byte of flags, and what it announces.
func (r *reader) more(e *envelope) {
	more := r.byte()
	e.kind, e.ack = Kind(more&flagKind), more&moreAck != 0
	if more&moreFrom != 0 {
		e.from = r.alias()
	}
	r.bad = r.bad || e.more() == 0 || byte(e.kind)|e.more() != more
}

func (r *reader) except() except { return except{users: r.list(), connections: r.list()} }

func (r *reader) skip() skip {
	return skip{users: r.list(), channels: r.list(), connections: r.list()}
}

// receiptNote is what one node did with some of the messages of one request.
type receiptNote struct {
	request         uint64
	node            string
	messages        uint64 // how many this reports on
	matched         bool   // it had a connection of one of the targets
	delivered, slow uint64
	acked           uint64
}

func (n *receiptNote) append(b []byte) []byte {
	b = append(b, envelopeVersion, envelopeReceipt)
	b = binary.AppendUvarint(b, n.request)
	b = appendString(b, n.node)
	b = binary.AppendUvarint(b, n.messages)
	matched := byte(0)
	if n.matched {
		matched = 1
	}
	b = append(b, matched)
	b = binary.AppendUvarint(b, n.delivered)
	b = binary.AppendUvarint(b, n.slow)
	return binary.AppendUvarint(b, n.acked)
}

func parseReceipt(b []byte) (n receiptNote, err error) {
	r := reader{b: b}
	r.take(2)
	n.request, n.node, n.messages = r.uvarint(), r.string(), r.uvarint()
	matched := r.byte()
	n.matched = matched == 1
	n.delivered, n.slow, n.acked = r.uvarint(), r.uvarint(), r.uvarint()
	if r.bad || len(r.b) > 0 || matched > 1 {
		return receiptNote{}, errEnvelope
	}
	return n, nil
}

// envelopeKind is the kind of b, 0 for what this version cannot read.
func envelopeKind(b []byte) byte {
	if len(b) < 2 || b[0] != envelopeVersion {
		return 0
	}
	return b[1]
}
