package push

import (
	"hash/maphash"
	"sync"
)

const shards = 64

// users is who is connected to this node, by user_id. Most have one connection,
// so that one needs no list of its own.
type users struct {
	seed   maphash.Seed
	shards [shards]usersShard
}

type usersShard struct {
	mu sync.RWMutex // guards m
	m  map[string]group
}

// group is the connections of one user. A group is never changed in place where
// more is shared: delivery reads it after unlocking.
type group struct {
	one  Conn
	more []Conn
}

func newUsers() *users {
	u := &users{seed: maphash.MakeSeed()}
	for i := range u.shards {
		u.shards[i].m = map[string]group{}
	}
	return u
}

func (u *users) shard(user string) *usersShard {
	return &u.shards[maphash.String(u.seed, user)%shards]
}

func (u *users) add(user string, c Conn) {
	s := u.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.m[user]
	if ok {
		g.more = append(append(make([]Conn, 0, len(g.more)+1), g.more...), c)
	} else {
		g.one = c
	}
	s.m[user] = g
}

// remove takes c out; last is called, under the lock, if it was the user's last
// connection here, so that nobody can come in between.
func (u *users) remove(user string, c Conn, last func()) {
	s := u.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.m[user]
	switch {
	case !ok:
	case g.one == c && len(g.more) == 0:
		delete(s.m, user)
		last()
	case g.one == c:
		s.m[user] = group{one: g.more[0], more: g.more[1:]}
	default:
		s.m[user] = group{one: g.one, more: without(g.more, c)}
	}
}

func without(list []Conn, c Conn) []Conn {
	out := make([]Conn, 0, len(list))
	for _, other := range list {
		if other != c {
			out = append(out, other)
		}
	}
	return out
}

// appendTo appends the user's connections to dst.
func (u *users) appendTo(dst []Conn, user string) []Conn {
	s := u.shard(user)
	s.mu.RLock()
	g, ok := s.m[user]
	s.mu.RUnlock()
	if !ok {
		return dst
	}
	return append(append(dst, g.one), g.more...)
}

func (u *users) count() (n int) {
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.RLock()
		n += len(s.m)
		s.mu.RUnlock()
	}
	return n
}
