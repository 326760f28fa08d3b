package brokertest

import (
	"context"
	"fmt"
	"time"

	"github.com/pushcart/pushcart/broker"
)

var _ broker.Streams = (*NetworkNode)(nil)

// networkStream is what is kept of a topic.
type networkStream struct {
	broker.Position
	forgotten uint64
	messages  []networkMessage
}

type networkMessage struct {
	broker.Message
	until time.Time // the end of its TTL; zero: none
}

// stream makes the topic's if there is none.
func (n *Network) stream(topic string) *networkStream {
	s := n.streams[topic]
	if s == nil {
		n.epochs++
		s = &networkStream{Position: broker.Position{Epoch: fmt.Sprint("e", n.epochs)}}
		n.streams[topic] = s
	}
	return s
}

// keepLocked gives a publication its place.
func (n *Network) keepLocked(p *broker.Publication) {
	s, now := n.stream(p.Topic), time.Now()
	s.Offset++
	p.Position = s.Position
	m := networkMessage{Message: broker.Message{Topic: p.Topic, Payload: p.Payload, Position: s.Position, Time: now.UnixMilli()}}
	if p.TTL > 0 {
		m.until = now.Add(p.TTL)
	}
	s.messages = append(s.messages, m)
	s.messages = s.messages[max(0, len(s.messages)-p.Keep.Messages):]
}

// LoseHistory begins a new epoch of a topic's stream, without messages, and tells who
// is subscribed.
func (n *Network) LoseHistory(topic string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.streams, topic)
	s := n.stream(topic)
	for to, keeps := range n.topics[topic] {
		if keeps {
			to.receive(broker.Message{Topic: topic, Kind: broker.Lost, Position: s.Position})
		}
	}
}

// Keep puts a message into a topic's stream that no node published.
func (n *Network) Keep(topic string, payload []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keepLocked(&broker.Publication{Topic: topic, Payload: payload, Keep: broker.Retention{Messages: 1000, Age: time.Hour}})
}

// Read implements broker.Streams.
func (b *NetworkNode) Read(_ context.Context, q broker.Query) (broker.Range, error) {
	n := b.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.Down {
		return broker.Range{}, broker.ErrUnavailable
	}
	s := n.streams[q.Topic]
	if s == nil {
		return broker.Range{Gap: !q.Whole && q.Last == 0 && q.After != broker.Position{}}, nil
	}
	r := broker.Range{Current: s.Position}
	kept := s.alive(q.Keep)
	from, oldest := q.After.Offset, s.Offset
	if len(kept) > 0 {
		oldest = kept[0].Position.Offset - 1
	}
	switch {
	case q.Whole:
		from = oldest
	case q.Last > 0:
		from = max(oldest, s.Offset-min(s.Offset, uint64(q.Last)))
	case q.After.Epoch != "" && q.After.Epoch != s.Epoch, from > s.Offset, from < s.forgotten, from < oldest:
		r.Gap, from = true, oldest
	}
	s.read(&r, kept, from, &q)
	return r, nil
}

// alive are the messages that are not past the age.
func (s *networkStream) alive(keep broker.Retention) []networkMessage {
	kept := s.messages
	for len(kept) > 0 && kept[0].Time <= time.Now().Add(-keep.Age).UnixMilli() {
		kept = kept[1:]
	}
	return kept
}

func (s *networkStream) read(r *broker.Range, kept []networkMessage, from uint64, q *broker.Query) {
	limit, size := q.Limit, 0
	if limit <= 0 || limit > broker.MaxRead {
		limit = broker.MaxRead
	}
	r.Reached = from
	for _, m := range kept {
		if m.Position.Offset <= from {
			continue
		}
		if !m.until.IsZero() && !time.Now().Before(m.until) {
			r.Reached = m.Position.Offset
			continue
		}
		size += len(m.Payload)
		if len(r.Messages) == limit || size > broker.MaxReadBytes && len(r.Messages) > 0 {
			r.More = true
			return
		}
		r.Messages, r.Reached = append(r.Messages, m.Message), m.Position.Offset
	}
}

// Forget implements broker.Streams.
func (b *NetworkNode) Forget(_ context.Context, topic string) error {
	n := b.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.Down {
		return broker.ErrUnavailable
	}
	if s := n.streams[topic]; s != nil {
		s.messages, s.forgotten = nil, s.Offset
	}
	return nil
}
