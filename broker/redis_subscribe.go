package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// subscribeAtOnce bounds the topics of one command.
	subscribeAtOnce = 512
	reconnectMin    = 50 * time.Millisecond
	reconnectMax    = time.Second
)

// subscriber keeps what Redis sends in step with what is wanted.
type subscriber struct {
	mu     sync.Mutex // guards all below
	topics map[string]*subscription
	dirty  []string // topics whose wanted and sent may differ
	wake   chan struct{}
	conn   *redis.PubSub // nil while there is none
	number int           // of the connection

	own map[string]func(payload string) // takes the broker's own topics; set before Start
}

// subscription is one topic. It is forgotten when it is neither wanted nor known
// to Redis.
type subscription struct {
	wanted    bool
	sent      bool // the last command on this connection was SUBSCRIBE
	open      int  // commands without confirmation
	confirmed chan struct{}
	isClosed  bool // confirmed is closed: messages come
}

func (s *subscriber) init() {
	s.topics = map[string]*subscription{}
	s.own = map[string]func(string){}
	s.wake = make(chan struct{}, 1)
}

// listen takes what comes to a topic of the broker's own. Call it before Start.
func (s *subscriber) listen(topic string, take func(payload string)) {
	s.own[topic] = take
	s.want(topic)
}

// want notes topics as wanted and returns what to wait for.
func (s *subscriber) want(topics ...string) []<-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	waits := make([]<-chan struct{}, 0, len(topics))
	for _, t := range topics {
		sub := s.topics[t]
		if sub == nil {
			sub = &subscription{confirmed: make(chan struct{})}
			s.topics[t] = sub
		}
		sub.wanted = true
		s.touchLocked(t, sub)
		waits = append(waits, sub.confirmed)
	}
	return waits
}

