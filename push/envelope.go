package push

import (
	"encoding/binary"
	"errors"
)

// An envelope is what goes between nodes. Its first byte is the version, so that
// nodes of two versions can run side by side, its second the kind.
const envelopeVersion = 1

const (
	envelopePush    = 1 // a message to deliver
	envelopeReceipt = 2 // what became of it on one node
	envelopeRequest = 3 // a question or an order, JSON
	envelopeReply   = 4 // one node's answer to it, JSON
)

// Flags of a push envelope.
const (
	flagKind    = 0x03 // Kind
	flagReceipt = 0x04 // the publisher waits for receipts
	flagTargets = 0x08 // there are other targets or exceptions
)

// errEnvelope: bytes that no node of this version sends.
var errEnvelope = errors.New("push: unreadable envelope")

// envelope is a push on its way to a node.
type envelope struct {
	kind     Kind
	accepted int64
	// receipt, if set, is where to report.
	receipt *returnAddress
	// targets, if set, are all the targets and exceptions of the push, and index
	// is the place of the one that this envelope is for.
	targets *targets
	index   int
	payload []byte
}

// returnAddress is the publisher's node, its number for the push, and how many
// milliseconds it waits for frames to be written.
type returnAddress struct {
	node    string
	request uint64
	wait    uint64
}

// targets are who gets a push: users, channels, connections, everyone, in this
// order (SPEC §6.1), and who does not.
type targets struct {
	users, channels, connections  []string
	all                           bool
	exceptUsers, exceptConnection []string
}

func (e *envelope) append(b []byte) []byte {
	flags := byte(e.kind)
	if e.receipt != nil {
		flags |= flagReceipt
	}
	if e.targets != nil {
		flags |= flagTargets
	}
	b = append(b, envelopeVersion, envelopePush, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(e.accepted))
	if r := e.receipt; r != nil {
		b = appendString(b, r.node)
		b = binary.AppendUvarint(b, r.request)
		b = binary.AppendUvarint(b, r.wait)
	}
	if t := e.targets; t != nil {
		b = binary.AppendUvarint(b, uint64(e.index))
		for _, list := range [][]string{t.users, t.channels, t.connections, t.exceptUsers, t.exceptConnection} {
			b = appendList(b, list)
		}
		b = append(b, boolByte(t.all))
	}
	return append(b, e.payload...)
}

// parseEnvelope reads a push envelope; the payload aliases b.
func parseEnvelope(b []byte) (e envelope, err error) {
	r := reader{b: b}
	r.skip(2)
	flags := r.byte()
	e.kind = Kind(flags & flagKind)
	e.accepted = int64(r.uint64())
	if flags&flagReceipt != 0 {
		e.receipt = &returnAddress{node: r.string(), request: r.uvarint(), wait: r.uvarint()}
	}
	if flags&flagTargets != 0 {
		e.index = int(r.uvarint())
		e.targets = &targets{
			users: r.list(), channels: r.list(), connections: r.list(),
			exceptUsers: r.list(), exceptConnection: r.list(),
		}
		e.targets.all = r.byte() != 0
	}
	e.payload = r.b
	if r.bad || e.kind > Binary || flags&^(flagKind|flagReceipt|flagTargets) != 0 {
		return envelope{}, errEnvelope
	}
	return e, nil
}

// receiptNote is what one node did with one push.
type receiptNote struct {
	request         uint64
	node            string
	matched         bool // it had a connection of the target
	delivered, slow uint64
}

func (n *receiptNote) append(b []byte) []byte {
	b = append(b, envelopeVersion, envelopeReceipt)
	b = binary.AppendUvarint(b, n.request)
	b = appendString(b, n.node)
	b = append(b, boolByte(n.matched))
	b = binary.AppendUvarint(b, n.delivered)
	return binary.AppendUvarint(b, n.slow)
}

func parseReceipt(b []byte) (n receiptNote, err error) {
	r := reader{b: b}
	r.skip(2)
	n.request, n.node = r.uvarint(), r.string()
	n.matched = r.byte() != 0
	n.delivered, n.slow = r.uvarint(), r.uvarint()
	if r.bad || len(r.b) > 0 {
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

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendList(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// reader takes values from the start of b; after the first that is not there, bad
// is set and all others are zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) skip(n int) { r.take(n) }

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	return string(r.take(int(n)))
}

func (r *reader) list() []string {
	n := r.uvarint()
	if n == 0 || n > uint64(len(r.b)) { // each takes a byte at least
		r.bad = r.bad || n != 0
		return nil
	}
	out := make([]string, 0, n)
	for range n {
		out = append(out, r.string())
	}
	return out
}
