package hub

import (
	"slices"
	"sync"
	"sync/atomic"
)

// lasting is what this node knows of its users' lasting subscriptions: the lists that the
// broker keeps, and their readings under way. A reading knows nothing of the orders that
// come meanwhile; so these are noted with it, and what it had subscribed to and an order
// ended before it was done is ended then. Users without such subscriptions are not here.
type lasting struct {
	hub   *Hub
	count atomic.Int64 // of users and doubts

	mu    sync.Mutex // guards all below; comes before the locks of streams and tables
	users map[string]*lastingUser
	// doubts are connections whose lists could not be read.
	doubts map[Conn]struct{}
	again
}

// lastingUser is a user of this node.
type lastingUser struct {
	names []string // the list as it was read last, and changed since
	reads []*lastingRead
}

// lastingRead is a reading of a user's list, until its names are subscribed to.
type lastingRead struct {
	user    string
	changed map[string]bool // by orders since it began; true: added
	names   []string        // that it found
	gone    []string        // that the list had before
}

func newLasting(h *Hub) *lasting {
	return &lasting{hub: h, users: map[string]*lastingUser{}, doubts: map[Conn]struct{}{}, again: newAgain()}
}

func (l *lasting) countLocked() { l.count.Store(int64(len(l.users) + len(l.doubts))) }

// begin notes that a user's list is about to be read.
func (l *lasting) begin(user string) *lastingRead {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[user]
	if u == nil {
		u = &lastingUser{}
		l.users[user] = u
		l.countLocked()
	}
	r := &lastingRead{user: user}
	u.reads = append(u.reads, r)
	return r
}

// found takes the list that was read for one connection of several, perhaps, and returns
// the names to subscribe it to.
func (l *lasting) found(r *lastingRead, list []string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.names = r.current(list)
	u := l.users[r.user]
	for _, n := range r.names {
		u.add(n)
	}
	return r.names
}

// foundAll takes the list that was read for all connections of the user. It returns the
// names to subscribe them to, and which of these are new.
func (l *lasting) foundAll(r *lastingRead, list []string) (names, added []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.names = r.current(list)
	u := l.users[r.user]
	for _, n := range u.names {
		if !slices.Contains(r.names, n) {
			r.gone = append(r.gone, n)
		}
	}
	for _, n := range r.names {
		if !slices.Contains(u.names, n) {
			added = append(added, n)
		}
	}
	u.names = slices.Clone(r.names)
	return r.names, added
}

// current is a list with what orders changed since its reading began: they may be younger.
// Of one that is older another will come.
func (r *lastingRead) current(list []string) []string {
	names := slices.DeleteFunc(slices.Clone(list), func(n string) bool {
		added, changed := r.changed[n]
		return changed && !added
	})
	for n, added := range r.changed {
		if added && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// settle ends a reading whose names conns are subscribed to; again it does nothing. What was deleted meanwhile is
// ended with the lock held: an order that adds it again is noted before it is carried out.
func (l *lasting) settle(r *lastingRead, conns ...Conn) {
	type end struct {
		conn Conn
		name string
	}
	var told []end
	l.mu.Lock()
	u := l.users[r.user]
	if u == nil || !slices.Contains(u.reads, r) {
		l.mu.Unlock()
		return
	}
	for _, name := range r.ended() {
		for _, c := range conns {
			if l.hub.unfollow(c, ChannelTopic+name) && c.Member().Follows() {
				told = append(told, end{c, name})
			}
		}
	}
	u.reads = slices.DeleteFunc(u.reads, func(other *lastingRead) bool { return other == r })
	l.dropLocked(r.user, u)
	l.mu.Unlock()
	for _, e := range told {
		e.conn.Send([]*Message{unsubscribed(e.name)})
	}
}

// ended are the names that nobody is to be subscribed to.
func (r *lastingRead) ended() (names []string) {
	for _, n := range r.names {
		if added, changed := r.changed[n]; changed && !added {
			names = append(names, n)
		}
	}
	for _, n := range r.gone {
		if !r.changed[n] {
			names = append(names, n)
		}
	}
	return names
}

// dropLocked forgets a user of whom there is nothing to know.
func (l *lasting) dropLocked(user string, u *lastingUser) {
	if len(u.reads) == 0 && (len(u.names) == 0 || !l.hub.here.Users.Here(user)) {
		delete(l.users, user)
		l.countLocked()
	}
}

// note takes an order, before it is carried out.
func (l *lasting) note(user, name string, added bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[user]
	if u == nil {
		if !added || !l.hub.here.Users.Here(user) {
			return
		}
		u = &lastingUser{}
		l.users[user] = u
		l.countLocked()
	}
	for _, r := range u.reads {
		if r.changed == nil {
			r.changed = map[string]bool{}
		}
		r.changed[name] = added
	}
	if added {
		u.add(name)
		return
	}
	u.names = slices.DeleteFunc(u.names, func(n string) bool { return n == name })
	l.dropLocked(user, u)
}

func (u *lastingUser) add(name string) {
	if !slices.Contains(u.names, name) {
		u.names = append(u.names, name)
	}
}

// left is called when a connection is out of the tables.
func (l *lasting) left(c Conn) {
	if l.count.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.doubts, c)
	if u := l.users[c.Member().User()]; u != nil {
		l.dropLocked(c.Member().User(), u)
	}
	l.countLocked()
}

// forget is for a user of whom it is known that there are no lists any more. What is
// subscribed to stays.
func (l *lasting) forget(user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if u := l.users[user]; u != nil {
		u.names = nil
		l.dropLocked(user, u)
	}
}

// known says whether the user has lasting subscriptions, as far as is known.
func (l *lasting) known(user string) bool {
	if l.count.Load() == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.users[user] != nil
}

// doubted says whether the list of a connection is to be read again, which it is not from
// now on.
func (l *lasting) doubted(c Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, was := l.doubts[c]
	delete(l.doubts, c)
	l.countLocked()
	return was
}
