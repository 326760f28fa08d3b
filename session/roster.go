package session

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/webhook"
)

// roster declares this node's connections to the broker, so that another node can tell
// the backend of their end, should this one die (SPEC §5 Safety). Nothing is declared
// where the backend wants to hear of no connections, or no other node could tell it.
//
// What is declared of one connection follows from what is known with the lock held, so
// the last of it is true.
type roster struct {
	engine *Engine
	to     broker.Roster // nil: no other node could tell
	// used: something was declared, or may have been.
	used atomic.Bool

	mu       sync.Mutex // guards all below
	tells    connectionEvents
	untold   map[*Session]*connectedKept // connected is on its way
	changed  map[*Session]struct{}       // what is declared is not what is so any more
	timer    *time.Timer                 // declares those; nil: none are
	disowned map[*Session]struct{}       // another node told their end
	closed   bool
}

// connectionEvents are those that other nodes tell of this one's connections.
type connectionEvents struct{ connected, disconnected bool }

func (c connectionEvents) any() bool { return c.connected || c.disconnected }

// stateDelay is how long a change of state waits for others before it is declared. With
// the broker's own delay that is less than a second (SPEC §5).
const stateDelay = 500 * time.Millisecond

func newRoster(e *Engine, to broker.Roster) *roster {
	return &roster{
		engine: e, to: to, untold: map[*Session]*connectedKept{}, changed: map[*Session]struct{}{}, disowned: map[*Session]struct{}{},
	}
}

// apply changes what is told. Connections that came before are declared, or taken back.
func (r *roster) apply(tells connectionEvents) {
	if r.to == nil {
		return
	}
	r.mu.Lock()
	same := r.tells == tells
	r.tells = tells
	if tells.any() {
		r.used.Store(true)
	}
	r.mu.Unlock()
	if same {
		return
	}
	// Who comes from now on is declared by himself, as used is set.
	r.engine.hub.Each(func(c hub.Conn) {
		if t, ok := c.(Transport); ok {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.declareLocked(t.Session())
		}
	})
}

// declareLocked declares a connection as it is now, or that nothing is to be told of it. One
// that left does that itself.
func (r *roster) declareLocked(s *Session) {
	if _, not := r.disowned[s]; not || !r.engine.hub.Has(&s.member) {
		return
	}
	var events []*webhook.Event
	if r.untold[s] != nil && r.tells.connected {
		events = append(events, r.connected(s))
	}
	if r.tells.disconnected {
		events = append(events, r.event(s, webhook.Disconnected))
	}
	r.recordLocked(s, broker.ConnectionHere, events)
}

// recordLocked declares what is to be told of a connection.
func (r *roster) recordLocked(s *Session, kind broker.ChangeKind, events []*webhook.Event) {
	if len(events) == 0 {
		r.to.Declare(broker.Change{Kind: broker.ConnectionGone, Name: s.member.ID()})
		return
	}
	record := webhook.AppendRecord(nil, &webhook.Record{Since: s.member.Since(), Events: events})
	r.to.Declare(broker.Change{Kind: kind, Name: s.member.ID(), Record: record})
}

// event is one of the connection's as another node will tell it.
func (r *roster) event(s *Session, name string) *webhook.Event {
	ev := s.about(name)
	ev.Node = r.engine.hub.NodeID()
	return ev
}

func (r *roster) connected(s *Session) *webhook.Event {
	ev := r.event(s, webhook.Connected)
	ev.Sequence, ev.Time = connectedSequence, s.member.Since()
	ev.ContentType, ev.Body = contentJSON, connectedBody(s)
	return ev
}

