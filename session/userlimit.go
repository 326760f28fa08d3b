package session

import (
	"sync"
	"sync/atomic"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
)

// userLimit is limits.connections_per_user. Before there ever was that limit it does
// nothing.
type userLimit struct {
	seats broker.Seats
	hub   *hub.Hub
	used  atomic.Bool // there was a limit

	mu sync.Mutex // guards coming
	// coming are connections that ask for a seat or have one and are not in the hub
	// yet; true: their seat is lost again.
	coming map[string]bool
}

func newUserLimit(seats broker.Seats, hub *hub.Hub, l *config.Limits) *userLimit {
	u := &userLimit{seats: seats, hub: hub, coming: map[string]bool{}}
	if seats != nil {
		u.used.Store(l.ConnectionsPerUser > 0)
		seats.Start(u.evict)
	}
	return u
}

// apply changes the limit.
func (u *userLimit) apply(l *config.Limits) {
	if u.seats == nil {
		return
	}
	u.seats.Apply(*l)
	if l.ConnectionsPerUser > 0 {
		u.used.Store(true)
	}
}

// adopt counts a connection that came when there was no limit.
func (u *userLimit) adopt(m *hub.Member) {
	if u.seats == nil || m.User() == "" {
		return
	}
	u.seats.Adopt(m.User(), m.ID())
	if u.hub.Connection(m.ID()) == nil { // it left, perhaps before it was counted
		u.seats.Leave(m.User(), m.ID())
	}
}

// enter asks for a seat; false: the user has all that it may have. Anonymous
// connections are nobody's.
func (u *userLimit) enter(user string, m *hub.Member) bool {
	if u.seats == nil || user == "" {
		return true
	}
	connection := m.ID()
	u.mu.Lock()
	u.coming[connection] = false
	u.mu.Unlock()
	if u.seats.Take(user, connection) {
		return true
	}
	u.forget(connection)
	return false
}

// arrived is called when the hub has the connection; true: its seat was lost on
// the way.
func (u *userLimit) arrived(m *hub.Member) bool {
	return u.used.Load() && u.forget(m.ID())
}

func (u *userLimit) forget(connection string) (lost bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	lost = u.coming[connection]
	delete(u.coming, connection)
	return lost
}

// leave gives the seat back.
func (u *userLimit) leave(user string, m *hub.Member) {
	if user == "" || !u.used.Load() {
		return
	}
	connection := m.ID()
	u.forget(connection)
	u.seats.Leave(user, connection)
}

// evict ends a connection whose seat went to a newer one.
func (u *userLimit) evict(connection string) {
	u.mu.Lock()
	if _, ok := u.coming[connection]; ok {
		u.coming[connection] = true
		u.mu.Unlock()
		return
	}
	u.mu.Unlock()
	if c := u.hub.Connection(connection); c != nil { // else it left already
		c.End(&hub.Cause{Why: hub.Replaced})
	}
}
