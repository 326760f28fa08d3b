package registry

import (
	"hash/maphash"
	"slices"
	"sync"
)

// users is who is connected to this node, by user_id.
type users struct {
	seed   maphash.Seed
	shards [shards]struct {
		mu sync.RWMutex // guards set, every crowd in it, and declared
		set[string, any]
		declared
	}
}

// crowd is the connections of a user that has several. As most have one, the
// table holds that Conn itself in a crowd's place.
type crowd struct {
	user  string
	conns []Conn
}

func userOf(v any) string {
	if c, ok := v.(*crowd); ok {
		return c.user
	}
	return v.(Conn).Member().user
}

func (u *users) init(d declared) {
	u.seed = maphash.MakeSeed()
	for i := range u.shards {
		u.shards[i].declared = d
		u.shards[i].hash = func(v any) uint64 { return maphash.String(u.seed, userOf(v)) }
		u.shards[i].is = func(v any, user string) bool { return userOf(v) == user }
	}
}

// Add takes c in as one of the user's connections.
func (u *users) Add(user string, c Conn) {
	h := maphash.String(u.seed, user)
	s := &u.shards[h%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(h, user)
	if i < 0 {
		s.add(c)
		s.user(user, true)
		return
	}
	switch v := s.slots[i].(type) {
	case *crowd:
		v.conns = append(v.conns, c)
	case Conn:
		s.replace(i, &crowd{user: user, conns: []Conn{v, c}})
	}
}

// Remove takes c out. If that was the user's last connection here, vacant is
// called before anybody else can come.
func (u *users) Remove(user string, c Conn, vacant func()) {
	h := maphash.String(u.seed, user)
	s := &u.shards[h%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(h, user)
	if i < 0 {
		return
	}
	v, many := s.slots[i].(*crowd)
	switch {
	case !many && s.slots[i] == any(c):
		s.set.remove(i)
		vacant()
		s.user(user, false)
	case many:
		if at := slices.Index(v.conns, c); at >= 0 {
			last := len(v.conns) - 1
			v.conns[at], v.conns[last] = v.conns[last], nil
			v.conns = v.conns[:last]
		}
		if len(v.conns) == 1 {
			s.replace(i, v.conns[0])
		}
	}
}

// Has says whether c is among the user's connections.
func (u *users) Has(user string, c Conn) bool {
	return slices.Contains(u.AppendTo(nil, user), c)
}

// IfVacant calls do if user has no connection here, before one can come.
func (u *users) IfVacant(user string, do func()) {
	h := maphash.String(u.seed, user)
	s := &u.shards[h%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(h, user) < 0 {
		do()
	}
}

// Here says whether the user has a connection.
func (u *users) Here(user string) bool {
	h := maphash.String(u.seed, user)
	s := &u.shards[h%shards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.find(h, user) >= 0
}

// Parts calls do with the users of one part of the table after the other.
func (u *users) Parts(do func(names []string)) {
	for i := range u.shards {
		s := &u.shards[i]
		var names []string
		s.mu.RLock()
		s.all(func(v any) { names = append(names, userOf(v)) })
		s.mu.RUnlock()
		do(names)
	}
}

// by changes the rules by which users are declared; anew: the broker has forgotten what was.
func (u *users) by(r *Rules, anew bool) {
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		if anew {
			s.forgotten()
		}
		s.usersBy(r, func(yield func(string)) { s.all(func(v any) { yield(userOf(v)) }) })
		s.mu.Unlock()
	}
}

// AppendTo appends the user's connections to dst.
func (u *users) AppendTo(dst []Conn, user string) []Conn {
	h := maphash.String(u.seed, user)
	s := &u.shards[h%shards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch v := s.get(h, user).(type) {
	case nil:
	case *crowd:
		dst = append(dst, v.conns...)
	case Conn:
		dst = append(dst, v)
	}
	return dst
}

// Size counts the users.
func (u *users) Size() (n int) {
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.RLock()
		n += s.count
		s.mu.RUnlock()
	}
	return n
}
