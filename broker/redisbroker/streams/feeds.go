package streams

import (
	"sync"
	"sync/atomic"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

// feeds are the streams that this node is subscribed to, by their partitions.
type feeds struct {
	count atomic.Int64
	tails atomic.Int64 // bytes of all tails
	parts [link.Partitions]struct {
		mu sync.Mutex // guards all below
		m  map[string]*feed
		// left is where streams were that were left since the last round: what Redis sent
		// before it heard of that may still come, and a new subscription begins after it.
		left map[string]broker.Position
	}
}

// maxLeft bounds what is remembered of the streams of a partition that were left.
const maxLeft = 1024

func newFeeds() *feeds {
	t := &feeds{}
	for p := range t.parts {
		t.parts[p].m = map[string]*feed{}
	}
	return t
}

// get returns nil for a topic that is not a stream here.
func (t *feeds) get(topic string) *feed {
	if t.count.Load() == 0 {
		return nil
	}
	p := &t.parts[link.TopicPartition(topic)]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.m[topic]
}

// add returns the feed of a topic, which is new if it has none.
func (t *feeds) add(topic string) *feed {
	p := &t.parts[link.TopicPartition(topic)]
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.m[topic]; f != nil {
		return f
	}
	f := t.addLocked(p.m, topic, broker.Position{})
	f.floor = p.left[topic]
	return f
}

// learn returns the feed that a kept message is for, but nil if its topic is not wanted. A
// new one begins with the message.
func (t *feeds) learn(m broker.Message, wanted func(topic string) bool) *feed {
	p := &t.parts[link.TopicPartition(m.Topic)]
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.m[m.Topic]; f != nil {
		return f
	}
	if !wanted(m.Topic) {
		return nil
	}
	return t.addLocked(p.m, m.Topic, broker.Position{Offset: m.Position.Offset - 1, Epoch: m.Position.Epoch})
}

func (t *feeds) addLocked(m map[string]*feed, topic string, at broker.Position) *feed {
	f := &feed{topic: topic, at: at, opened: make(chan struct{}), tail: tail{of: &t.tails}}
	m[topic] = f
	t.count.Add(1)
	return f
}

// remove gives up the feeds of topics.
func (t *feeds) remove(topics []string) {
	if t.count.Load() == 0 {
		return
	}
	for _, topic := range topics {
		p := &t.parts[link.TopicPartition(topic)]
		p.mu.Lock()
		f := p.m[topic]
		if f != nil {
			delete(p.m, topic)
			t.count.Add(-1)
			if at := f.end(); at.Epoch != "" && len(p.left) < maxLeft {
				if p.left == nil {
					p.left = map[string]broker.Position{}
				}
				p.left[topic] = at
			}
		}
		p.mu.Unlock()
	}
}

// of are the feeds of a partition.
func (t *feeds) of(partition int) []*feed {
	p := &t.parts[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = nil
	all := make([]*feed, 0, len(p.m))
	for _, f := range p.m {
		all = append(all, f)
	}
	return all
}

// read answers a query from the tail of a stream that this node holds.
func (t *feeds) read(q *broker.Query, now int64) (broker.Range, bool) {
	f := t.get(q.Topic)
	if f == nil {
		return broker.Range{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != live || f.at.Epoch == "" {
		return broker.Range{}, false
	}
	return f.tail.read(q, f.at, now)
}
