package broker

import (
	"context"
	"time"
)

// memoryRoster is a shard's part of the node's roster, guarded by the shard's lock. The
// node is the only one, so that what it declares is what is so. The zero value is empty.
type memoryRoster struct {
	users map[string]*memoryUser
	// occupied are the channels that somebody is subscribed to, and whether that is told.
	occupied map[string]bool
	present  map[string]*memoryPresence
	// last is the largest generation that was given out: no name needs one of its own.
	last uint64
}

// memoryUser is one who is online, or was a moment ago.
type memoryUser struct {
	told bool
	// leaving is running while the user has no connection.
	leaving *time.Timer
}

var (
	_ Roster = (*Memory)(nil)
	_ Outbox = (*Memory)(nil)
)

// WatchRoster implements Roster.
func (b *Memory) WatchRoster(w RosterWatcher) { b.watcher = w }

// Declare implements Roster. Facts are told before it returns.
func (b *Memory) Declare(changes ...Change) {
	for i := range changes {
		b.declare(&changes[i])
	}
}

func (b *Memory) declare(c *Change) {
	var topic string
	switch c.Kind {
	case UserHere, UserGone:
		topic = "user:" + c.Name
	case ChannelHere, ChannelGone, MemberHere, MemberGone:
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
	case UserHere:
		b.online(s, c)
	case UserGone:
		b.leaves(s, c)
	case ChannelHere:
		b.occupied(s, c)
	case ChannelGone:
		b.vacated(s, c)
	case MemberHere:
		b.present(s, topic, c)
	case MemberGone:
		b.absent(s, topic, c)
	}
}

func (b *Memory) online(s *memoryShard, c *Change) {
	u := s.roster.users[c.Name]
	switch {
	case u == nil:
		if s.roster.users == nil {
			s.roster.users = map[string]*memoryUser{}
		}
		u = &memoryUser{}
		s.roster.users[c.Name] = u
		b.tell(s, c.Tell, Fact{Kind: UserOnline, Name: c.Name})
	case u.leaving != nil:
		u.leaving.Stop()
		u.leaving = nil
	}
	u.told = c.Tell
}

func (b *Memory) leaves(s *memoryShard, c *Change) {
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

func (b *Memory) offline(s *memoryShard, user string) {
	u := s.roster.users[user]
	delete(s.roster.users, user)
	b.tell(s, u.told, Fact{Kind: UserOffline, Name: user})
}

func (b *Memory) occupied(s *memoryShard, c *Change) {
	if _, is := s.roster.occupied[c.Name]; !is {
		b.tell(s, c.Tell, Fact{Kind: ChannelOccupied, Name: c.Name})
	}
	if s.roster.occupied == nil {
		s.roster.occupied = map[string]bool{}
	}
	s.roster.occupied[c.Name] = c.Tell
}

func (b *Memory) vacated(s *memoryShard, c *Change) {
	if _, is := s.roster.occupied[c.Name]; is {
		delete(s.roster.occupied, c.Name)
		b.tell(s, c.Tell, Fact{Kind: ChannelVacated, Name: c.Name})
	}
}

// tell has a fact told, and counts its generation in any case.
func (b *Memory) tell(s *memoryShard, wanted bool, f Fact) {
	f.At = time.Now()
	f.Generation = max(s.roster.last+1, uint64(f.At.UnixMilli()))
	s.roster.last = f.Generation
	if wanted && b.watcher.Tell != nil {
		b.watcher.Tell(f)
	}
}

// Flush implements Roster: users who are about to be offline are.
func (b *Memory) Flush(context.Context) {
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
func (r *memoryRoster) end() {
	for _, u := range r.users {
		if u.leaving != nil {
			u.leaving.Stop()
		}
	}
	*r = memoryRoster{}
}
