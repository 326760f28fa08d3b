package broker

import (
	"math"
	"sync"
	"time"

	"github.com/pushcart/pushcart/config"
)

// Seats counts the connections of each user over all nodes, for
// limits.connections_per_user. It is apart from Broker: a node without that limit
// pays nothing.
type Seats interface {
	// Start begins to count. evict is called, on the node that holds it, for each
	// connection whose seat went to a newer one, once; it must not block. Call Start
	// once, before everything else.
	Start(evict func(connection string))
	// Take asks for a seat for a connection; false: the user has all that it may
	// have. With the replace policy there always is one, and the user's oldest
	// connections lose theirs. Asking again for the same connection takes no second
	// one. Never longer than 1 s: without Redis this node's own count decides, and
	// what other nodes hold counts again when it is back.
	Take(user, connection string) bool
	// Leave gives the seat back, if the connection still has it. It does not wait.
	Leave(user, connection string)
	// Adopt counts a connection that came when there was no limit. It evicts nobody,
	// also past the limit, and does not wait.
	Adopt(user, connection string)
	// Apply changes the limits. Nobody is evicted until somebody else comes.
	Apply(l config.Limits)
}

var (
	_ Seats = (*MemorySeats)(nil)
	_ Seats = (*RedisSeats)(nil)
)

// MemorySeats are those of a single node.
type MemorySeats struct {
	table *seatTable
	evict func(connection string)
}

// NewMemorySeats returns the seats of one node.
func NewMemorySeats(l config.Limits) *MemorySeats {
	return &MemorySeats{table: newSeatTable(l)}
}

// Start implements Seats.
func (s *MemorySeats) Start(evict func(connection string)) { s.evict = evict }

// Take implements Seats.
func (s *MemorySeats) Take(user, connection string) bool {
	return s.table.take(user, connection, s.evict)
}

// Leave implements Seats.
func (s *MemorySeats) Leave(user, connection string) { s.table.remove(user, connection) }

// Adopt implements Seats.
func (s *MemorySeats) Adopt(user, connection string) {
	s.table.add(user, seat{connection, time.Now().UnixMicro()})
}

// Apply implements Seats.
func (s *MemorySeats) Apply(l config.Limits) { s.table.apply(l) }

// seatTable is the seats that this node's connections have.
type seatTable struct {
	mu     sync.Mutex // guards all below
	limits seatLimits
	users  map[string][]seat
}

// seatLimits are what a user may have.
type seatLimits struct {
	most    int
	replace bool
	// known is the largest of most so far. Who came under it stays, until somebody
	// else comes.
	known int
}

// seat is one connection's; joined says which of a user's are older.
type seat struct {
	connection string
	joined     int64
}

func newSeatTable(l config.Limits) *seatTable {
	t := &seatTable{users: map[string][]seat{}}
	t.apply(l)
	return t
}

func (t *seatTable) apply(l config.Limits) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limits.most, t.limits.replace = l.ConnectionsPerUser, l.PerUserPolicy == config.PolicyReplace
	if t.limits.most == 0 {
		t.limits.most = noLimit
	}
	t.limits.known = max(t.limits.known, t.limits.most)
}

// noLimit is more than any user has.
const noLimit = math.MaxInt32

func (t *seatTable) rules() seatLimits {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limits
}

// take decides by this node's seats alone.
func (t *seatTable) take(user, connection string, evict func(connection string)) bool {
	t.mu.Lock()
	seats := t.users[user]
	if indexOf(seats, connection) >= 0 {
		t.mu.Unlock()
		return true
	}
	over := max(0, len(seats)+1-t.limits.most)
	if over > 0 && !t.limits.replace {
		t.mu.Unlock()
		return false
	}
	out := seats[:over]
	t.users[user] = append(append([]seat(nil), seats[over:]...), seat{connection, time.Now().UnixMicro()})
	t.mu.Unlock()
	for _, old := range out {
		evict(old.connection)
	}
	return true
}

// add notes a seat that Redis gave.
func (t *seatTable) add(user string, s seat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seats := t.users[user]; indexOf(seats, s.connection) < 0 {
		t.users[user] = append(seats, s)
	}
}

// remove says whether the connection had a seat.
func (t *seatTable) remove(user, connection string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	seats := t.users[user]
	i := indexOf(seats, connection)
	switch {
	case i < 0:
		return false
	case len(seats) == 1:
		delete(t.users, user)
	default:
		t.users[user] = append(append([]seat(nil), seats[:i]...), seats[i+1:]...)
	}
	return true
}

// of is a user's seats. They never change in place: take and remove make new
// slices, add only appends.
func (t *seatTable) of(user string) []seat {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.users[user]
}

// names are all users that have a seat.
func (t *seatTable) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := make([]string, 0, len(t.users))
	for user := range t.users {
		names = append(names, user)
	}
	return names
}

func indexOf(seats []seat, connection string) int {
	for i := range seats {
		if seats[i].connection == connection {
			return i
		}
	}
	return -1
}
