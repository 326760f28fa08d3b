package hub

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/hub/internal/answers"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/hub/internal/receipt"
	"github.com/pushcart/pushcart/hub/internal/registry"
	"github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/metrics"
)

// Broker is what a hub needs of a broker.
type Broker interface {
	broker.Broker
	broker.Streams
	broker.Lasting
}

// Hub is this node's table of connections and the receiving end of the broker: it keeps
// subscriptions in step with the connections, and delivers what arrives.
type Hub struct {
	node   string
	about  about
	broker Broker
	roster broker.Roster // nil: the broker keeps none
	rules  atomic.Pointer[Rules]
	// applying is held while the rules change by which is declared what is here.
	applying sync.Mutex
	alone    bool // no other node can have connections
	metrics  *metrics.Metrics
	pushes   pushCounters
	log      *slog.Logger
	rate     *ratelog.Logger
	guard    *guard.Guard

	here *registry.Registry

	lanes    *lanes
	waiters  *answers.Waiters[reply]
	outgoing *answers.Outgoing
	followed *followed
	catchUp  *catchUp
	lasting  *lasting
	outbox   Outbox // nil: the backend is told nothing
	receipts receipt.Receipts
	acks     receipt.Acks
	// encodings is how many were given out.
	encodings Encoding
	bulks     envelope.Bulks
	bulk      atomic.Uint64 // number of the last of this node
	bulkFrom  int           // tests lower it
	// fullLasting counts lasting subscriptions that a connection had no room for.
	fullLasting atomic.Int64
}

// about is what other nodes are told of this one.
type about struct {
	version, address string
	started          time.Time
}

// Guard returns the guard that handles panics in the hub's work.
func (h *Hub) Guard() *guard.Guard { return h.guard }

// NewHub returns a hub that keeps nothing; Start makes it receive, and Apply sets its
// rules.
func NewHub(b Broker, nodeID string, m *metrics.Metrics, log *slog.Logger) *Hub {
	_, alone := b.(*memory.Broker)
	h := &Hub{
		node: nodeID, about: about{started: time.Now()}, broker: b, alone: alone,
		metrics: m, pushes: newPushCounters(m), log: log, rate: ratelog.New(log), guard: guard.New(log, m.Panics.Inc), bulkFrom: defaultBulkFrom,
		waiters: answers.NewWaiters[reply](),
	}
	h.roster, _ = b.(broker.Roster)
	h.here = registry.NewRegistry(nodeID, h.roster)
	h.lanes, h.outgoing = newLanes(h), answers.NewOutgoing(b, h.guard, log, m.FanoutDropped)
	h.followed, h.catchUp, h.lasting = newFollowed(), newCatchUp(h), newLasting(h)
	b.WatchLasting(h.lasting.missed)
	h.Apply(&Rules{})
	m.Gauge("pushcart_users", "Users connected to this node.", func() float64 { return float64(h.Users()) })
	m.Gauge("pushcart_channels", "Channels with a subscription on this node.",
		func() float64 { return float64(h.Channels()) })
	m.Counter("pushcart_lasting_full_total", "Lasting subscriptions that a connection had no room for.",
		func() float64 { return float64(h.fullLasting.Load()) })
	m.Counter("pushcart_presence_joins_total", "Users whose first connection on this node was subscribed to a channel with presence.",
		func() float64 { return float64(h.here.Joins()) })
	m.Counter("pushcart_presence_leaves_total", "Users whose last connection on this node left a channel with presence.",
		func() float64 { return float64(h.here.Leaves()) })
	m.Gauge("pushcart_fanout_bytes", "Bytes of messages that wait for their fan-out.",
		func() float64 { return float64(h.lanes.waiting()) })
	return h
}

// SetVersion sets the version that GET /v1/nodes reports for this node. Call it before
// Start.
func (h *Hub) SetVersion(v string) { h.about.version = v }

// SetAddress sets the address that GET /v1/nodes reports for this node. Call it before
// Start.
func (h *Hub) SetAddress(a string) { h.about.address = a }

// startWait is how long Start waits for a broker that may not be there.
const startWait = time.Second

