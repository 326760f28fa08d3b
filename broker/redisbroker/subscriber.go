package redisbroker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
)

const (
	// subscribeAtOnce bounds the topics of one command.
	subscribeAtOnce = 512
	reconnectMin    = 50 * time.Millisecond
	reconnectMax    = time.Second
)

// subscriber keeps a connection that receives the wanted topics.
type subscriber struct {
	link  *link
	table *subscriptions

	streams *streams

	// Set before run.
	own   map[string]listener // by topic
	order []string            // of own

	mu   sync.Mutex    // guards conn
	conn *redis.PubSub // nil while there is none
}

// listener receives one of the broker's own topics. Its functions must
// not block.
type listener struct {
	channel string
	take    func(payload string)
	// confirmed is called whenever messages begin to come: earlier ones may be lost.
	confirmed func()
}

func newSubscriber(l *link, streams *streams) *subscriber {
	s := &subscriber{link: l, streams: streams, table: newSubscriptions(), own: map[string]listener{}}
	l.onLeave(s.interrupt)
	return s
}

// listen subscribes to a topic of the broker's own, after all topics of its users
// and all that listen was called with before. Call it before run.
func (s *subscriber) listen(topic string, l listener) {
	s.own[topic] = l
	s.order = append(s.order, topic)
	s.table.want(broker.Subscription{Topic: topic})
}

// await is Broker.Subscribe.
func (s *subscriber) await(ctx context.Context, wanted []broker.Subscription) error {
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
		case <-s.link.ctx.Done():
			return broker.ErrClosed
		}
	}
	return nil
}

// interrupt ends the connection; run makes a new one.
func (s *subscriber) interrupt() {
	s.mu.Lock()
	conn := s.conn
	s.conn = nil
	s.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
}

func (s *subscriber) use(conn *redis.PubSub) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
}

// run keeps a connection that receives. A PubSub of go-redis hears nothing of its
// own death and goes on after one; here an error ends it, and the next one
// subscribes to everything wanted.
func (s *subscriber) run() {
	ctx, pause := s.link.ctx, reconnectMin
	for ctx.Err() == nil {
		began := time.Now()
		err := s.session()
		if ctx.Err() != nil {
			return
		}
		s.link.health.fall(err)
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
func (s *subscriber) session() error {
	client := s.link.connect()
	defer client.Close()
	if err := s.fit(client); err != nil {
		return err
	}
	conn := client.Subscribe(s.link.ctx)
	s.table.restart(s.order)
	s.use(conn)
	defer s.interrupt()
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		defer s.link.guard.Recover("commands to Redis", func() { _ = conn.Close() }) // session sees it
		s.send(conn, stop)
	})
	defer writer.Wait()
	defer close(stop)
	if err := s.apply(conn); err != nil {
		return err
	}
	for {
		m, err := conn.ReceiveTimeout(s.link.ctx, 0)
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
func (s *subscriber) fit(client *redis.Client) error {
	if err := s.link.checkLayout(s.link.ctx, client); err != nil && !refusesWrites(err) {
		return err
	}
	err := s.link.prove(s.link.ctx, client).Err()
	if refusesWrites(err) {
		s.link.health.wrote(err)
		return nil
	}
	return err
}

// send sends what changes while session receives.
func (s *subscriber) send(conn *redis.PubSub, stop <-chan struct{}) {
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
func (s *subscriber) apply(conn *redis.PubSub) error {
	add, remove := s.table.changes()
	if err := s.inParts(remove, conn.Unsubscribe); err != nil {
		return err
	}
	return s.inParts(add, conn.Subscribe)
}

func (s *subscriber) inParts(topics []string, do func(context.Context, ...string) error) error {
	for len(topics) > 0 {
		n := min(len(topics), subscribeAtOnce)
		channels := make([]string, n)
		for i, t := range topics[:n] {
			channels[i] = s.channel(t)
		}
		if err := do(s.link.ctx, channels...); err != nil {
			return err
		}
		topics = topics[n:]
	}
	return nil
}

func (s *subscriber) channel(topic string) string {
	if own, ok := s.own[topic]; ok {
		return own.channel
	}
	return s.link.keys.channel(topic)
}

func (s *subscriber) answer(m *redis.Subscription) {
	topic := s.link.keys.topic(m.Channel)
	s.table.confirm(topic, m.Kind)
	if m.Kind != "subscribe" {
		return
	}
	if own, ok := s.own[topic]; ok {
		own.confirmed()
		return
	}
	s.streams.subscribed(topic)
}

func (s *subscriber) message(m *redis.Message) {
	defer s.link.guard.Recover("message from Redis", nil)
	topic := s.link.keys.topic(m.Channel)
	if own, ok := s.own[topic]; ok {
		own.take(m.Payload)
		return
	}
	s.streams.message(topic, m.Payload)
}
