package memory

import (
	"context"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// roster is a shard's part of the node's roster, guarded by the shard's lock. The
// node is the only one, so that what it declares is what is so. The zero value is empty.
type roster struct {
	users map[string]*user
	// occupied are the channels that somebody is subscribed to, and whether that is told.
	occupied map[string]bool
	present  map[string]*presence
	// last is the largest generation that was given out: no name needs one of its own.
	last uint64
}

// user is one who is online, or was a moment ago.
type user struct {
	told bool
	// leaving is running while the user has no connection.
	leaving *time.Timer
}

// WatchRoster implements Roster.
func (b *Broker) WatchRoster(w broker.RosterWatcher) { b.watcher = w }

// Declare implements Roster. Facts are told before it returns.
func (b *Broker) Declare(changes ...broker.Change) {
	for i := range changes {
		c := &changes[i]
		b.declare(c)
		if c.Stored != nil {
			c.Stored(true)
		}
	}
}

// HandOver implements Roster: connections end with their node.
func (b *Broker) HandOver(string) bool { return false }

func (b *Broker) declare(c *broker.Change) {
	var topic string
	switch c.Kind {
	case broker.UserHere, broker.UserGone:
		topic = "user:" + c.Name
	case broker.ChannelHere, broker.ChannelGone, broker.MemberHere, broker.MemberGone:
		topic = "channel:" + c.Name
	default: // connections end with their node
		return
	}
	s := b.shard(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	switch c.Kind {
	case broker.UserHere:
		b.online(s, c)
	case broker.UserGone:
		b.leaves(s, c)
	case broker.ChannelHere:
		b.occupied(s, c)
	case broker.ChannelGone:
		b.vacated(s, c)
	case broker.MemberHere:
		b.present(s, topic, c)
	case broker.MemberGone:
		b.absent(s, topic, c)
	}
}

func (b *Broker) online(s *shard, c *broker.Change) {
	u := s.roster.users[c.Name]
	switch {
	case u == nil:
		if s.roster.users == nil {
			s.roster.users = map[string]*user{}
		}
		u = &user{}
		s.roster.users[c.Name] = u
		b.tell(s, c.Tell, broker.Fact{Kind: broker.UserOnline, Name: c.Name})
	case u.leaving != nil:
		u.leaving.Stop()
		u.leaving = nil
	}
	u.told = c.Tell
}

func (b *Broker) leaves(s *shard, c *broker.Change) {
	u := s.roster.users[c.Name]
	if u == nil || u.leaving != nil {
		return
	}
	u.told = c.Tell
	if c.Delay <= 0 {
		b.offline(s, c.Name)
		return
	}
	var due *time.Timer
	due = time.AfterFunc(c.Delay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.roster.users[c.Name] == u && u.leaving == due {
			b.offline(s, c.Name)
		}
	})
	u.leaving = due
}

func (b *Broker) offline(s *shard, user string) {
	u := s.roster.users[user]
	delete(s.roster.users, user)
	b.tell(s, u.told, broker.Fact{Kind: broker.UserOffline, Name: user})
}

func (b *Broker) occupied(s *shard, c *broker.Change) {
	if _, is := s.roster.occupied[c.Name]; !is {
		b.tell(s, c.Tell, broker.Fact{Kind: broker.ChannelOccupied, Name: c.Name})
	}
	if s.roster.occupied == nil {
		s.roster.occupied = map[string]bool{}
	}
	s.roster.occupied[c.Name] = c.Tell
}

func (b *Broker) vacated(s *shard, c *broker.Change) {
	if _, is := s.roster.occupied[c.Name]; is {
		delete(s.roster.occupied, c.Name)
		b.tell(s, c.Tell, broker.Fact{Kind: broker.ChannelVacated, Name: c.Name})
	}
}

// tell has a fact told, and counts its generation in any case.
func (b *Broker) tell(s *shard, wanted bool, f broker.Fact) {
	f.At = time.Now()
	f.Generation = max(s.roster.last+1, uint64(f.At.UnixMilli()))
	s.roster.last = f.Generation
	if wanted && b.watcher.Tell != nil {
		b.watcher.Tell(f)
	}
}

// Flush implements Roster: users who are about to be offline are.
func (b *Broker) Flush(context.Context) {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		for user, u := range s.roster.users {
			if u.leaving != nil && u.leaving.Stop() {
				b.offline(s, user)
			}
		}
		s.mu.Unlock()
	}
}

// end stops what would still happen. The shard is closed.
func (r *roster) end() {
	for _, u := range r.users {
		if u.leaving != nil {
			u.leaving.Stop()
		}
	}
	*r = roster{}
}
