package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// presence is who is present in a channel.
type presence struct {
	members []*broker.Member // by name, for pages
	paused  bool             // nobody is told of them, as there are too many
}

func (p *presence) find(user string) (at int, is bool) {
	return slices.BinarySearchFunc(p.members, user, func(m *broker.Member, user string) int { return cmp.Compare(m.User, user) })
}

func (b *Broker) present(s *shard, topic string, c *broker.Change) {
	p := s.roster.present[c.Name]
	if p == nil {
		if s.roster.present == nil {
			s.roster.present = map[string]*presence{}
		}
		p = &presence{}
		s.roster.present[c.Name] = p
	}
	at, is := p.find(c.User)
	if is {
		m := *p.members[at] // a page may have the other one
		m.Connections, m.Info = c.Connections, c.Info
		p.members[at] = &m
		return
	}
	m := &broker.Member{User: c.User, Connections: c.Connections, Since: time.Now().UnixMilli(), Info: c.Info}
	p.members = slices.Insert(p.members, at, m)
	b.tell(s, c.Tell, broker.Fact{Kind: broker.MemberJoined, Name: c.Name, User: c.User})
	switch {
	case c.Frames <= 0 || p.paused:
	case len(p.members) > c.Frames:
		p.paused = true
		b.say(s, topic, broker.Paused, &broker.Presence{})
	default:
		b.say(s, topic, broker.Joined, &broker.Presence{User: m.User, Info: m.Info})
	}
}

func (b *Broker) absent(s *shard, topic string, c *broker.Change) {
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
	b.tell(s, c.Tell, broker.Fact{Kind: broker.MemberLeft, Name: c.Name, User: c.User})
	switch {
	case c.Frames <= 0:
	case !p.paused:
		b.say(s, topic, broker.Left, &broker.Presence{User: m.User, Info: m.Info})
	case resumes(len(p.members), c.Frames):
		p.paused = false
		b.say(s, topic, broker.Resumed, &broker.Presence{Members: p.page(0, broker.MaxMembers)})
	}
}

// resumes says whether a channel that is paused has few enough members to go on: below
// 80 % of presence_frames (SPEC §4.3).
func resumes(members, frames int) bool { return 5*members < 4*frames }

// say hands a message about members to this node, if it is subscribed.
func (b *Broker) say(s *shard, topic string, kind broker.Kind, p *broker.Presence) {
	if _, here := s.topics[topic]; here {
		b.receive(broker.Message{Topic: topic, Kind: kind, Presence: p})
	}
}

func (p *presence) page(from, most int) []broker.Member {
	page := make([]broker.Member, 0, min(most, len(p.members)-from))
	for _, m := range p.members[from:min(from+most, len(p.members))] {
		page = append(page, *m)
	}
	return page
}

// Members implements Roster.
func (b *Broker) Members(_ context.Context, channel string, q broker.MembersQuery) (broker.Members, error) {
	s := b.shard("channel:" + channel)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return broker.Members{}, broker.ErrClosed
	}
	p := s.roster.present[channel]
	if p == nil {
		return broker.Members{}, nil
	}
	from := 0
	if q.After != "" {
		at, is := p.find(q.After)
		if from = at; is {
			from++
		}
	}
	most := q.Limit
	if most <= 0 || most > broker.MaxMembers {
		most = broker.MaxMembers
	}
	page := p.page(from, most)
	return broker.Members{Page: page, Total: len(p.members), More: from+len(page) < len(p.members)}, nil
}
