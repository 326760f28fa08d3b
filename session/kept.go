package session

import (
	"sync"
	"sync/atomic"

	"github.com/pushcart/pushcart/webhook"
)

// connectedKept hears what became of a connected.
type connectedKept struct {
	r      *roster
	s      *Session
	stored atomic.Bool // the broker has a record that it is to be told
	end    *endKept    // nil while the connection lives; roster's lock guards it
}

var _ webhook.Kept = (*connectedKept)(nil)

// Told: from now on only the end is to be told.
func (k *connectedKept) Told() {
	k.r.mu.Lock()
	defer k.r.mu.Unlock()
	switch {
	case k.r.untold[k.s] == k:
		delete(k.r.untold, k.s)
		k.r.changeLocked(k.s)
	case k.end != nil && k.end.alone:
		k.r.gone(k.s.member.ID())
	}
}

// Buried is as good as told.
func (k *connectedKept) Buried() { k.Told() }

// Lost leaves it to other nodes with the end of the connection.
func (k *connectedKept) Lost() (elsewhere bool) {
	k.r.mu.Lock()
	end := k.end
	k.r.mu.Unlock()
	if end != nil {
		return end.Lost()
	}
	if k.r.engine.draining.Load() { // a connection that is left is told as lost
		return k.stored.Load()
	}
	k.Told()
	return false
}

// endKept hears what became of a disconnected, and of all that is told of a connection
// that ended.
type endKept struct {
	r          *roster
	connection string
	alone      bool        // the backend does not want to hear of the end
	stored     atomic.Bool // the broker has its record, or at least the connection's: others tell an end
	lost       sync.Once
	handed     bool
}

var _ webhook.Kept = (*endKept)(nil)

// Told: nothing is left to tell.
func (k *endKept) Told() { k.r.gone(k.connection) }

// Buried is as good as told.
func (k *endKept) Buried() { k.Told() }

// Lost leaves it to other nodes, if the broker has it.
func (k *endKept) Lost() (elsewhere bool) {
	k.lost.Do(func() { k.handed = k.r.to.HandOver(k.connection) })
	return k.handed
}
