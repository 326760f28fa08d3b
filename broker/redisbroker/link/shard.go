package link

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// Shard is a server that serves partitions, or whatever took its place at its address.
// Its methods may be called concurrently.
type Shard struct {
	Health
	link    *Link
	address string // "" if it is alone
	// alone: it always serves everything, wherever it is found.
	alone  bool
	finder finder // where it is alone
	// master: it must be one. Otherwise it shows in what writes are answered.
	master bool
	// at is the address where one that is alone was found last.
	at       atomic.Pointer[string]
	locating sync.Mutex // held while it is found
	// server is the name of the server that was connected to last, and era counts when
	// connections to it were given up.
	server atomic.Pointer[string]
	era    atomic.Int64
	// away says why it cannot be connected to; nil: it can, as far as is known. Only where
	// there are others: they need not wait for it.
	away atomic.Pointer[error]
	// doubted: a command was not answered in time.
	doubted atomic.Bool
}

// newShard is one of a cluster.
func (l *Link) newShard(address string) *Shard {
	s := &Shard{link: l, address: address}
	s.down, s.log, s.rate, s.changed = errStarting, l.log, l.rate, l.show
	s.named = []any{"server", address}
	return s
}

// newAlone is one that serves everything.
func (l *Link) newAlone(f finder) *Shard {
	s := &Shard{link: l, alone: true, finder: f}
	s.down, s.log, s.rate, s.changed = errStarting, l.log, l.rate, l.show
	return s
}

// Era counts when the connections to the server were given up.
func (s *Shard) Era() int64 { return s.era.Load() }

// Leave gives up the connections to a server that must not be used.
func (s *Shard) Leave(why error) {
	s.doubt()
	s.leave(why)
}

func (s *Shard) leave(why error) {
	s.era.Add(1)
	s.Fall(why)
	s.link.look("")
	for _, f := range s.link.leaving {
		f(s)
	}
}

// Doubted says whether a command was not answered in time since it was asked last: perhaps
// nothing comes on other connections either.
func (s *Shard) Doubted() bool { return s.doubted.Swap(false) }

// Away says whether it is known that it cannot be connected to.
func (s *Shard) Away() bool { return s.away.Load() != nil }

// unreachable notes that it could not be connected to, or did not answer in time.
func (s *Shard) unreachable(err error) {
	if s.link.ctx.Err() != nil {
		return
	}
	if s.alone {
		s.doubt()
		return
	}
	s.away.Store(&err)
	s.Fall(err)
	s.link.look("")
}

// agree has all connections made again when one of them found another server.
func (s *Shard) agree(server string) {
	if strings.HasPrefix(server, replicaName) {
		return // nothing is done there
	}
	if before := s.server.Swap(&server); before != nil && *before != server {
		s.Leave(fmt.Errorf("%w: %s, which was %s", errMoved, server, *before))
	}
}

// Sharded says whether its subscriptions are to channels of its own part of a cluster.
func (s *Shard) Sharded() bool { return !s.alone }
