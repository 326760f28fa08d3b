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
//
// What is kept has its payload and who is excepted with it all the same, as it is read
// when no node has the bulk any more.
type bulk struct {
	listed
	payload []byte
}

// bulkRef is what a destination gets instead: whose bulk, and which of his.
type bulkRef struct {
	node   string
	number uint64
	// whole: only who gets the push by another target is in the bulk.
	whole bool
}

func appendBulk(b []byte, ref *bulkRef, x *except, s *skip, payload []byte) []byte {
	b = append(b, envelopeVersion, envelopeBulk)
	b = appendString(b, ref.node)
	b = binary.AppendUvarint(b, ref.number)
	return append(s.append(x.append(b)), payload...)
}

func parseBulk(r *reader) (*bulk, error) {
	x, s := r.except(), r.skip()
	b := &bulk{listed: newListed(&x, &s), payload: r.b}
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
