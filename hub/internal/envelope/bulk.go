package envelope

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/pushcart/pushcart/hub/internal/registry"
)

// Bulk is a push to so many destinations that its payload and its lists of names
// would go along with each of them. It goes to every node once, before the rest;
// what is published to each destination then refers to it and is short. So a push
// takes time and memory as its body does, not as the square of it, while each
// destination keeps its own order and its own record of ids.
//
// What is kept has its payload and who is excepted with it all the same, as it is read
// when no node has the bulk any more.
type Bulk struct {
	Listed
	Payload []byte
}

// Listed are the names that come with a push, as sets to look up: who is excepted, and
// the push's targets.
type Listed struct {
	ExceptUsers, ExceptConnections registry.NameSet
	Users, Channels, Connections   registry.NameSet
}

// NewListed makes sets of the names.
func NewListed(x *Except, s *Skip) Listed {
	return Listed{
		registry.NewNameSet(x.Users), registry.NewNameSet(x.Connections), registry.NewNameSet(s.Users), registry.NewNameSet(s.Channels), registry.NewNameSet(s.Connections),
	}
}

// BulkRef is what a destination gets instead: whose bulk, and which of his.
type BulkRef struct {
	Node   string
	Number uint64
	// whole: only who gets the push by another target is in the bulk.
	Whole bool
}

// AppendBulk appends a bulk's envelope to b.
func AppendBulk(b []byte, ref *BulkRef, x *Except, s *Skip, payload []byte) []byte {
	b = append(b, Version, BulkKind)
	b = appendString(b, ref.Node)
	b = binary.AppendUvarint(b, ref.Number)
	return append(s.append(x.append(b)), payload...)
}

func parseBulk(r *reader) (*Bulk, error) {
	x, s := r.except(), r.skip()
	b := &Bulk{Listed: NewListed(&x, &s), Payload: r.b}
	if r.bad {
		return nil, ErrUnreadable
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

// Bulks are those that a node keeps.
type Bulks struct {
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
	read func() (*Bulk, error)
}

// Add keeps a bulk for a while; false: there are too many.
func (s *Bulks) Add(b []byte) (ok bool, err error) {
	r := &reader{b: b}
	r.take(2)
	key := bulkKey{r.string(), r.uvarint()}
	if r.bad {
		return false, ErrUnreadable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+len(b) > maxBulks {
		return false, nil
	}
	if s.held == nil {
		s.held = map[bulkKey]*heldBulk{}
	}
	s.held[key] = &heldBulk{sync.OnceValues(func() (*Bulk, error) { return parseBulk(r) })}
	s.bytes += len(b)
	time.AfterFunc(bulkKept, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.held, key)
		s.bytes -= len(b)
	})
	return true, nil
}

// Get returns what a reference means, nil if it is not here.
func (s *Bulks) Get(ref *BulkRef) (*Bulk, error) {
	s.mu.Lock()
	held := s.held[bulkKey{ref.Node, ref.Number}]
	s.mu.Unlock()
	if held == nil {
		return nil, nil
	}
	return held.read()
}
