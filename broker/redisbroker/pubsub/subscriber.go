package pubsub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

const (
	// subscribeAtOnce bounds the topics of one command.
	subscribeAtOnce = 512
	reconnectMin    = 50 * time.Millisecond
	reconnectMax    = time.Second
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

// Subscriber keeps a connection that receives the wanted topics.
type Subscriber struct {
	link  *link.Link
	table *subscriptions
	taker Taker

	// Set before Start.
	own   map[string]Listener // by topic
	order []string            // of own

	mu   sync.Mutex    // guards conn
	conn *redis.PubSub // nil while there is none
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
	s := &Subscriber{link: l, taker: t, table: newSubscriptions(), own: map[string]Listener{}}
	l.OnLeave(s.interrupt)
	return s
}

// Listen subscribes to a topic of the broker's own, after all topics of its users
// and all that Listen was called with before. Call it before Start.
func (s *Subscriber) Listen(topic string, l Listener) {
	s.own[topic] = l
	s.order = append(s.order, topic)
	s.table.want(broker.Subscription{Topic: topic})
}

// Start begins to receive.
func (s *Subscriber) Start() { s.link.Run("subscription at Redis", s.run) }

// Wanted says whether a topic is wanted.
func (s *Subscriber) Wanted(topic string) bool { return s.table.wants(topic) }

// Listening is the number of the connection on which a topic's messages come, 0 if they
// come on none.
func (s *Subscriber) Listening(topic string) int { return s.table.listening(topic) }

// Leave ends subscriptions.
func (s *Subscriber) Leave(topics []string) { s.table.leave(topics) }

// Await subscribes, and returns when all messages come. An error wraps ErrUnavailable or
// ErrClosed: the subscriptions stay wanted.
func (s *Subscriber) Await(ctx context.Context, wanted []broker.Subscription) error {
	for _, confirmed := range s.table.want(wanted...) {
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

// interrupt ends the connection; run makes a new one.
func (s *Subscriber) interrupt() {
	s.mu.Lock()
	conn := s.conn
	s.conn = nil
	s.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
}

func (s *Subscriber) use(conn *redis.PubSub) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
}

// run keeps a connection that receives. A PubSub of go-redis hears nothing of its
// own death and goes on after one; here an error ends it, and the next one
// subscribes to everything wanted.
func (s *Subscriber) run() {
	ctx, pause := s.link.Context(), reconnectMin
	for ctx.Err() == nil {
		began := time.Now()
		err := s.session()
		if ctx.Err() != nil {
			return
		}
		s.link.Health().Fall(err)
		if time.Since(began) > reconnectMax {
			pause = reconnectMin
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, reconnectMax)
	}
}

// session receives on one connection until it fails.
func (s *Subscriber) session() error {
	client := s.link.Connect()
	defer client.Close()
	if err := s.fit(client); err != nil {
		return err
	}
	conn := client.Subscribe(s.link.Context())
	s.table.restart(s.order)
	s.use(conn)
	defer s.interrupt()
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		defer s.link.Guard().Recover("commands to Redis", func() { _ = conn.Close() }) // session sees it
		s.send(conn, stop)
	})
	defer writer.Wait()
	defer close(stop)
	if err := s.apply(conn); err != nil {
		return err
	}
	for {
		m, err := conn.ReceiveTimeout(s.link.Context(), 0)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *redis.Message:
			s.message(m)
		case *redis.Subscription:
			s.answer(m)
		}
	}
}

// fit says why a server is not to be subscribed at: it has another layout, or is not
// the master. A PubSub would hide how connecting went. One that refuses writes fits:
// it still carries messages.
func (s *Subscriber) fit(client *redis.Client) error {
	if err := s.link.CheckLayout(s.link.Context(), client); err != nil && !link.RefusesWrites(err) {
		return err
	}
	err := s.link.Prove(s.link.Context(), client).Err()
	if link.RefusesWrites(err) {
		s.link.Health().Wrote(err)
		return nil
	}
	return err
}

// send sends what changes while session receives.
func (s *Subscriber) send(conn *redis.PubSub, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-s.table.wake:
		}
		if err := s.apply(conn); err != nil {
			_ = conn.Close() // session sees it
			return
		}
	}
}

// apply sends the commands that are due.
func (s *Subscriber) apply(conn *redis.PubSub) error {
	add, remove := s.table.changes()
	if err := s.inParts(remove, conn.Unsubscribe); err != nil {
		return err
	}
	return s.inParts(add, conn.Subscribe)
}

func (s *Subscriber) inParts(topics []string, do func(context.Context, ...string) error) error {
	for len(topics) > 0 {
		n := min(len(topics), subscribeAtOnce)
		channels := make([]string, n)
		for i, t := range topics[:n] {
			channels[i] = s.channel(t)
		}
		if err := do(s.link.Context(), channels...); err != nil {
			return err
		}
		topics = topics[n:]
	}
	return nil
}

func (s *Subscriber) channel(topic string) string {
	if own, ok := s.own[topic]; ok {
		return own.Channel
	}
	return s.link.Keys().Channel(topic)
}

func (s *Subscriber) answer(m *redis.Subscription) {
	topic := s.link.Keys().Topic(m.Channel)
	s.table.confirm(topic, m.Kind)
	if m.Kind != "subscribe" {
		return
	}
	if own, ok := s.own[topic]; ok {
		own.Confirmed()
		return
	}
	s.taker.Subscribed(topic)
}

func (s *Subscriber) message(m *redis.Message) {
	defer s.link.Guard().Recover("message from Redis", nil)
	topic := s.link.Keys().Topic(m.Channel)
	if own, ok := s.own[topic]; ok {
		own.Take(m.Payload)
		return
	}
	s.taker.Message(topic, m.Payload)
}
