package registry

import (
	"hash/maphash"
	"slices"
	"sync"
)

// channels is who of this node is subscribed to what. A shard's lock comes before
// that of a member's places; no two of either are held at once.
type channels struct {
	seed   maphash.Seed
	shards [shards]channelShard
	places [shards]sync.Mutex // guard Member.places, by Member.id
}

type channelShard struct {
	mu sync.RWMutex // guards m, every channel in it, the index of every place in them, and declared
	m  map[string]*channel
	declared
}

type channel struct {
	name    string
	conns   []Conn
	members members // nil where the rules have no presence
}

func (t *channels) init(d declared) {
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].m, t.shards[i].declared = map[string]*channel{}, d
	}
}

func (t *channels) shard(name string) *channelShard {
	return &t.shards[maphash.String(t.seed, name)%shards]
}

// seatsOf locks the places of m.
func (t *channels) seatsOf(m *Member) *sync.Mutex {
	mu := &t.places[m.id%shards]
	mu.Lock()
	return mu
}

// Add subscribes c, unless it is already, or has as many channels as it may (full).
func (t *channels) Add(name string, c Conn, most int) (added, full bool) {
	s := t.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := s.m[name]
	if ch == nil {
		ch = &channel{name: name}
	}
	if added, full = t.sit(c.Member(), ch, most); added {
		ch.conns = append(ch.conns, c)
		s.m[name] = ch
		if len(ch.conns) == 1 {
			s.channel(ch.name, true)
		}
		s.member(ch, c, true)
	}
	return added, full
}

// sit gives m a place at the end of ch.
func (t *channels) sit(m *Member, ch *channel, most int) (added, full bool) {
	defer t.seatsOf(m).Unlock()
	if m.place(ch.name) >= 0 {
		return false, false
	}
	var held []place
	if m.places != nil {
		held = *m.places
	}
	if len(held) >= most {
		return false, true
	}
	held = append(held, place{in: ch, index: len(ch.conns)})
	m.places = &held
	return true, false
}

// place is the index of m's place in a channel, -1 if it has none. Its places are
// locked.
func (m *Member) place(name string) int {
	if m.places == nil {
		return -1
	}
	return slices.IndexFunc(*m.places, func(s place) bool { return s.in.name == name })
}

// Remove ends one subscription. If it was the channel's last here, vacant is
// called before anybody else can come.
func (t *channels) Remove(name string, c Conn, vacant func(name string)) (was bool) {
	s := t.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	gone, ok := t.standUp(c.Member(), name)
	if !ok {
		return false
	}
	// The channel's last connection moves to the empty place.
	ch := gone.in
	last := len(ch.conns) - 1
	moved := ch.conns[last]
	ch.conns[gone.index], ch.conns[last] = moved, nil
	ch.conns = ch.conns[:last]
	if moved != c {
		t.move(moved.Member(), ch, gone.index)
	}
	s.member(ch, c, false)
	switch {
	case last == 0:
		delete(s.m, name)
		vacant(name)
		s.channel(name, false)
	case cap(ch.conns) > 64 && 4*last < cap(ch.conns):
		ch.conns = slices.Clone(ch.conns)
	}
	return true
}

// Has says whether m is subscribed to a channel.
func (t *channels) Has(m *Member, name string) bool {
	defer t.seatsOf(m).Unlock()
	return m.place(name) >= 0
}

// standUp takes m's place in a channel away.
func (t *channels) standUp(m *Member, name string) (gone place, ok bool) {
	defer t.seatsOf(m).Unlock()
	i := m.place(name)
	if i < 0 {
		return place{}, false
	}
	gone = (*m.places)[i]
	if *m.places = slices.Delete(*m.places, i, i+1); len(*m.places) == 0 {
		m.places = nil
	}
	return gone, true
}

func (t *channels) move(m *Member, ch *channel, index int) {
	defer t.seatsOf(m).Unlock()
	if i := m.place(ch.name); i >= 0 {
		(*m.places)[i].index = index
	}
}

// by changes the rules by which channels and their members are declared; anew: the broker
// has forgotten what was.
func (t *channels) by(r *Rules, anew bool) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		if anew {
			s.forgotten()
		}
		s.channelsBy(r, s.m)
		s.mu.Unlock()
	}
}

// RemoveAll ends all of c's subscriptions.
func (t *channels) RemoveAll(c Conn, vacant func(name string)) {
	for _, name := range t.Of(c.Member()) {
		t.Remove(name, c, vacant)
	}
}

// IfVacant calls do if nobody here is subscribed, before anybody can be.
func (t *channels) IfVacant(name string, do func()) {
	s := t.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[name] == nil {
		do()
	}
}

// AppendTo appends the channel's connections to dst.
func (t *channels) AppendTo(dst []Conn, name string) []Conn {
	s := t.shard(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if ch := s.m[name]; ch != nil {
		dst = append(dst, ch.conns...)
	}
	return dst
}

// AnyOf says whether m is subscribed to a channel that is among the first n names.
func (t *channels) AnyOf(m *Member, names *NameSet, n int) bool {
	defer t.seatsOf(m).Unlock()
	return m.places != nil && slices.ContainsFunc(*m.places, func(s place) bool { return names.among(s.in.name, n) })
}

// Of are the names of the channels that m is subscribed to, in the order in which it was.
func (t *channels) Of(m *Member) []string {
	defer t.seatsOf(m).Unlock()
	if m.places == nil {
		return []string{}
	}
	names := make([]string, 0, len(*m.places))
	for _, s := range *m.places {
		names = append(names, s.in.name)
	}
	return names
}

// ChannelCount is a channel and how many connections of this node it has.
type ChannelCount struct {
	Channel     string `json:"channel"`
	Connections int    `json:"connections"`
}

// List returns the channels that match wants.
func (t *channels) List(match func(name string) bool) []ChannelCount {
	var out []ChannelCount
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		for name, ch := range s.m {
			if match(name) {
				out = append(out, ChannelCount{name, len(ch.conns)})
			}
		}
		s.mu.RUnlock()
	}
	return out
}

// Size counts the channels.
func (t *channels) Size() (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		n += len(s.m)
		s.mu.RUnlock()
	}
	return n
}
