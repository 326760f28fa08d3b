package pubsub

import (
	"sync"

	"github.com/pushcart/pushcart/broker"
)

// subscriptions is the table of wanted topics, and of the commands that were sent
// for them on the current connection. It has no connection itself: its owner sends
// what changes returns, and reports what Redis confirms.
type subscriptions struct {
	wake chan struct{} // changes has something

	mu      sync.Mutex // guards all below
	topics  map[string]*subscription
	dirty   []string // topics whose wanted and sent may differ
	session int      // number of the connection
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

func newSubscriptions() *subscriptions {
	return &subscriptions{topics: map[string]*subscription{}, wake: make(chan struct{}, 1)}
}

// want notes topics as wanted and returns what to wait for.
func (s *subscriptions) want(wanted ...broker.Subscription) []<-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	waits := make([]<-chan struct{}, 0, len(wanted))
	for i := range wanted {
		t := wanted[i].Topic
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

func (s *subscriptions) touchLocked(topic string, sub *subscription) {
	if sub.wanted == sub.sent {
		return
	}
	s.dirty = append(s.dirty, topic)
	s.wakeLocked()
}

func (s *subscriptions) wakeLocked() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// leave notes topics as not wanted.
func (s *subscriptions) leave(topics []string) {
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

func (s *subscriptions) forgetLocked(topic string, sub *subscription) {
	if !sub.wanted && !sub.sent && sub.open == 0 {
		delete(s.topics, topic)
	}
}

// changes takes the commands that are due: topics to subscribe to and to leave.
func (s *subscriptions) changes() (add, remove []string) {
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

// confirm takes Redis' answer to a command.
func (s *subscriptions) confirm(topic, kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.topics[topic]
	if sub == nil {
		return
	}
	sub.open--
	if sub.open == 0 && sub.sent && kind == "subscribe" && !sub.isClosed {
		close(sub.confirmed)
		sub.confirmed = nowConfirmed
		sub.isClosed = true
	}
	s.forgetLocked(topic, sub)
}

// restart is for a new connection: everything wanted is to be sent again, the topics
// of last after all others.
func (s *subscriptions) restart(last []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session++
	s.dirty = s.dirty[:0]
	late := make(map[string]bool, len(last))
	for _, t := range last {
		late[t] = true
	}
	for t, sub := range s.topics {
		sub.sent, sub.open = false, 0
		sub.unconfirm()
		if !sub.wanted {
			delete(s.topics, t)
		} else if !late[t] {
			s.dirty = append(s.dirty, t)
		}
	}
	s.dirty = append(s.dirty, last...)
	s.wakeLocked()
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
