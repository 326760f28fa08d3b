package push

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/metrics"
)

// Hub is this node's table of connections and the receiving end of the broker:
// it keeps subscriptions in step with who is here, and delivers what comes.
type Hub struct {
	node    string
	started time.Time
	version string
	broker  broker.Broker
	metrics *metrics.Metrics
	log     *slog.Logger

	ids      *connectionIDs
	table    *table
	users    *users
	channels *channels
	lanes    *lanes
	answers  *answers
	work     sync.WaitGroup // lanes and answers under way
}

// NewHub returns a hub; Start makes it receive.
func NewHub(b broker.Broker, nodeID string, m *metrics.Metrics, log *slog.Logger) *Hub {
	h := &Hub{
		node: nodeID, started: time.Now(), broker: b, metrics: m, log: log, ids: newConnectionIDs(),
		table: newTable(), users: newUsers(), channels: newChannels(), answers: newAnswers(),
	}
	h.lanes = newLanes(h)
	m.Gauge("pushcart_users", "Users connected to this node.", func() float64 { return float64(h.users.count()) })
	m.Gauge("pushcart_channels", "Channels with a subscription on this node.",
		func() float64 { return float64(h.channels.count()) })
	m.Gauge("pushcart_fanout_queue", "Messages that wait for their fan-out.",
		func() float64 { return float64(h.lanes.waiting.Load()) })
	return h
}

// SetVersion is what GET /v1/nodes says of this node. Call it before Start.
func (h *Hub) SetVersion(v string) { h.version = v }

// startWait is how long Start waits for a broker that may not be there.
const startWait = time.Second

// Start begins to receive. It waits for Redis a moment only: what cannot be
// subscribed to now will be.
func (h *Hub) Start(ctx context.Context) error {
	if err := h.broker.Start(h.receive); err != nil {
		return fmt.Errorf("start broker: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	if err := h.broker.Subscribe(ctx, topicAll, nodeTopic+h.node); err != nil {
		h.log.Debug("broker not ready yet", "err", err) // it says so itself when it is away
	}
	t := time.NewTicker(startWait / 200)
	defer t.Stop()
	for !h.broker.Up() && ctx.Err() == nil {
		<-t.C
	}
	return nil
}

// NodeID is this node's id.
func (h *Hub) NodeID() string { return h.node }

// NewMember returns the record of a connection to come, with its id.
func (h *Hub) NewMember() Member {
	return Member{hub: h, id: h.ids.next(), since: time.Now().UnixMilli()}
}

// Join registers c, whose Member came from NewMember, so that pushes to user and
// channels reach it from now on. It waits for the broker's confirmation until ctx
// ends; with an error the connection is registered all the same and the
// subscription follows. Channels are names that were checked.
func (h *Hub) Join(ctx context.Context, c Conn, user string, channels []string) error {
	m := c.Member()
	m.user = user
	h.table.add(m.id, c)
	topics := make([]string, 0, 4)
	if user != "" {
		h.users.add(user, c)
		topics = append(topics, userTopic+user)
	}
	for _, name := range channels {
		h.channels.add(name, c, len(channels))
		topics = append(topics, channelTopic+name)
	}
	if len(topics) == 0 {
		return nil
	}
	return h.subscribe(ctx, topics...)
}

// subscribe does not wait while the broker is known to be away.
func (h *Hub) subscribe(ctx context.Context, topics ...string) error {
	if !h.broker.Up() {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		ctx = ended
	}
	return h.broker.Subscribe(ctx, topics...)
}

// Leave takes c out; afterwards no Send comes that was not begun. Calling it
// again does nothing.
func (h *Hub) Leave(c Conn) {
	m := c.Member()
	if !h.table.remove(m.id) {
		return
	}
	if m.user != "" {
		h.users.remove(m.user, c, func() { h.broker.Unsubscribe(userTopic + m.user) })
	}
	h.channels.removeAll(c, h.vacate)
}

// vacate is called under the table's lock, so that an Unsubscribe cannot overtake
// the Subscribe of somebody who comes; it does not wait.
func (h *Hub) vacate(channel string) { h.broker.Unsubscribe(channelTopic + channel) }

// Connections, Users and Channels count what is on this node.
func (h *Hub) Connections() int { return h.table.count() }

// Users counts the users that have a connection on this node.
func (h *Hub) Users() int { return h.users.count() }

// Channels counts the channels that have a subscription on this node.
func (h *Hub) Channels() int { return h.channels.count() }

// Close ends the broker, delivers what was received, and waits for the hub's
// goroutines.
func (h *Hub) Close() error {
	err := h.broker.Close()
	h.work.Wait()
	if err != nil {
		return fmt.Errorf("close broker: %w", err)
	}
	return nil
}
