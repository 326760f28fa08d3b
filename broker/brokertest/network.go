package brokertest

import (
	"context"
	"sync"

	"github.com/pushcart/pushcart/broker"
)

// Network is the broker of several nodes: what is published comes to all that
// subscribed, in one order.
type Network struct {
	mu sync.Mutex // guards all below
	// topics are the nodes that subscribed, and whether to the topic's stream.
	topics  map[string]map[*NetworkNode]bool
	streams map[string]*networkStream
	epochs  int
	lists   map[string][]string // by topic
	watches []func()
	// Reads counts the calls of Lasting.
	Reads int
	// placed are the positions of the ids seen.
	placed map[[2]string]broker.Position
	// Seen are the ids by topic, with the digest of their content.
	Seen map[[2]string]uint64
	Down bool
	// Fail says which topics are not confirmed.
	Fail func(topic string) bool
	// Lose says what to lose on its way to a node; it still counts.
	Lose func(to *NetworkNode, topic string, payload []byte) bool
	// Confirm, if set, holds back the confirmation of subscriptions until closed.
	Confirm chan struct{}
}

// NetworkNode is the broker of one node. It implements broker.Broker and
// broker.Streams.
type NetworkNode struct {
	net     *Network
	receive broker.Receiver
}

// NewNetwork returns one without nodes.
func NewNetwork() *Network {
	return &Network{
		topics: map[string]map[*NetworkNode]bool{}, streams: map[string]*networkStream{},
		lists: map[string][]string{}, placed: map[[2]string]broker.Position{}, Seen: map[[2]string]uint64{},
	}
}

// Node returns the broker of a new node.
func (n *Network) Node() *NetworkNode { return &NetworkNode{net: n} }

// Set changes the fields while nothing is published.
func (n *Network) Set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// Subscribers counts the nodes that want a topic.
func (n *Network) Subscribers(topic string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.topics[topic])
}

// Start implements broker.Broker.
func (b *NetworkNode) Start(receive broker.Receiver) error {
	b.receive = receive
	return nil
}

// Publish implements broker.Broker.
func (b *NetworkNode) Publish(_ context.Context, batch []broker.Publication) {
	n := b.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range batch {
		n.publishLocked(&batch[i])
	}
}

func (n *Network) publishLocked(p *broker.Publication) {
	p.Nodes, p.Duplicate, p.Position, p.Err = 0, false, broker.Position{}, nil
	if n.Down || n.Fail != nil && n.Fail(p.Topic) {
		p.Err = broker.ErrUnavailable
		return
	}
	key := [2]string{p.Topic, p.ID}
	if p.ID != "" {
		digest, ok := n.Seen[key]
		switch {
		case ok && digest != p.Digest:
			p.Err = broker.ErrConflict
			return
		case ok:
			p.Duplicate, p.Position = true, n.placed[key]
			return
		}
		n.Seen[key] = p.Digest
	}
	if p.Keep.Keeps() {
		n.keepLocked(p)
		if p.ID != "" {
			n.placed[key] = p.Position
		}
	}
	p.Nodes = len(n.topics[p.Topic])
	for to := range n.topics[p.Topic] {
		if n.Lose == nil || !n.Lose(to, p.Topic, p.Payload) {
			to.receive(broker.Message{Topic: p.Topic, Payload: p.Payload, Position: p.Position})
		}
	}
}

// Subscribe implements broker.Broker.
func (b *NetworkNode) Subscribe(ctx context.Context, wanted ...broker.Subscription) error {
	b.net.mu.Lock()
	for _, w := range wanted {
		topic := w.Topic
		if b.net.topics[topic] == nil {
			b.net.topics[topic] = map[*NetworkNode]bool{}
		}
		if keeps := w.Keep.Keeps(); keeps && !b.net.topics[topic][b] {
			b.receive(broker.Message{Topic: topic, Kind: broker.Opened, Position: b.net.stream(topic).Position})
		}
		b.net.topics[topic][b] = b.net.topics[topic][b] || w.Keep.Keeps()
	}
	confirm := b.net.Confirm
	b.net.mu.Unlock()
	if confirm != nil {
		select {
		case <-confirm:
		case <-ctx.Done():
			return broker.ErrUnavailable
		}
	}
	return nil
}

// Unsubscribe implements broker.Broker.
func (b *NetworkNode) Unsubscribe(topics ...string) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	for _, topic := range topics {
		delete(b.net.topics[topic], b)
		if len(b.net.topics[topic]) == 0 {
			delete(b.net.topics, topic)
		}
	}
}

// Up implements broker.Broker.
func (b *NetworkNode) Up() bool {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	return !b.net.Down
}

// UpFor implements broker.Broker.
func (b *NetworkNode) UpFor(string) bool { return b.Up() }

// Close implements broker.Broker.
func (b *NetworkNode) Close() error {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	for topic, nodes := range b.net.topics {
		delete(nodes, b)
		if len(nodes) == 0 {
			delete(b.net.topics, topic)
		}
	}
	return nil
}
