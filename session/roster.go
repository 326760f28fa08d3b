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
	// telling is held for reading from the moment when a connection is declared until
	// its event is with the dispatcher, so that a burial finds either none or both.
	telling sync.RWMutex
	loose   loose

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
		loose: loose{sessions: map[*Session]struct{}{}}, engine: e, to: to, untold: map[*Session]*connectedKept{}, changed: map[*Session]struct{}{}, disowned: map[*Session]struct{}{},
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
			r.declareNewLocked(t.Session(), r.loose.add(t.Session()))
		}
	})
}

// declareNewLocked declares a connection for the first time. stored hears what becomes of
// that.
func (r *roster) declareNewLocked(s *Session, stored func(bool)) {
	if !r.declareLocked(s, stored) {
		stored(false)
		r.loose.remove(s)
	}
}

// declareLocked declares a connection as it is now, or that nothing is to be told of it.
// false: it left, and does that itself, or another node told its end. stored may be nil.
func (r *roster) declareLocked(s *Session, stored func(bool)) (declared bool) {
	if _, not := r.disowned[s]; not || !r.engine.hub.Has(&s.member) {
		return false
	}
	var events []*webhook.Event
	if r.untold[s] != nil && r.tells.connected {
		events = append(events, r.connected(s))
	}
	if r.tells.disconnected {
		events = append(events, r.event(s, webhook.Disconnected))
	}
	r.recordLocked(s, broker.ConnectionHere, events, stored)
	return true
}

// recordLocked declares what is to be told of a connection.
func (r *roster) recordLocked(s *Session, kind broker.ChangeKind, events []*webhook.Event, stored func(bool)) {
	c := broker.Change{Kind: broker.ConnectionGone, Name: s.member.ID(), Stored: stored}
	if len(events) > 0 {
		c.Kind, c.Record = kind, webhook.AppendRecord(nil, &webhook.Record{Since: s.member.Since(), Events: events})
	}
	r.to.Declare(c)
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

// tellConnected tells that a client is let in, unless another node told the end of its
// connection already; connected is nil where the backend does not want to hear of it.
func (r *roster) tellConnected(s *Session, connected *webhook.Event) {
	if r.to == nil || !r.used.Load() {
		r.tell(connected)
		return
	}
	r.telling.RLock()
	defer r.telling.RUnlock()
	if r.opened(s, connected) {
		r.tell(connected)
	}
}

func (r *roster) tell(ev *webhook.Event) {
	if ev != nil {
		r.engine.hooks.Tell(ev)
	}
}

func (r *roster) opened(s *Session, connected *webhook.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, not := r.disowned[s]; not {
		return false
	}
	var k *connectedKept
	if connected != nil {
		k = &connectedKept{r: r, s: s}
		connected.Kept, r.untold[s] = k, k
	}
	if !r.tells.any() {
		return true
	}
	stored := r.loose.add(s)
	if k != nil {
		known := stored
		stored = r.hold(connected, func(is bool) { k.stored.Store(is); known(is) })
	}
	r.declareNewLocked(s, stored)
	return true
}

// hold keeps an event back until the broker has what is declared with what it returns, or
// is known to be away: then it is told from memory, as no other node would.
func (r *roster) hold(ev *webhook.Event, known func(stored bool)) (stored func(bool)) {
	ev.Held = true
	return func(is bool) {
		known(is)
		r.engine.hooks.Release(ev)
	}
}

// tellDisconnected tells the end of a connection that has left the hub, unless another
// node told it; disconnected is nil where the backend does not want to hear of it.
func (r *roster) tellDisconnected(s *Session, disconnected *webhook.Event) {
	if r.to == nil || !r.used.Load() {
		r.tell(disconnected)
		return
	}
	r.telling.RLock()
	defer r.telling.RUnlock()
	if r.ended(s, disconnected) {
		r.tell(disconnected)
	}
}

func (r *roster) ended(s *Session, disconnected *webhook.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	pending := r.untold[s]
	delete(r.untold, s)
	delete(r.changed, s)
	had := !r.loose.remove(s)
	if _, not := r.disowned[s]; not {
		delete(r.disowned, s)
		r.gone(s.member.ID()) // it may have been declared since
		return false
	}
	end := &endKept{r: r, connection: s.member.ID(), alone: disconnected == nil}
	end.stored.Store(had)
	var events []*webhook.Event
	if pending != nil {
		pending.end = end
		events = append(events, r.connected(s))
	}
	stored := func(is bool) {
		if is {
			end.stored.Store(true)
		}
	}
	if disconnected != nil {
		disconnected.Node, disconnected.Kept = r.engine.hub.NodeID(), end
		events = append(events, disconnected)
		stored = r.hold(disconnected, stored)
	}
	r.recordLocked(s, broker.ConnectionEnded, events, stored)
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
		r.declareLocked(s, nil)
	}
	clear(r.changed)
}

// gone says that nothing is to be told of a connection any more.
func (r *roster) gone(connection string) {
	r.to.Declare(broker.Change{Kind: broker.ConnectionGone, Name: connection})
}

// buried is for a node that the others took for dead, and whose connections they told as
// lost: it ends them and tells nothing of them. Those that the broker did not have, as it
// was away when they came, nobody else tells. The broker has logged it.
func (r *roster) buried() {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.disown()
	var ended []string
	if r.engine.hooks != nil {
		r.engine.hooks.Withdraw(func(ev *webhook.Event) bool {
			switch k := ev.Kept.(type) {
			case *connectedKept:
				return k.stored.Load()
			case *endKept:
				if k.stored.Load() {
					ended = append(ended, k.connection)
					return true
				}
			}
			return false
		})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, connection := range ended {
		r.gone(connection)
	}
	if !r.closed {
		r.engine.work.Go(func() { // it takes a while for many
			defer r.engine.guard.Recover("end of all connections", nil)
			r.engine.hub.Abandon(&hub.Cause{Why: hub.Buried})
		})
	}
}

// disown has nothing told of the connections that the broker had.
func (r *roster) disown() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.engine.hub.Each(func(c hub.Conn) {
		if t, ok := c.(Transport); ok && !r.loose.has(t.Session()) {
			r.disowned[t.Session()] = struct{}{}
			delete(r.untold, t.Session())
			delete(r.changed, t.Session())
		}
	})
	r.used.Store(true)
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
