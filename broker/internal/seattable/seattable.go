package seattable

import (
	"math"
	"sync"
	"time"

	"github.com/pushcart/pushcart/config"
)

// Table is the seats of one node. It is safe for concurrent use.
type Table struct {
	mu     sync.Mutex // guards all below
	limits Rules
	users  map[string][]Seat
}

// Rules are what a user may have.
type Rules struct {
	// Most is how many seats a user may have; NoLimit where there is no limit.
	Most int
	// Replace has a newcomer take the oldest seat; otherwise it is refused.
	Replace bool
	// Known is the largest Most so far. Who came under it stays, until somebody
	// else comes.
	Known int
}

// Seat is one connection's.
type Seat struct {
	Connection string
	// Joined says which of a user's seats are older, in Unix microseconds.
	Joined int64
}

// New returns an empty table under these limits.
func New(l config.Limits) *Table {
	t := &Table{users: map[string][]Seat{}}
	t.Apply(l)
	return t
}

// Apply changes the limits. Nobody is evicted until somebody else comes.
func (t *Table) Apply(l config.Limits) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limits.Most, t.limits.Replace = l.ConnectionsPerUser, l.PerUserPolicy == config.PolicyReplace
	if t.limits.Most == 0 {
		t.limits.Most = NoLimit
	}
	t.limits.Known = max(t.limits.Known, t.limits.Most)
}

// NoLimit is more than any user has.
const NoLimit = math.MaxInt32

// Rules are those in force.
func (t *Table) Rules() Rules {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limits
}

// Take decides by this node's seats alone whether a connection gets one, or has it. With
// the replace policy evict is called for those that lose theirs.
func (t *Table) Take(user, connection string, evict func(connection string)) bool {
	t.mu.Lock()
	seats := t.users[user]
	if indexOf(seats, connection) >= 0 {
		t.mu.Unlock()
		return true
	}
	over := max(0, len(seats)+1-t.limits.Most)
	if over > 0 && !t.limits.Replace {
		t.mu.Unlock()
		return false
	}
	out := seats[:over]
	t.users[user] = append(append([]Seat(nil), seats[over:]...), Seat{connection, time.Now().UnixMicro()})
	t.mu.Unlock()
	for _, old := range out {
		evict(old.Connection)
	}
	return true
}

// Add notes a seat that was given, also past the limit.
func (t *Table) Add(user string, s Seat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seats := t.users[user]; indexOf(seats, s.Connection) < 0 {
		t.users[user] = append(seats, s)
	}
}

// Remove takes a connection's seat away, and says whether it had one.
func (t *Table) Remove(user, connection string) bool {
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
		t.users[user] = append(append([]Seat(nil), seats[:i]...), seats[i+1:]...)
	}
	return true
}

// Of is a user's seats. They never change in place: Take and Remove make new
// slices, Add only appends.
func (t *Table) Of(user string) []Seat {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.users[user]
}

// Names are all users that have a seat.
func (t *Table) Names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := make([]string, 0, len(t.users))
	for user := range t.users {
		names = append(names, user)
	}
	return names
}

func indexOf(seats []Seat, connection string) int {
	for i := range seats {
		if seats[i].Connection == connection {
			return i
		}
	}
	return -1
}
