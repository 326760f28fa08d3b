package push

import "sync"

// table is this node's connections by number.
type table struct {
	shards [shards]tableShard
}

type tableShard struct {
	mu sync.RWMutex // guards m
	m  map[uint64]Conn
}

func newTable() *table {
	t := &table{}
	for i := range t.shards {
		t.shards[i].m = map[uint64]Conn{}
	}
	return t
}

func (t *table) add(id uint64, c Conn) {
	s := &t.shards[id%shards]
	s.mu.Lock()
	s.m[id] = c
	s.mu.Unlock()
}

// remove says whether c was there.
func (t *table) remove(id uint64) bool {
	s := &t.shards[id%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.m[id]
	delete(s.m, id)
	return ok
}

func (t *table) get(id uint64) Conn {
	s := &t.shards[id%shards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.m[id]
}

// appendTo appends all connections to dst.
func (t *table) appendTo(dst []Conn) []Conn {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		for _, c := range s.m {
			dst = append(dst, c)
		}
		s.mu.RUnlock()
	}
	return dst
}

func (t *table) count() (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		n += len(s.m)
		s.mu.RUnlock()
	}
	return n
}
