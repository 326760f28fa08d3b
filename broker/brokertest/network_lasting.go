package brokertest

import (
	"context"
	"slices"

	"github.com/pushcart/pushcart/broker"
)

var _ broker.Lasting = (*NetworkNode)(nil)

// WatchLasting implements broker.Lasting; Missed calls f.
func (b *NetworkNode) WatchLasting(f func()) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	b.net.watches = append(b.net.watches, f)
}

// Missed has all nodes read their lists again.
func (n *Network) Missed() {
	n.mu.Lock()
	watches := slices.Clone(n.watches)
	n.mu.Unlock()
	for _, f := range watches {
		f()
	}
}

// MayLast implements broker.Lasting.
func (b *NetworkNode) MayLast(topic string) bool {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	return b.net.Down || len(b.net.lists) > 0
}

// Lasting implements broker.Lasting.
func (b *NetworkNode) Lasting(_ context.Context, topics ...string) ([][]string, error) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	b.net.Reads++
	if b.net.Down {
		return nil, broker.ErrUnavailable
	}
	lists := make([][]string, len(topics))
	for i, t := range topics {
		lists[i] = slices.Sorted(slices.Values(b.net.lists[t]))
	}
	return lists, nil
}

// ChangeLasting implements broker.Lasting.
func (b *NetworkNode) ChangeLasting(_ context.Context, c broker.LastingChange) (nodes int, err error) {
	n := b.net
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.lists[c.Topic]
	i := slices.Index(list, c.Name)
	switch {
	case n.Down || n.Fail != nil && n.Fail(c.Topic):
		return 0, broker.ErrUnavailable
	case c.Remove && i >= 0:
		n.lists[c.Topic] = slices.Delete(slices.Clone(list), i, i+1)
	case !c.Remove && i < 0 && len(list) >= c.Most:
		return 0, broker.ErrFull
	case !c.Remove && i < 0:
		n.lists[c.Topic] = append(slices.Clone(list), c.Name)
	}
	p := broker.Publication{Topic: c.Topic, Payload: c.Payload}
	n.publishLocked(&p)
	return p.Nodes, p.Err
}
