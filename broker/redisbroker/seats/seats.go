package seats

import (
	"errors"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/broker/internal/seattable"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/broker/redisbroker/pubsub"
	"github.com/pushcart/pushcart/config"
)

// answerWait is how long a Take waits for Redis.
const answerWait = time.Second

// Seats are the seats of all nodes, kept in Redis: each user's in the user's
// partition.
//
// A node is known there by a name. The name has a lease in one place, which the node
// renews by beating, and is written into every partition, where the seats of a name
// count as long as it stands there. When the lease has run out, any other node
// removes the name from all partitions, and its seats are void. So a step never
// concerns more than one slot, and each may be repeated.
//
// When a node cannot be sure of what a partition holds (a command failed, it was silent
// too long, Redis is empty), it starts over there under a new name and writes the seats of
// its table: with the old name everything written under it is void, so nothing has
// to be remembered of what could not be given back meanwhile. Until then the partition's
// users are counted on this node alone; those of others are not concerned (names.go).
//
// One goroutine talks to Redis (loop.go), so that what it writes of the
// table cannot overtake a connection's leaving.
type Seats struct {
	link       *link.Link
	subscriber *pubsub.Subscriber
	table      *seattable.Table
	keys       [link.Partitions]link.SeatKeys
	evict      func(connection string)
	begun      sync.Once // the loop

	mu     sync.Mutex // guards all below
	live   uint64     // partitions where Redis counts this node, as far as is known, or is about to, as bits
	nudged uint64     // partitions where connections may have lost their seats, as bits
	queue  []*call
	unsure []string // users whose seats are to be written
	wake   chan struct{}

	// Of the loop only.
	line    *link.Line
	names   names
	beaten  time.Time
	tried   time.Time // when partitions were last begun, or were to be
	beats   int
	expires time.Time // when the lease of another node may have run out
	renew   []string  // users whose seats were not written again yet in this round
	atOnce  int       // of these, with each beat
}

// call is a Take or Leave on its way.
type call struct {
	user, connection string
	verdict          atomic.Int32
	done             chan struct{} // of a Take; nil: Leave
}

const (
	undecided = iota
	seated
	refused
	givenUp // the caller waits no longer, or Redis did not answer
)

// all are all partitions, as bits.
const all = 1<<link.Partitions - 1

// bit is that of a user's partition.
func bit(user string) uint64 { return 1 << link.PartitionOf(user) }

// Why what Redis holds is not known any more.
var (
	errNoSeat    = errors.New("no answer in time")
	errTooManyGo = errors.New("too many connections leave at once")
)

// New returns seats that are counted through a link, under these limits.
func New(l *link.Link, sub *pubsub.Subscriber, limits config.Limits) *Seats {
	s := &Seats{link: l, subscriber: sub, table: seattable.New(limits), live: all, wake: make(chan struct{}, 1)}
	s.names = names{node: l.Node(), former: map[uint64]bool{}}
	s.line = l.Line(leaseSource, nodeSource, seatSource)
	for p := range s.keys {
		s.keys[p] = l.Keys().Seats(p)
	}
	return s
}

// Start implements Seats.
func (s *Seats) Start(evict func(connection string)) {
	s.evict = evict
	for p, k := range s.keys {
		nudge := func() { s.nudge(p) }
		s.subscriber.Listen(link.SeatsTopic(p, s.link.Node()), pubsub.Listener{
			Channel: k.Told + s.link.Node(), Take: func(string) { nudge() }, Confirmed: nudge,
		})
	}
	if s.table.Rules().Most < seattable.NoLimit {
		s.begun.Do(s.beginLoop)
	}
}

func (s *Seats) beginLoop() { s.link.Run("seats at Redis", s.run) }

// Take implements Seats.
func (s *Seats) Take(user, connection string) bool {
	c := &call{user: user, connection: connection, done: make(chan struct{})}
	if s.add(c) {
		t := time.NewTimer(answerWait)
		defer t.Stop()
		select {
		case <-c.done:
		case <-t.C:
			if c.settle(givenUp) {
				s.lost(s.concerned(user), errNoSeat)
			}
			<-c.done // about to be closed
		}
		if v := c.verdict.Load(); v != givenUp {
			return v == seated
		}
	}
	in := s.table.Take(user, connection, func(old string) {
		s.giveBack(user, old)
		s.evict(old)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live&bit(user) != 0 { // again: the table was written before this came into it
		s.unsure = append(s.unsure, user)
	}
	return in
}

// concerned are the partitions that are in doubt where a user's is: the loop may wait for
// another server than the user's, if there are several.
func (s *Seats) concerned(user string) uint64 {
	if s.link.Alone() {
		return all
	}
	return bit(user)
}

// settle says whether it was the first to.
func (c *call) settle(verdict int32) bool {
	if c.done == nil || !c.verdict.CompareAndSwap(undecided, verdict) {
		return false
	}
	close(c.done)
	return true
}

// Leave implements Seats.
func (s *Seats) Leave(user, connection string) { s.leave(user, connection) }

// Adopt implements Seats.
func (s *Seats) Adopt(user, connection string) {
	s.table.Add(user, seattable.Seat{Connection: connection, Joined: time.Now().UnixMicro()})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live&bit(user) != 0 { // else all of the partition is written when it is
		s.unsure = append(s.unsure, user)
		s.wakeLocked()
	}
}

// Apply implements Seats. Redis hears of this node from the first limit on.
func (s *Seats) Apply(l config.Limits) {
	if s.table.Apply(l); l.ConnectionsPerUser > 0 {
		s.begun.Do(s.beginLoop)
	}
}

// leave says whether the connection had a seat.
func (s *Seats) leave(user, connection string) bool {
	had := s.table.Remove(user, connection)
	if had {
		s.giveBack(user, connection)
	}
	return had
}

// giveBack is called for a seat that is not in the table any more.
func (s *Seats) giveBack(user, connection string) {
	if !s.add(&call{user: user, connection: connection}) {
		s.lost(bit(user), errTooManyGo) // unless it is lost already
	}
}

// add queues a call; false: the partition's server is away, or too much waits for it. What
// is left while it is away needs no command: the node will be known by another name there.
func (s *Seats) add(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live&bit(c.user) == 0 || len(s.queue) >= link.MaxPending {
		return false
	}
	s.queue = append(s.queue, c)
	s.wakeLocked()
	return true
}

func (s *Seats) wakeLocked() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// nudge is called when connections of this node may have lost their seats in a
// partition.
func (s *Seats) nudge(partition int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nudged |= 1 << partition
	s.wakeLocked()
}

// lost notes that what Redis holds of some partitions is not known any more.
func (s *Seats) lost(partitions uint64, why error) {
	s.mu.Lock()
	was := s.live & partitions
	s.live &^= partitions
	var queue []*call
	s.queue = slices.DeleteFunc(s.queue, func(c *call) bool {
		gone := partitions&bit(c.user) != 0
		if gone {
			queue = append(queue, c)
		}
		return gone
	})
	s.unsure = slices.DeleteFunc(s.unsure, func(user string) bool { return partitions&bit(user) != 0 })
	s.mu.Unlock()
	for _, c := range queue {
		c.settle(givenUp)
	}
	if was != 0 && s.link.Context().Err() == nil {
		s.link.Slog().Info("connections of users are counted on this node alone", "partitions", bits.OnesCount64(was), "err", why)
	}
}
