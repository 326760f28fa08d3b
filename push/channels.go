package push

import (
	"slices"
	"sync"
)

// channels is who of this node is subscribed to what.
type channels struct {
	mu sync.RWMutex // guards m, every channel in it, and every member's seats
	m  map[string]*channel
}

type channel struct {
	name  string
	conns []Conn
}

func newChannels() *channels { return &channels{m: map[string]*channel{}} }

// add subscribes c; false: it was already. most bounds the channels of one
// connection (full: true where that is reached).
func (t *channels) add(name string, c Conn, most int) (added, full bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := c.Member()
	if m.seats == nil {
		m.seats = new([]seat)
	}
	if slices.ContainsFunc(*m.seats, func(s seat) bool { return s.in.name == name }) {
		return false, false
	}
	if len(*m.seats) >= most {
		return false, true
	}
	ch := t.m[name]
	if ch == nil {
		ch = &channel{name: name}
		t.m[name] = ch
	}
	*m.seats = append(*m.seats, seat{in: ch, index: len(ch.conns)})
	ch.conns = append(ch.conns, c)
	return true, false
}

// remove ends one subscription; last is called, under the lock, if it was the
// channel's last here.
func (t *channels) remove(name string, c Conn, last func(name string)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := c.Member()
	i := slices.IndexFunc(m.sitting(), func(s seat) bool { return s.in.name == name })
	if i < 0 {
		return false
	}
	t.standUpLocked((*m.seats)[i], last)
	*m.seats = slices.Delete(*m.seats, i, i+1)
	return true
}

// removeAll ends all of c's subscriptions.
func (t *channels) removeAll(c Conn, last func(name string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := c.Member()
	for _, s := range m.sitting() {
		t.standUpLocked(s, last)
	}
	m.seats = nil
}

// standUpLocked empties a seat; the channel's last connection moves to it.
func (t *channels) standUpLocked(s seat, last func(name string)) {
	conns := s.in.conns
	end := len(conns) - 1
	moved := conns[end]
	conns[s.index], conns[end] = moved, nil
	s.in.conns = conns[:end]
	seats := moved.Member().sitting()
	for i := range seats {
		if seats[i].in == s.in {
			seats[i].index = s.index
		}
	}
	if end == 0 {
		delete(t.m, s.in.name)
		last(s.in.name)
	}
}

// appendTo appends the channel's connections to dst.
func (t *channels) appendTo(dst []Conn, name string) []Conn {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if ch := t.m[name]; ch != nil {
		dst = append(dst, ch.conns...)
	}
	return dst
}

// has says whether m is subscribed to one of names.
func (t *channels) has(m *Member, names []string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.ContainsFunc(m.sitting(), func(s seat) bool { return slices.Contains(names, s.in.name) })
}

func (t *channels) of(m *Member) []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	names := make([]string, 0, len(m.sitting()))
	for _, s := range m.sitting() {
		names = append(names, s.in.name)
	}
	return names
}

// sitting is the member's seats; the table's lock is held.
func (m *Member) sitting() []seat {
	if m.seats == nil {
		return nil
	}
	return *m.seats
}

func (t *channels) count() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.m)
}
