package registry

import "sync"

// shards is the number of independently locked parts of each table.
const shards = 64

// table is this node's connections by number.
type table struct {
	shards [shards]struct {
		mu sync.RWMutex // guards set
		set[uint64, Conn]
	}
}

func (t *table) init() {
	for i := range t.shards {
		// Numbers are enciphered: they are their own hash.
		t.shards[i].hash = func(c Conn) uint64 { return c.Member().id }
		t.shards[i].is = func(c Conn, id uint64) bool { return c.Member().id == id }
	}
}

func (t *table) add(id uint64, c Conn) {
	s := &t.shards[id%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(id, id) < 0 {
		s.add(c)
	}
}

// Remove says whether the connection was there.
func (t *table) Remove(id uint64) bool {
	s := &t.shards[id%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(id, id)
	if i >= 0 {
		s.set.remove(i)
	}
	return i >= 0
}

// Get returns nil for a number that no connection of this node has.
func (t *table) Get(id uint64) Conn {
	s := &t.shards[id%shards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.set.get(id, id)
}

// AppendTo appends all connections to dst.
func (t *table) AppendTo(dst []Conn) []Conn {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		s.all(func(c Conn) { dst = append(dst, c) })
		s.mu.RUnlock()
	}
	return dst
}

// Size counts the connections.
func (t *table) Size() (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		n += s.count
		s.mu.RUnlock()
	}
	return n
}
