package pubsub

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

const (
	reconnectMin = 50 * time.Millisecond
	reconnectMax = time.Second
)

// Taker takes what comes on topics that nobody listens to by himself. Its methods must not
// block.
type Taker interface {
	// Message takes what was published.
	Message(topic, payload string)
	// Subscribed is called whenever a topic's messages begin to come, also those of a new
	// connection: earlier ones may be missed.
	Subscribed(topic string)
}

// Subscriber keeps a connection to each shard, which receives the wanted topics of the
// shard's partitions.
type Subscriber struct {
	link   *link.Link
	tables [link.Partitions]*subscriptions
	taker  Taker

	// Set before Start.
	own   map[string]Listener // by topic
	order map[string]int      // of own

	homeless chan struct{} // a partition has no connection any more

	mu       sync.Mutex // guards sessions
	sessions map[*link.Shard]*session
}

// Listener receives one of the broker's own topics. Its functions must
// not block.
type Listener struct {
	// Channel is the topic's pub/sub channel.
	Channel string
	// Take takes what was published.
	Take func(payload string)
	// Confirmed is called whenever messages begin to come: earlier ones may be lost.
	Confirmed func()
}

// NewSubscriber returns one that connects at Start.
func NewSubscriber(l *link.Link, t Taker) *Subscriber {
	s := &Subscriber{
		link: l, taker: t, own: map[string]Listener{}, order: map[string]int{},
		homeless: make(chan struct{}, 1), sessions: map[*link.Shard]*session{},
	}
	for p := range s.tables {
		s.tables[p] = newSubscriptions(p)
	}
	l.OnLeave(s.interrupt)
	return s
}

// Listen subscribes to a topic of the broker's own, after all topics of its users
// and all that Listen was called with before. Call it before Start.
func (s *Subscriber) Listen(topic string, l Listener) {
	s.own[topic] = l
	s.order[topic] = len(s.order)
	s.table(topic).want(topic)
}

// Start begins to receive.
func (s *Subscriber) Start() { s.link.Run("subscriptions at Redis", s.run) }

// table is that of a topic's partition.
func (s *Subscriber) table(topic string) *subscriptions {
	if own, ok := s.own[topic]; ok {
		return s.tables[link.ChannelPartition(own.Channel)]
	}
	return s.tables[link.TopicPartition(topic)]
}

func (s *Subscriber) channel(topic string) string {
	if own, ok := s.own[topic]; ok {
		return own.Channel
	}
	return s.link.Keys().Channel(topic)
}

// Wanted says whether a topic is wanted.
func (s *Subscriber) Wanted(topic string) bool { return s.table(topic).wants(topic) }

// Listening is the number of the connection on which a topic's messages come, 0 if they
// come on none. Each topic has numbers of its own.
func (s *Subscriber) Listening(topic string) int { return s.table(topic).listening(topic) }

// Leave ends subscriptions.
func (s *Subscriber) Leave(topics []string) {
	for _, topic := range topics {
		s.table(topic).leave(topic)
	}
}

// Await subscribes, and returns when all messages come. An error wraps ErrUnavailable or
// ErrClosed: the subscriptions stay wanted.
func (s *Subscriber) Await(ctx context.Context, wanted []broker.Subscription) error {
	waits := make([]<-chan struct{}, len(wanted))
	for i := range wanted {
		waits[i] = s.table(wanted[i].Topic).want(wanted[i].Topic)
	}
	for _, confirmed := range waits {
		select {
		case <-confirmed:
			continue
		default:
		}
		select {
		case <-confirmed:
		case <-ctx.Done():
			return fmt.Errorf("%w: subscription not confirmed: %w", broker.ErrUnavailable, ctx.Err())
		case <-s.link.Context().Done():
			return broker.ErrClosed
		}
	}
	return nil
}

// interrupt ends the connection to a shard, or all; each is made again while it is wanted.
func (s *Subscriber) interrupt(shard *link.Shard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, session := range s.sessions {
		if shard == nil || shard == at {
			session.interrupt()
		}
	}
}

// run has a session with every shard, and each partition in that of its shard.
func (s *Subscriber) run() {
	ctx, pause := s.link.Context(), reconnectMin
	defer s.endSessions(nil)
	for ctx.Err() == nil {
		t, err := s.link.Topology(ctx)
		if err != nil {
			s.link.Unreachable(err)
			pauseFor(ctx, pause)
			pause = min(2*pause, reconnectMax)
			continue
		}
		s.assign(t)
		select {
		case <-ctx.Done():
		case <-t.Over():
		case <-s.homeless:
			pauseFor(ctx, reconnectMin) // the servers may not agree yet
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// assign gives every partition to the session of its shard.
func (s *Subscriber) assign(t *link.Topology) {
	for _, shard := range t.Shards {
		s.begin(shard)
	}
	for p, table := range s.tables {
		var owner *inbox
		if shard := t.Of(p); shard != nil {
			owner = s.sessions[shard].inbox
		}
		if !table.serves(owner) {
			table.restart(owner)
		}
	}
	s.endSessions(t)
}

// begin has a session with a shard, unless there is one.
func (s *Subscriber) begin(shard *link.Shard) {
	if s.sessions[shard] != nil { // only run changes them
		return
	}
	n := &session{subscriber: s, link: s.link, shard: shard, inbox: newInbox()}
	n.ctx, n.cancel = context.WithCancel(s.link.Context())
	s.mu.Lock()
	s.sessions[shard] = n
	s.mu.Unlock()
	n.work.Go(func() { s.link.Guard().Loop("subscription at Redis", n.run) })
}

// endSessions ends those with shards that are not in a topology.
func (s *Subscriber) endSessions(t *link.Topology) {
	for shard, n := range s.sessions {
		if t != nil && t.Serves(shard) {
			continue
		}
		n.cancel()
		n.interrupt()
		n.work.Wait()
		s.mu.Lock()
		delete(s.sessions, shard)
		s.mu.Unlock()
	}
}

// kicked is called when a session's server says that a partition is not its own.
func (s *Subscriber) kicked(n *session, partition int) {
	if !s.tables[partition].pass(n.inbox, nil) {
		return // it has another one by now
	}
	s.link.Look()
	select {
	case s.homeless <- struct{}{}:
	default:
	}
}