// Start begins to receive. It waits for the broker only briefly: subscriptions that fail
// now follow later.
func (h *Hub) Start(ctx context.Context) error {
	if err := h.broker.Start(h.receive); err != nil {
		return fmt.Errorf("start broker: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	if err := h.broker.Subscribe(ctx, broker.Topics(registry.AllTopic, registry.NodeTopic+h.node)...); err != nil {
		h.log.Debug("broker not ready yet", "err", err) // it says so itself when it is away
	}
	t := time.NewTicker(startWait / 200)
	defer t.Stop()
	for !h.broker.Up() && ctx.Err() == nil {
		<-t.C
	}
	return nil
}

// NewEncoding returns a new, unique encoding. Call it before Start.
func (h *Hub) NewEncoding() Encoding {
	h.encodings++
	return h.encodings
}

// Apply changes the rules for future pushes and subscriptions. It declares the users and
// channels here that the new rules share with other nodes or report to the backend and
// the old ones did not, and withdraws the others.
func (h *Hub) Apply(r *Rules) {
	h.applying.Lock()
	defer h.applying.Unlock()
	h.rules.Store(r)
	h.here.Declare(r, false)
}

// NodeID is this node's id.
func (h *Hub) NodeID() string { return h.node }

// NewMember returns the record of a new connection, with its id.
func (h *Hub) NewMember() Member { return h.here.NewMember() }

// Join registers c, whose Member came from NewMember, so that pushes to user and channels
// reach it from now on. It waits for the broker's confirmation until ctx ends; with an
// error the connection is registered anyway and the subscription follows. The caller
// checks the names.
func (h *Hub) Join(ctx context.Context, c Conn, user string, channels []string) error {
	topics := make([]string, 0, 4)
	if user != "" {
		// The name shares the memory of the topic, which the broker keeps.
		topic := UserTopic + user
		user = topic[len(UserTopic):]
		topics = append(topics, topic)
	}
	h.here.Enter(c, user)
	if user != "" {
		h.here.Users.Add(user, c)
	}
	for _, name := range channels {
		topic := ChannelTopic + name
		h.here.Channels.Add(topic[len(ChannelTopic):], c, len(channels))
		topics = append(topics, topic)
	}
	if len(topics) == 0 {
		return nil
	}
	err := h.subscribe(ctx, topics...)
	if !h.Has(c.Member()) { // it left meanwhile, perhaps before all of this was done
		h.withdraw(c)
		h.giveUp(topics)
	}
	return err
}

// subscribe does not wait for topics whose part of the broker is known to be away.
func (h *Hub) subscribe(ctx context.Context, topics ...string) error {
	wanted, rules := broker.Topics(topics...), h.rules.Load()
	for i := range wanted {
		wanted[i].Keep = rules.Retention(wanted[i].Topic)
	}
	if h.broker.Up() {
		return h.broker.Subscribe(ctx, wanted...)
	}
	var here, away []broker.Subscription
	for _, s := range wanted {
		if h.broker.UpFor(s.Topic) {
			here = append(here, s)
		} else {
			away = append(away, s)
		}
	}
	var errs [2]error
	if len(away) > 0 {
		errs[0] = h.broker.Subscribe(ended, away...)
	}
	if len(here) > 0 {
		errs[1] = h.broker.Subscribe(ctx, here...)
	}
	return cmp.Or(errs[0], errs[1])
}

// ended is for a Subscribe that must not wait: the topics are wanted from then on.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// Leave removes c. No delivery that begins afterwards sends to it; one in progress still
// may. Calling it again does nothing.
func (h *Hub) Leave(c Conn) {
	if h.here.Table.Remove(c.Member().Number()) {
		h.withdraw(c)
	}
}

// withdraw ends what c is subscribed to. Unsubscribe, which does not wait, is
// called under the table's lock, so that it cannot overtake the Subscribe of
// somebody who comes.
func (h *Hub) withdraw(c Conn) {
	topics := h.mayFollow(c)
	if m := c.Member(); m.User() != "" {
		h.here.Users.Remove(m.User(), c, func() { h.broker.Unsubscribe(UserTopic + m.User()) })
	}
	h.here.Channels.RemoveAll(c, h.vacate)
	h.stopFollowing(c, topics)
	h.lasting.left(c)
}

func (h *Hub) vacate(channel string) { h.broker.Unsubscribe(ChannelTopic + channel) }

// giveUp ends subscriptions that nobody here needs: those of a connection that
// left while it joined.
func (h *Hub) giveUp(topics []string) {
	for _, t := range topics {
		unsubscribe := func() { h.broker.Unsubscribe(t) }
		if kind, name := registry.SplitTopic(t); kind == UserTopic {
			h.here.Users.IfVacant(name, unsubscribe)
		} else {
			h.here.Channels.IfVacant(name, unsubscribe)
		}
	}
}

// Connection finds a connection of this node, nil if there is none.
func (h *Hub) Connection(id string) Conn { return h.here.Connection(id) }

// Has says whether the connection of a member is in this node's table.
func (h *Hub) Has(m *Member) bool { return h.here.Table.Get(m.Number()) != nil }

// Each calls f for every connection of this node.
func (h *Hub) Each(f func(Conn)) {
	for _, c := range h.here.Table.AppendTo(nil) {
		f(c)
	}
}

// Connections counts the connections of this node.
func (h *Hub) Connections() int { return h.here.Table.Size() }

// Users counts the users that have a connection on this node.
func (h *Hub) Users() int { return h.here.Users.Size() }

// Channels counts the channels that have a subscription on this node.
func (h *Hub) Channels() int { return h.here.Channels.Size() }

// Close closes the broker, delivers what was received, and waits for the hub's
// goroutines. Publishers waiting for receipts get those that arrived.
func (h *Hub) Close() error {
	err := h.broker.Close()
	h.lasting.close()
	h.lanes.work.Wait()
	h.catchUp.close()
	h.receipts.Close()
	h.outgoing.Wait()
	if err != nil {
		return fmt.Errorf("close broker: %w", err)
	}
	return nil
}
