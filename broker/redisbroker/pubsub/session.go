package pubsub

import (
	"cmp"
	"context"
	"errors"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

// subscribeAtOnce bounds the topics of one command.
const subscribeAtOnce = 512

// session keeps a connection to a shard that receives what is wanted of its partitions.
type session struct {
	subscriber *Subscriber
	link       *link.Link
	shard      *link.Shard
	inbox      *inbox
	ctx        context.Context // ends with the session
	cancel     func()
	work       sync.WaitGroup

	mu   sync.Mutex    // guards conn
	conn *redis.PubSub // nil while there is none
}

// interrupt ends the connection; run makes a new one.
func (n *session) interrupt() {
	n.mu.Lock()
	conn := n.conn
	n.conn = nil
	n.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
}

// use says false where the session is over.
func (n *session) use(conn *redis.PubSub) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conn = conn
	return n.ctx.Err() == nil
}

// run keeps a connection that receives. A PubSub of go-redis hears nothing of its
// own death and goes on after one; here an error ends it, and the next one
// subscribes to everything wanted.
func (n *session) run() {
	pause := reconnectMin
	for n.ctx.Err() == nil {
		began := time.Now()
		err := n.connected()
		if n.ctx.Err() != nil {
			return
		}
		n.shard.Fall(err)
		n.link.Look()
		if time.Since(began) > reconnectMax {
			pause = reconnectMin
		}
		pauseFor(n.ctx, pause/2+rand.N(pause/2))
		pause = min(2*pause, reconnectMax)
	}
}

// connected receives on one connection until it fails.
func (n *session) connected() error {
	if err := n.fit(); err != nil {
		return err
	}
	era := n.shard.Era()
	client := n.link.Connect(n.shard)
	defer client.Close()
	conn := client.Subscribe(n.ctx)
	for _, table := range n.subscriber.tables {
		table.pass(n.inbox, n.inbox)
	}
	if !n.use(conn) {
		return conn.Close()
	}
	defer n.interrupt()
	if n.shard.Era() != era { // it was left before there was something to interrupt
		return errLeft
	}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		defer n.link.Guard().Recover("commands to Redis", func() { _ = conn.Close() }) // connected sees it
		n.send(conn, stop)
	})
	defer writer.Wait()
	defer close(stop)
	if err := n.apply(conn); err != nil {
		return err
	}
	return n.receive(conn)
}

func (n *session) receive(conn *redis.PubSub) error {
	for {
		m, err := conn.ReceiveTimeout(n.ctx, 0)
		if p, moved := link.MovedPartition(err); moved {
			n.subscriber.kicked(n, p)
			continue
		}
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *redis.Message:
			n.message(m)
		case *redis.Subscription:
			n.answer(m)
		}
	}
}

// fit says why a server is not to be subscribed at: it has another layout, or is not
// the master. A PubSub would hide how connecting went. One that refuses writes fits:
// it still carries messages.
func (n *session) fit() error {
	line := n.link.Line()
	defer line.HangUp()
	t, err := n.link.Topology(n.ctx)
	if err != nil || !t.Serves(n.shard) {
		return cmp.Or(err, errGone)
	}
	if err := line.CheckLayout(n.ctx); err != nil && !link.RefusesWrites(err) &&
		(errors.Is(err, link.ErrLayout) || t.HasLayout(n.shard)) {
		return err
	}
	var proof *redis.StatusCmd
	if _, err := line.Exchange(n.ctx, func(pipe redis.Pipeliner) { proof = n.link.Prove(n.ctx, pipe, t.Home(n.shard)) }); err != nil {
		return err
	}
	if err := proof.Err(); !link.RefusesWrites(err) {
		return err
	}
	n.shard.Wrote(proof.Err())
	return nil
}

var errLeft = errors.New("the server was left while it was connected to")

var errGone = errors.New("the server has no part of the cluster any more")

// send sends what changes while connected receives.
func (n *session) send(conn *redis.PubSub, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-n.inbox.wake:
		}
		if err := n.apply(conn); err != nil {
			_ = conn.Close() // connected sees it
			return
		}
	}
}

// apply sends the commands that are due, the broker's own topics last.
func (n *session) apply(conn *redis.PubSub) error {
	s := n.subscriber
	var users, own, removed []string
	for due := n.inbox.due.Swap(0); due != 0; due &= due - 1 {
		add, remove := s.tables[bits.TrailingZeros64(due)].changes(n.inbox)
		removed = append(removed, remove...)
		for _, topic := range add {
			if _, ok := s.own[topic]; ok {
				own = append(own, topic)
			} else {
				users = append(users, topic)
			}
		}
	}
	slices.SortFunc(own, func(a, b string) int { return cmp.Compare(s.order[a], s.order[b]) })
	subscribe, unsubscribe := conn.Subscribe, conn.Unsubscribe
	if n.shard.Sharded() {
		subscribe, unsubscribe = conn.SSubscribe, conn.SUnsubscribe
	}
	return cmp.Or(n.inParts(removed, unsubscribe), n.inParts(append(users, own...), subscribe))
}

// inParts sends topics a command's worth at a time. In Cluster all of one command are of
// one partition.
func (n *session) inParts(topics []string, do func(context.Context, ...string) error) error {
	var channels []string
	partition := 0
	for _, topic := range topics {
		channel := n.subscriber.channel(topic)
		p := link.ChannelPartition(channel)
		if len(channels) == subscribeAtOnce || len(channels) > 0 && p != partition && n.shard.Sharded() {
			if err := do(n.ctx, channels...); err != nil {
				return err
			}
			channels = channels[:0]
		}
		channels, partition = append(channels, channel), p
	}
	if len(channels) == 0 {
		return nil
	}
	return do(n.ctx, channels...)
}

func (n *session) answer(m *redis.Subscription) {
	s := n.subscriber
	topic, p := n.link.Keys().Topic(m.Channel), link.ChannelPartition(m.Channel)
	on := m.Kind == "subscribe" || m.Kind == "ssubscribe"
	switch ours, unasked := s.tables[p].confirm(n.inbox, topic, on); {
	case !ours:
		return
	case unasked:
		s.kicked(n, p)
		return
	case !on:
		return
	}
	if own, ok := s.own[topic]; ok {
		own.Confirmed()
		return
	}
	s.taker.Subscribed(topic)
}

// message takes what was published. What comes of a partition that another server has by
// now comes from there.
func (n *session) message(m *redis.Message) {
	defer n.link.Guard().Recover("message from Redis", nil)
	s := n.subscriber
	if n.shard.Sharded() && !s.tables[link.ChannelPartition(m.Channel)].serves(n.inbox) {
		return
	}
	topic := n.link.Keys().Topic(m.Channel)
	if own, ok := s.own[topic]; ok {
		own.Take(m.Payload)
		return
	}
	s.taker.Message(topic, m.Payload)
}