// opened is called when a client is let in, before connected is told. false: another
// node told the end of the connection already.
func (r *roster) opened(s *Session, connected *webhook.Event) bool {
	if r.to == nil || !r.used.Load() {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, not := r.disowned[s]; not {
		return false
	}
	if connected != nil {
		k := &connectedKept{r: r, s: s}
		connected.Kept, r.untold[s] = k, k
	}
	if r.tells.any() {
		r.declareLocked(s)
	}
	return true
}

// ended is called when a connection has left the hub; disconnected is what will be told,
// nil if nothing is. false: another node told it.
func (r *roster) ended(s *Session, disconnected *webhook.Event) bool {
	if r.to == nil || !r.used.Load() {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	pending := r.untold[s]
	delete(r.untold, s)
	delete(r.changed, s)
	if _, not := r.disowned[s]; not {
		delete(r.disowned, s)
		return false
	}
	var events []*webhook.Event
	if pending != nil {
		pending.alone = disconnected == nil
		events = append(events, r.connected(s))
	}
	if disconnected != nil {
		disconnected.Node, disconnected.Kept = r.engine.hub.NodeID(), &endKept{r, s.member.ID()}
		events = append(events, disconnected)
	}
	r.recordLocked(s, broker.ConnectionEnded, events)
	return true
}

// change has a connection declared anew soon, with what else changes until then.
func (r *roster) change(s *Session) {
	if r.to == nil || !r.used.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tells.any() {
		r.changeLocked(s)
	}
}

func (r *roster) changeLocked(s *Session) {
	if r.closed || !r.engine.hub.Has(&s.member) {
		return
	}
	r.changed[s] = struct{}{}
	if r.timer == nil {
		r.timer = time.AfterFunc(stateDelay, r.flush)
	}
}

// flush declares what changed.
func (r *roster) flush() {
	defer r.engine.guard.Recover("declaration of connections", nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = nil
	for s := range r.changed {
		r.declareLocked(s)
	}
	clear(r.changed)
}

// gone says that nothing is to be told of a connection any more.
func (r *roster) gone(connection string) {
	r.to.Declare(broker.Change{Kind: broker.ConnectionGone, Name: connection})
}

// connectedKept hears what became of a connected.
type connectedKept struct {
	r     *roster
	s     *Session
	alone bool // the connection ended, and its end is not told; roster's lock guards it
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
	case k.alone:
		k.r.gone(k.s.member.ID())
	}
}

// Buried is as good as told.
func (k *connectedKept) Buried() { k.Told() }

// Lost leaves it to other nodes where this one stops.
func (k *connectedKept) Lost() (elsewhere bool) {
	if k.r.engine.draining.Load() {
		return true
	}
	k.Told()
	return false
}

// endKept hears what became of a disconnected.
type endKept struct {
	r          *roster
	connection string
}

var _ webhook.Kept = (*endKept)(nil)

// Told: nothing is left to tell.
func (k *endKept) Told() { k.r.gone(k.connection) }

// Buried is as good as told.
func (k *endKept) Buried() { k.Told() }

// Lost leaves it to other nodes where this one stops.
func (k *endKept) Lost() (elsewhere bool) {
	if k.r.engine.draining.Load() {
		return true
	}
	k.Told()
	return false
}

// buried is for a node that the others took for dead, and whose connections they told as
// lost: it ends them and tells nothing of them. The broker has logged it.
func (r *roster) buried() {
	r.disown()
	if r.engine.hooks != nil {
		r.engine.hooks.Withdraw(func(ev *webhook.Event) bool {
			switch ev.Kept.(type) {
			case *connectedKept, *endKept:
				return true
			}
			return false
		})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.engine.work.Go(func() { // it takes a while for many
			defer r.engine.guard.Recover("end of all connections", nil)
			r.engine.hub.Abandon(&hub.Cause{Why: hub.Buried})
		})
	}
}

// disown has nothing told of the connections that there are.
func (r *roster) disown() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.engine.hub.Each(func(c hub.Conn) {
		if t, ok := c.(Transport); ok {
			r.disowned[t.Session()] = struct{}{}
		}
	})
	r.used.Store(true)
	clear(r.untold)
	clear(r.changed)
}

// close ends what is to come.
func (r *roster) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
}

// connectedBody is the body of connected (SPEC §5).
func connectedBody(s *Session) []byte { return []byte(`{"connection_id":"` + s.member.ID() + `"}`) }

// connectedSequence is that of connected: connect was the first.
const connectedSequence = 2

// disconnected is the body of that event (SPEC §5).
type disconnected struct {
	Code       int    `json:"code"`
	Reason     string `json:"reason"`
	Cause      string `json:"cause"`
	DurationMS int64  `json:"duration_ms"`
}

func (d disconnected) body() []byte {
	b, err := json.Marshal(d)
	if err != nil { // numbers and strings only: cannot happen
		return nil
	}
	return b
}
