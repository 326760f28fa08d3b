package pubsub

import (
	"sync"
	"sync/atomic"
)

// subscriptions is the table of a partition's wanted topics, and of the commands that were
// sent for them on the current connection. It has no connection itself: its owner sends
// what changes returns, and reports what Redis confirms.
type subscriptions struct {
	partition int

	mu      sync.Mutex // guards all below
	topics  map[string]*subscription
	dirty   []string // topics whose wanted and sent may differ
	owner   *inbox   // of the owner; nil: there is none
	session int      // number of the connection
}

// inbox is what the owner of tables waits for.
type inbox struct {
	due  atomic.Uint64 // the partitions whose tables have changes, as bits
	wake chan struct{}
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (i *inbox) mark(partition int) {
	i.due.Or(1 << partition)
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// nowConfirmed is in the place of channels that are closed.
var nowConfirmed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// subscription is one topic. It is forgotten when it is neither wanted nor known
// to Redis.
type subscription struct {
	wanted    bool
	sent      bool // the last command on this connection was SUBSCRIBE
	open      int  // commands without confirmation
	confirmed chan struct{}
	isClosed  bool // confirmed is closed: messages come
}

func newSubscriptions(partition int) *subscriptions {
	return &subscriptions{partition: partition, topics: map[string]*subscription{}}
}

// want notes a topic as wanted and returns what to wait for.
func (s *subscriptions) want(topic string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.topics[topic]
	if sub == nil {
		sub = &subscription{confirmed: make(chan struct{})}
		s.topics[topic] = sub
	}
	sub.wanted = true
	s.touchLocked(topic, sub)
	return sub.confirmed
}

func (s *subscriptions) touchLocked(topic string, sub *subscription) {
	if sub.wanted == sub.sent {
		return
	}
	s.dirty = append(s.dirty, topic)
	if s.owner != nil {
		s.owner.mark(s.partition)
	}
}

// leave notes a topic as not wanted.
func (s *subscriptions) leave(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.topics[topic]
	if sub == nil {
		return
	}
	sub.wanted = false
	s.touchLocked(topic, sub)
	s.forgetLocked(topic, sub)
}

func (s *subscriptions) forgetLocked(topic string, sub *subscription) {
	if !sub.wanted && !sub.sent && sub.open == 0 {
		delete(s.topics, topic)
	}
}

// changes takes the commands that are due for its owner: topics to subscribe to and to
// leave.
func (s *subscriptions) changes(owner *inbox) (add, remove []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner != owner {
		return nil, nil
	}
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
		sub.unconfirm() // whoever wants it next waits again
	}
	s.dirty = s.dirty[:0]
	return add, remove
}

func (sub *subscription) unconfirm() {
	if sub.isClosed {
		sub.confirmed, sub.isClosed = make(chan struct{}), false
	}
}

// confirm takes Redis' answer to a command of the owner; on says what was asked for.
// unasked: nothing was, so that the server has no such partition any more.
func (s *subscriptions) confirm(owner *inbox, topic string, on bool) (ours, unasked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.topics[topic]
	if s.owner != owner || sub == nil {
		return s.owner == owner, false
	}
	if sub.open == 0 {
		return true, true
	}
	sub.open--
	if sub.open == 0 && sub.sent && on && !sub.isClosed {
		close(sub.confirmed)
		sub.confirmed = nowConfirmed
		sub.isClosed = true
	}
	s.forgetLocked(topic, sub)
	return true, false
}

// restart gives the table to an owner that has a new connection, or to none: everything
// wanted is to be sent again.
func (s *subscriptions) restart(owner *inbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restartLocked(owner)
}

// pass is restart, if the table has this owner now.
func (s *subscriptions) pass(from, to *inbox) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner != from {
		return false
	}
	s.restartLocked(to)
	return true
}

func (s *subscriptions) restartLocked(owner *inbox) {
	s.owner = owner
	s.session++
	s.dirty = s.dirty[:0]
	for t, sub := range s.topics {
		sub.sent, sub.open = false, 0
		sub.unconfirm()
		if sub.wanted {
			s.dirty = append(s.dirty, t)
		} else {
			delete(s.topics, t)
		}
	}
	if owner != nil {
		owner.mark(s.partition)
	}
}

// serves says whether an owner has the table.
func (s *subscriptions) serves(owner *inbox) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owner == owner
}

// wants says whether a topic is wanted.
func (s *subscriptions) wants(topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.topics[topic]
	return sub != nil && sub.wanted
}

// listening is the number of the connection on which a topic's messages come, 0 if
// they come on none.
func (s *subscriptions) listening(topic string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.topics[topic]; sub != nil && sub.isClosed {
		return s.session
	}
	return 0
}
