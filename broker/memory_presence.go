package broker

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// memoryPresence is who is present in a channel.
type memoryPresence struct {
	members []*Member // by name, for pages
	paused  bool      // nobody is told of them, as there are too many
}

func (p *memoryPresence) find(user string) (at int, is bool) {
	return slices.BinarySearchFunc(p.members, user, func(m *Member, user string) int { return cmp.Compare(m.User, user) })
}

func (b *Memory) present(s *memoryShard, topic string, c *Change) {
	p := s.roster.present[c.Name]
	if p == nil {
		if s.roster.present == nil {
			s.roster.present = map[string]*memoryPresence{}
		}
		p = &memoryPresence{}
		s.roster.present[c.Name] = p
	}
	at, is := p.find(c.User)
	if is {
		m := *p.members[at] // a page may have the other one
		m.Connections, m.Info = c.Connections, c.Info
		p.members[at] = &m
		return
	}
	m := &Member{User: c.User, Connections: c.Connections, Since: time.Now().UnixMilli(), Info: c.Info}
	p.members = slices.Insert(p.members, at, m)
	b.tell(s, c.Tell, Fact{Kind: MemberJoined, Name: c.Name, User: c.User})
	switch {
	case c.Frames <= 0 || p.paused:
	case len(p.members) > c.Frames:
		p.paused = true
		b.say(s, topic, Paused, &Presence{})
	default:
		b.say(s, topic, Joined, &Presence{User: m.User, Info: m.Info})
	}
}

func (b *Memory) absent(s *memoryShard, topic string, c *Change) {
	p := s.roster.present[c.Name]
	if p == nil {
		return
	}
	at, is := p.find(c.User)
	if !is {
		return
	}
	m := p.members[at]
	if p.members = slices.Delete(p.members, at, at+1); len(p.members) == 0 {
		delete(s.roster.present, c.Name)
	}
	b.tell(s, c.Tell, Fact{Kind: MemberLeft, Name: c.Name, User: c.User})
	switch {
	case c.Frames <= 0:
	case !p.paused:
		b.say(s, topic, Left, &Presence{User: m.User, Info: m.Info})
	case resumes(len(p.members), c.Frames):
		p.paused = false
		b.say(s, topic, Resumed, &Presence{Members: p.page(0, MaxMembers)})
	}
}

// resumes says whether a channel that is paused has few enough members to go on: below
// 80 % of presence_frames (SPEC §4.3).
func resumes(members, frames int) bool { return 5*members < 4*frames }

// say hands a message about members to this node, if it is subscribed.
func (b *Memory) say(s *memoryShard, topic string, kind Kind, p *Presence) {
	if _, here := s.topics[topic]; here {
		b.receive(Message{Topic: topic, Kind: kind, Presence: p})
	}
}

func (p *memoryPresence) page(from, most int) []Member {
	page := make([]Member, 0, min(most, len(p.members)-from))
	for _, m := range p.members[from:min(from+most, len(p.members))] {
		page = append(page, *m)
	}
	return page
}

// Members implements Roster.
func (b *Memory) Members(_ context.Context, channel string, q MembersQuery) (Members, error) {
	s := b.shard("channel:" + channel)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Members{}, ErrClosed
	}
	p := s.roster.present[channel]
	if p == nil {
		return Members{}, nil
	}
	from := 0
	if q.After != "" {
		at, is := p.find(q.After)
		if from = at; is {
			from++
		}
	}
	most := q.Limit
	if most <= 0 || most > MaxMembers {
		most = MaxMembers
	}
	page := p.page(from, most)
	return Members{Page: page, Total: len(p.members), More: from+len(page) < len(p.members)}, nil
}
