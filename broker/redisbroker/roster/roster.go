package roster

import (
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/ratelog"
)

const (
	// kept is how long what is said of a node, a user or a channel outlives its last
	// renewal; renewEvery is when it is renewed.
	kept       = 48 * time.Hour
	renewEvery = time.Hour
	// remembered is how long the generation of what is over is kept; after that Redis'
	// clock is larger.
	remembered = time.Hour
)

// Roster implements broker.Roster and broker.Outbox.
type Roster struct {
	link     Link
	log      *ratelog.Logger
	life     *life
	watcher  broker.RosterWatcher // set before Start
	declared *declarations
	keeper   *keeper
	// lost counts facts that found no room in the outbox.
	lost func(n int)
	// waiting bounds the facts of one partition.
	waiting atomic.Int64
}

// New returns one that begins at Start, and talks to Redis from the first declaration or
// bound of the outbox on. lost counts facts that the outbox had no room
// for.
func New(link Link, lost func(n int)) *Roster {
	r := &Roster{link: link, log: link.Log(), life: newLife(link.Node()), lost: lost}
	r.declared = newDeclarations(r)
	r.keeper = newKeeper(r)
	return r
}

// Start begins to talk to Redis. WatchRoster and LimitOutbox come before.
func (r *Roster) Start() {
	r.link.Run("declarations to Redis", r.declared.run)
	r.link.Run("leases and outbox in Redis", r.keeper.run)
}

// WatchRoster implements broker.Roster.
func (r *Roster) WatchRoster(w broker.RosterWatcher) { r.watcher = w }
