package hub

import (
	"encoding/binary"
	"sync"
	"time"
)

// A bulk is a push to so many destinations that its payload and its lists of names
// would go along with each of them. It goes to every node once, before the rest;
// what is published to each destination then refers to it and is short. So a push
// takes time and memory as its body does, not as the square of it, while each
// destination keeps its own order and its own record of ids.
type bulk struct {
	// users get the push as such or are excepted; targets are the connections that
	// do, excepted those that do not. Each is left out of what goes to later targets.
	users, targets, excepted nameSet
	// channels are in the order of the push: what goes to one leaves out who is in
	// an earlier one.
	channels nameSet
	payload  []byte
}

// bulkRef is what a destination gets: whose bulk, which of its lists are to be left
// out, and how many of its channels.
type bulkRef struct {
	node     string
	number   uint64
	parts    byte
	channels uint64
}

// Lists of a bulk, in bulkRef.parts.
const (
	bulkUsers    = 1
	bulkTargets  = 2
	bulkExcepted = 4
)

// bulkLists are the lists of a bulk that is to be sent.
type bulkLists struct{ users, targets, excepted, channels []string }

func appendBulk(b []byte, node string, number uint64, l *bulkLists, payload []byte) []byte {
	b = append(b, envelopeVersion, envelopeBulk)
	b = appendString(b, node)
	b = binary.AppendUvarint(b, number)
	for _, list := range [...][]string{l.users, l.targets, l.excepted, l.channels} {
		b = appendList(b, list)
	}
	return append(b, payload...)
}

func parseBulk(r *reader) (*bulk, error) {
	b := &bulk{}
	for _, set := range [...]*nameSet{&b.users, &b.targets, &b.excepted, &b.channels} {
		*set = newNameSet(r.list())
	}
	b.payload = r.b
	if r.bad {
		return nil, errEnvelope
	}
	return b, nil
}

const (
	// bulkKept is how long a node keeps a bulk: what refers to it comes within the
	// time that a publish may take, and then waits for its lane.
	bulkKept = 30 * time.Second
	// maxBulks bounds the bytes of those that a node keeps.
	maxBulks = 128 << 20
)

// bulks are those that a node keeps.
type bulks struct {
	mu    sync.Mutex // guards all below
	held  map[bulkKey]*heldBulk
	bytes int
}

type bulkKey struct {
	node   string
	number uint64
}

// heldBulk is read by the first lane that needs it, as the broker must not wait for
// that.
type heldBulk struct {
	read func() (*bulk, error)
}

// add keeps a bulk for a while; false: there are too many.
func (s *bulks) add(b []byte) (ok bool, err error) {
	r := &reader{b: b}
	r.take(2)
	key := bulkKey{r.string(), r.uvarint()}
	if r.bad {
		return false, errEnvelope
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+len(b) > maxBulks {
		return false, nil
	}
	if s.held == nil {
		s.held = map[bulkKey]*heldBulk{}
	}
	s.held[key] = &heldBulk{sync.OnceValues(func() (*bulk, error) { return parseBulk(r) })}
	s.bytes += len(b)
	time.AfterFunc(bulkKept, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.held, key)
		s.bytes -= len(b)
	})
	return true, nil
}

// get returns what a reference means, nil if it is not here.
func (s *bulks) get(ref *bulkRef) (*bulk, error) {
	s.mu.Lock()
	held := s.held[bulkKey{ref.node, ref.number}]
	s.mu.Unlock()
	if held == nil {
		return nil, nil
	}
	return held.read()
}

// leftOut says who does not get a push that comes with ref.
func (b *bulk) leftOut(ref *bulkRef) leftOut {
	out := leftOut{channels: &b.channels, before: int(min(ref.channels, 1<<30))}
	if ref.parts&bulkUsers != 0 {
		out.users = &b.users
	}
	if ref.parts&bulkTargets != 0 {
		out.connections[0] = &b.targets
	}
	if ref.parts&bulkExcepted != 0 {
		out.connections[1] = &b.excepted
	}
	return out
}

// leftOut are names whose connections do not get a message; nil: none.
type leftOut struct {
	users       *nameSet
	connections [2]*nameSet
	channels    *nameSet
	before      int // only the first so many channels
}

// leaveOut makes sets of what an envelope lists.
func (s *skip) leaveOut() leftOut {
	users, channels, connections := newNameSet(s.users), newNameSet(s.channels), newNameSet(s.connections)
	return leftOut{&users, [2]*nameSet{&connections}, &channels, len(s.channels)}
}

func (o *leftOut) has(h *Hub, m *Member) bool {
	if o.users != nil && m.user != "" && o.users.has(m.user) || o.before > 0 && h.channels.anyOf(m, o.channels, o.before) {
		return true
	}
	id := ""
	for _, set := range o.connections {
		if set == nil || set.empty() {
			continue
		}
		if id == "" {
			id = m.ID()
		}
		if set.has(id) {
			return true
		}
	}
	return false
}
