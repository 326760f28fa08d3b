package memory

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// lastingLists are those of a shard's topics, guarded by the shard's lock. The zero value
// has none. A list is in use while its topic is subscribed to.
type lastingLists struct {
	of      map[string]*lastingList
	sweepAt int // how many lists there are when those that ended are looked for next
}

type lastingList struct {
	names map[string]struct{}
	used  time.Duration // since the broker began
}

// minSweep is from how many lists of a shard on those that ended are looked for.
const minSweep = 64

// WatchLasting implements Lasting: nothing is ever missed.
func (b *Broker) WatchLasting(func()) {}

// MayLast implements Lasting.
func (b *Broker) MayLast(topic string) bool {
	s := b.shard(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lasting.of[topic] != nil
}

// Lasting implements Lasting.
func (b *Broker) Lasting(_ context.Context, topics ...string) ([][]string, error) {
	lists := make([][]string, len(topics))
	for i, t := range topics {
		s := b.shard(t)
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, broker.ErrClosed
		}
		if l := s.list(t, b.now()); l != nil {
			l.used = b.now()
			lists[i] = slices.Sorted(maps.Keys(l.names))
		}
		s.mu.Unlock()
	}
	return lists, nil
}

// ChangeLasting implements Lasting.
func (b *Broker) ChangeLasting(_ context.Context, c broker.LastingChange) (nodes int, err error) {
	s := b.shard(c.Topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch l := s.list(c.Topic, b.now()); {
	case s.closed:
		return 0, broker.ErrClosed
	case !c.Remove:
		err = s.addLasting(&c, b.now())
	case l != nil:
		if delete(l.names, c.Name); len(l.names) == 0 {
			delete(s.lasting.of, c.Topic)
		}
	}
	if _, here := s.topics[c.Topic]; here && err == nil {
		nodes = 1
		b.receive(broker.Message{Topic: c.Topic, Payload: c.Payload})
	}
	return nodes, err
}

// list is a topic's, nil if it has none. One that ended is forgotten.
func (s *shard) list(topic string, now time.Duration) *lastingList {
	l := s.lasting.of[topic]
	if l != nil && s.ended(topic, l, now) {
		delete(s.lasting.of, topic)
		return nil
	}
	return l
}

func (s *shard) ended(topic string, l *lastingList, now time.Duration) bool {
	_, here := s.topics[topic]
	return !here && now-l.used >= broker.LastingKept
}

func (s *shard) addLasting(c *broker.LastingChange, now time.Duration) error {
	l := s.lasting.of[c.Topic]
	if l == nil {
		l = &lastingList{names: map[string]struct{}{}}
	}
	if _, has := l.names[c.Name]; !has && len(l.names) >= c.Most {
		return broker.ErrFull
	}
	l.names[c.Name], l.used = struct{}{}, now
	if s.lasting.of == nil {
		s.lasting.of = map[string]*lastingList{}
	}
	s.lasting.of[c.Topic] = l
	s.sweepLasting(now)
	return nil
}

// sweepLasting looks for lists that ended whenever there are twice as many as were left
// the last time: nobody may ever ask for them again.
func (s *shard) sweepLasting(now time.Duration) {
	if len(s.lasting.of) < max(minSweep, s.lasting.sweepAt) {
		return
	}
	maps.DeleteFunc(s.lasting.of, func(topic string, l *lastingList) bool { return s.ended(topic, l, now) })
	s.lasting.sweepAt = 2 * len(s.lasting.of)
}

// leaveLasting notes that nobody is subscribed to a topic any more, which used its list.
func (s *shard) leaveLasting(topic string, now time.Duration) {
	if l := s.lasting.of[topic]; l != nil {
		l.used = now
	}
}
