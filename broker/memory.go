package broker

import (
	"context"
	"hash/maphash"
	"sync"
)

const memoryShards = 64

// Memory is the broker of a single node.
type Memory struct {
	seed    maphash.Seed
	receive Receiver
	shards  [memoryShards]memoryShard
}

type memoryShard struct {
	mu     sync.Mutex // guards all below, and holds while a message is handed over: its order is the topic's
	topics map[string]struct{}
	seen   seenIDs
	closed bool
}

// NewMemory returns a broker for one node.
func NewMemory() *Memory {
	b := &Memory{seed: maphash.MakeSeed()}
	for i := range b.shards {
		b.shards[i].topics = map[string]struct{}{}
	}
	return b
}

func (b *Memory) shard(topic string) *memoryShard {
	return &b.shards[maphash.String(b.seed, topic)%memoryShards]
}

// Start implements Broker.
func (b *Memory) Start(receive Receiver) error {
	b.receive = receive
	return nil
}

// Publish implements Broker. The receiver is called before it returns.
func (b *Memory) Publish(_ context.Context, batch []Publication) {
	for i := range batch {
		b.publish(&batch[i])
	}
}

func (b *Memory) publish(p *Publication) {
	s := b.shard(p.Topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Nodes, p.Duplicate, p.Err = 0, false, nil
	if s.closed {
		p.Err = ErrClosed
		return
	}
	if p.ID != "" {
		if p.Duplicate, p.Err = s.seen.check(p.Topic, p.ID, p.Digest); p.Duplicate || p.Err != nil {
			return
		}
	}
	if _, ok := s.topics[p.Topic]; ok {
		p.Nodes = 1
		b.receive(Message{Topic: p.Topic, Payload: p.Payload})
	}
}

// Subscribe implements Broker.
func (b *Memory) Subscribe(_ context.Context, wanted ...Subscription) error {
	for _, w := range wanted {
		s := b.shard(w.Topic)
		s.mu.Lock()
		s.topics[w.Topic] = struct{}{}
		s.mu.Unlock()
	}
	return nil
}

// Unsubscribe implements Broker.
func (b *Memory) Unsubscribe(topics ...string) {
	for _, t := range topics {
		s := b.shard(t)
		s.mu.Lock()
		delete(s.topics, t)
		s.mu.Unlock()
	}
}

// Up implements Broker: memory always is.
func (b *Memory) Up() bool { return true }

// Close implements Broker.
func (b *Memory) Close() error {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		s.closed = true
		clear(s.topics)
		s.mu.Unlock()
	}
	return nil
}