func (s *subscriber) touchLocked(topic string, sub *subscription) {
	if sub.wanted == sub.sent {
		return
	}
	s.dirty = append(s.dirty, topic)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Subscribe implements Broker.
func (b *Redis) Subscribe(ctx context.Context, topics ...string) error {
	for _, confirmed := range b.subscriber.want(topics...) {
		select {
		case <-confirmed:
			continue
		default:
		}
		select {
		case <-confirmed:
		case <-ctx.Done():
			return fmt.Errorf("%w: subscription not confirmed: %w", ErrUnavailable, ctx.Err())
		case <-b.ctx.Done():
			return ErrClosed
		}
	}
	return nil
}

// Unsubscribe implements Broker.
func (b *Redis) Unsubscribe(topics ...string) {
	s := &b.subscriber
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range topics {
		sub := s.topics[t]
		if sub == nil {
			continue
		}
		sub.wanted = false
		s.touchLocked(t, sub)
		s.forgetLocked(t, sub)
	}
}

func (s *subscriber) forgetLocked(topic string, sub *subscription) {
	if !sub.wanted && !sub.sent && sub.open == 0 {
		delete(s.topics, topic)
	}
}

// changes takes the commands that are due: topics to subscribe to and to leave.
func (s *subscriber) changes() (add, remove []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.dirty {
		sub := s.topics[t]
		if sub == nil || sub.wanted == sub.sent {
			continue
		}
		sub.sent = sub.wanted
		sub.open++
		if sub.wanted {
			add = append(add, t)
			continue
		}
		remove = append(remove, t)
		if sub.isClosed { // whoever wants it next waits anew
			sub.confirmed, sub.isClosed = make(chan struct{}), false
		}
	}
	s.dirty = s.dirty[:0]
	return add, remove
}

// confirm takes Redis' answer to a command.
func (s *subscriber) confirm(topic, kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.topics[topic]
	if sub == nil {
		return
	}
	sub.open--
	if sub.open == 0 && sub.sent && kind == "subscribe" && !sub.isClosed {
		close(sub.confirmed)
		sub.isClosed = true
	}
	s.forgetLocked(topic, sub)
}

// restart forgets what was said on a connection that is gone: everything that is
// wanted is asked for anew, last the canary, so that its return proves all.
func (s *subscriber) restart(canary string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	s.dirty = s.dirty[:0]
	for t, sub := range s.topics {
		sub.sent, sub.open = false, 0
		if sub.isClosed {
			sub.confirmed, sub.isClosed = make(chan struct{}), false
		}
		if !sub.wanted {
			delete(s.topics, t)
		} else if t != canary {
			s.dirty = append(s.dirty, t)
		}
	}
	s.dirty = append(s.dirty, canary)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// listening is the number of the connection on which a topic's messages come, 0 if
// they come on none.
func (s *subscriber) listening(topic string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.topics[topic]; sub != nil && sub.isClosed {
		return s.number
	}
	return 0
}

// interrupt ends the connection; the loop makes a new one.
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
	s.conn = conn
	s.mu.Unlock()
}

// subscribeLoop keeps a connection that receives. A PubSub of go-redis hears
// nothing of its own death and goes on after one; here an error ends it, and the
// next one begins from what is wanted.
func (b *Redis) subscribeLoop() {
	pause := reconnectMin
	for b.ctx.Err() == nil {
		began := time.Now()
		err := b.session()
		if b.ctx.Err() != nil {
			return
		}
		b.setDown(err)
		if time.Since(began) > reconnectMax {
			pause = reconnectMin
		}
		select {
		case <-b.ctx.Done():
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, reconnectMax)
	}
}

// session receives on one connection until it fails.
func (b *Redis) session() error {
	client := b.connect()
	defer client.Close()
	// A write first: nothing is to be subscribed to at a server that is not the
	// master, and a PubSub would hide how connecting went.
	err := b.prove(b.ctx, client).Err()
	switch v := judge(err); {
	case v == unwritable, v == cutOff:
		b.wrote(err)
	case err != nil:
		return err
	}
	conn := client.Subscribe(b.ctx)
	b.subscriber.restart(b.canary)
	b.subscriber.use(conn)
	defer b.subscriber.interrupt()
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		defer b.guard.Recover("commands to Redis", func() { _ = conn.Close() }) // session sees it
		b.commandLoop(conn, stop)
	})
	defer writer.Wait()
	defer close(stop)
	if err := b.apply(conn); err != nil {
		return err
	}
	for {
		m, err := conn.ReceiveTimeout(b.ctx, 0)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *redis.Message:
			b.message(strings.TrimPrefix(m.Channel, b.channels), m.Payload)
		case *redis.Subscription:
			topic := strings.TrimPrefix(m.Channel, b.channels)
			b.subscriber.confirm(topic, m.Kind)
			if topic == b.canary {
				select {
				case b.probeNow <- struct{}{}:
				default:
				}
			}
		}
	}
}

// commandLoop sends what changes while session receives.
func (b *Redis) commandLoop(conn *redis.PubSub, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-b.subscriber.wake:
		}
		if err := b.apply(conn); err != nil {
			_ = conn.Close() // session sees it
			return
		}
	}
}

// apply sends the commands that are due.
func (b *Redis) apply(conn *redis.PubSub) error {
	add, remove := b.subscriber.changes()
	if err := b.inParts(remove, conn.Unsubscribe); err != nil {
		return err
	}
	return b.inParts(add, conn.Subscribe)
}

func (b *Redis) inParts(topics []string, do func(context.Context, ...string) error) error {
	for len(topics) > 0 {
		n := min(len(topics), subscribeAtOnce)
		channels := make([]string, n)
		for i, t := range topics[:n] {
			channels[i] = b.channels + t
		}
		if err := do(b.ctx, channels...); err != nil {
			return err
		}
		topics = topics[n:]
	}
	return nil
}

func (b *Redis) message(topic, payload string) {
	defer b.guard.Recover("message from Redis", nil)
	if take := b.subscriber.own[topic]; take != nil {
		take(payload)
		return
	}
	b.receive(topic, []byte(payload))
}
