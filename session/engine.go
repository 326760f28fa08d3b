package session

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/descriptors"
	"github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/metrics"
	"github.com/pushcart/pushcart/webhook"
)

// Options are what an Engine is built from.
type Options struct {
	Settings *Settings
	// Hub is this node's table of connections.
	Hub *hub.Hub
	// Webhooks asks and tells the backend; nil: nobody does.
	Webhooks *webhook.Dispatcher
	// Seats counts the connections of users; nil: limits.connections_per_user is
	// not kept.
	Seats broker.Seats
	// Roster and Outbox are the broker's; nil: facts are not told. Shared says that there
	// may be other nodes.
	Roster broker.Roster
	Outbox broker.Outbox
	Shared bool
	// Descriptors are shared with the public listener; nil: no bound.
	Descriptors *descriptors.Budget
	// Protocols are what clients may speak. The first is that of clients that ask
	// for none.
	Protocols []Named
	// RequestsInFlight is how many requests of one connection may wait for answers.
	RequestsInFlight int
	Metrics          *metrics.Metrics
	// Panics counts panics; nil: nobody does.
	Panics func()
	Log    *slog.Logger
}

// Named is a protocol with the subprotocol name that asks for it.
type Named struct {
	Name string
	Protocol
}

// Engine decides about the sessions of one node.
type Engine struct {
	settings  atomic.Pointer[Settings]
	hub       *hub.Hub
	hooks     *webhook.Dispatcher // nil: the backend is neither asked nor told
	protocols []Named
	occupancy *occupancy
	users     *userLimit
	roster    *roster
	facts     *facts
	metrics   *metrics.Metrics
	log       *slog.Logger
	rare      *ratelog.Logger // for what repeats
	guard     *guard.Guard
	inFlight  int // websocket.requests_in_flight
	life      context.Context
	end       context.CancelFunc // of life
	work      sync.WaitGroup     // goroutines of requests

	draining   atomic.Bool
	unheard    atomic.Bool  // it was logged that messages go nowhere
	connecting atomic.Int64 // bytes of connect events that wait for their answer
}

// NewEngine returns the engine of a node. It is called before the hub starts.
func NewEngine(o Options) *Engine {
	e := &Engine{
		hub: o.Hub, hooks: o.Webhooks, protocols: o.Protocols, metrics: o.Metrics,
		log: o.Log, rare: ratelog.New(o.Log), guard: guard.New(o.Log, o.Panics),
		occupancy: newOccupancy(o.Descriptors), users: newUserLimit(o.Seats, o.Hub, &o.Settings.limits),
	}
	e.settings.Store(o.Settings)
	e.inFlight = o.RequestsInFlight
	var others broker.Roster
	if o.Shared {
		others = o.Roster
	}
	e.roster, e.facts = newRoster(e, others), &facts{e, o.Outbox}
	e.roster.apply(o.Settings.tells)
	if o.Roster != nil {
		o.Roster.WatchRoster(e.watcher())
	}
	e.life, e.end = context.WithCancel(context.Background())
	return e
}

// Apply changes the settings from now on. Handshakes in progress continue with those they
// began with, so retire the old Authenticator, if at all, only when no handshake begins
// with it any more.
func (e *Engine) Apply(s *Settings) {
	e.users.apply(&s.limits)
	old := e.settings.Swap(s)
	e.roster.apply(s.tells)
	addresses := countsAddresses(&s.limits) && !countsAddresses(&old.limits)
	users := s.limits.ConnectionsPerUser > 0 && old.limits.ConnectionsPerUser == 0
	if addresses || users {
		e.hub.Each(func(c hub.Conn) {
			if t, ok := c.(Transport); ok {
				e.adopt(t)
			}
		})
	}
}

// adopt counts a connection for limits that it may have come before.
func (e *Engine) adopt(t Transport) {
	l := &e.settings.Load().limits
	if countsAddresses(l) {
		e.occupancy.adopt(t.Session())
	}
	if l.ConnectionsPerUser > 0 {
		e.users.adopt(t.Member())
	}
}

// Hub returns the node's hub.
func (e *Engine) Hub() *hub.Hub { return e.hub }

// Protocol is what a session speaks; index is [Session.ProtocolIndex].
func (e *Engine) Protocol(index uint8) Protocol { return e.protocols[index].Protocol }

// Protocols counts the protocols.
func (e *Engine) Protocols() int { return len(e.protocols) }

// Sessions counts the sessions, including handshakes that are being admitted.
func (e *Engine) Sessions() int { return e.occupancy.count() }

// Limit is the maximum number of sessions.
func (e *Engine) Limit() int64 {
	return min(mostConnections(e.settings.Load().limits.Connections), e.occupancy.fds.Connections())
}

// Drain refuses handshakes from now on.
func (e *Engine) Drain() { e.draining.Store(true) }

// Draining says whether they are refused.
func (e *Engine) Draining() bool { return e.draining.Load() }

func (e *Engine) wants(event string) bool { return e.hooks != nil && e.hooks.Wants(event) }
