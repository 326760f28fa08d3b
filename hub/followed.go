package hub

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pushcart/pushcart/broker"
)

// followed are the topics that connections of this node follow, or are about to: those
// of protocols that answer a subscription and know positions. What only raw connections
// are subscribed to is not here and costs nothing.
type followed struct {
	count  atomic.Int64
	seed   maphash.Seed
	shards [streamShards]struct {
		mu sync.Mutex // guards m
		m  map[string]*stream
	}
}

// streamShards is the number of independently locked parts of followed.
const streamShards = 64

// stream is a topic as its followers get it. Its lock comes before those of the tables,
// and is held while the lane takes the connections for a message: who joins is either
// among them or knows that he is not.
type stream struct {
	topic string

	mu        sync.Mutex // guards all below
	at        Position   // of the last message that went to the connections; of no epoch: none did
	epochs    int        // how often the epoch of at changed
	followers []follower
	pending   int // followers that are not live, or skip something
	blind     int // followers of which it is not known where their messages began
	// untold: a follower joined that was told no position, and no message since had one.
	untold bool
	// forgotten: nobody follows it any more, and who comes makes another one.
	forgotten bool
}

// follower is one connection that follows.
type follower struct {
	conn Conn
	// cursor is set until the connection gets what comes; it then gets only that.
	cursor *cursor
	// from is where that began, and skip what it has already of what is to come.
	from Position
	skip *Position
}

func newFollowed() *followed {
	t := &followed{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].m = map[string]*stream{}
	}
	return t
}

// get returns nil for a topic that nobody follows.
func (t *followed) get(topic string) *stream {
	if t.count.Load() == 0 {
		return nil
	}
	s := &t.shards[maphash.String(t.seed, topic)%streamShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[topic]
}

// with calls do with the stream of a topic, which is a new one if there is none, and
// locked. A stream that nobody follows then is forgotten.
func (t *followed) with(topic string, do func(*stream)) {
	s := &t.shards[maphash.String(t.seed, topic)%streamShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.m[topic]
	if st == nil {
		st = &stream{topic: topic}
		s.m[topic] = st
		t.count.Add(1)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	do(st)
	if len(st.followers) == 0 {
		st.forgotten = true
		delete(s.m, topic)
		t.count.Add(-1)
	}
}

// lock returns the stream of a topic, locked; nil if nobody follows it. Then a connection
// may begin to follow at any moment: who looks at the tables must ask again afterwards.
func (t *followed) lock(topic string) *stream {
	for {
		s := t.get(topic)
		if s == nil {
			return nil
		}
		s.mu.Lock()
		if !s.forgotten {
			return s
		}
		s.mu.Unlock()
	}
}

// find is the follower of a connection, nil if it does not follow. The pointer holds
// until the stream is unlocked.
func (s *stream) find(c Conn) *follower {
	i := slices.IndexFunc(s.followers, func(f follower) bool { return f.conn == c })
	if i < 0 {
		return nil
	}
	return &s.followers[i]
}

// remove takes a connection out, and returns its cursor if it had one.
func (s *stream) remove(c Conn) *cursor {
	f := s.find(c)
	if f == nil {
		return nil
	}
	cur := f.cursor
	if cur != nil || f.skip != nil {
		s.pending--
	}
	last := len(s.followers) - 1
	*f, s.followers[last] = s.followers[last], follower{}
	s.followers = s.followers[:last]
	return cur
}

// pass notes that messages go to the connections now, and marks those whose epoch somebody
// may not know.
func (s *stream) pass(batch []*Message) {
	for _, m := range batch {
		if m.Offset == 0 {
			continue
		}
		m.NewEpoch = s.untold || s.at.Epoch != "" && m.Epoch != s.at.Epoch
		s.untold = false
		if m.Epoch != s.at.Epoch {
			s.epochs++
		}
		s.began(Position{Offset: m.Offset - 1, Epoch: m.Epoch})
		s.at = Position{Offset: m.Offset, Epoch: m.Epoch}
	}
}

// holed says whether messages are missing before or in a batch: those past their TTL, or
// what a full lane dropped.
func (s *stream) holed(batch []*Message) bool {
	at := s.at
	for _, m := range batch {
		if m.Offset == 0 {
			continue
		}
		if m.Epoch == at.Epoch && m.Offset > at.Offset+1 {
			return true
		}
		at = Position{Offset: m.Offset, Epoch: m.Epoch}
	}
	return false
}

// bringAlong makes cursors of all that get what comes, which then read what it lacks.
func (s *stream) bringAlong(keep broker.Retention) (begun []*cursor) {
	for i := range s.followers {
		f := &s.followers[i]
		conn, follows := f.conn.(Follower)
		if f.cursor != nil || !follows {
			continue
		}
		at := s.at
		if f.skip != nil {
			at, f.skip = *f.skip, nil
		} else {
			s.pending++
		}
		f.cursor = &cursor{conn: conn, topic: s.topic, keep: keep, at: at, from: f.from, opened: true}
		begun = append(begun, f.cursor)
	}
	return begun
}

// moved notes that the broker says where the stream goes on.
func (s *stream) moved(kind broker.Kind, to Position) {
	if s.at.Epoch != to.Epoch {
		s.epochs++
	}
	s.began(to)
	s.at = to
	for i := range s.followers {
		// What somebody has of what was to come does not come where it is lost.
		if f := &s.followers[i]; f.skip != nil && (kind == broker.Lost || *f.skip == to) {
			f.skip = nil
			s.pending--
		}
	}
}

// began is where the messages begin of followers that joined while the broker was away.
func (s *stream) began(at Position) {
	if s.blind == 0 {
		return
	}
	s.blind = 0
	for i := range s.followers {
		if f := &s.followers[i]; f.cursor == nil && f.from.Epoch == "" {
			f.from = at
		}
	}
}

// joinBlind makes a connection get what comes, from wherever that will be.
func (s *stream) joinBlind(c Conn) {
	if f := s.find(c); f != nil && f.cursor != nil {
		f.cursor = nil
		s.pending--
		s.blind++
		s.untold = true
	}
}

// late are the followers that get less than a batch, with the index from which on.
func (s *stream) late(batch []*Message) (late []lateConn) {
	if s.pending == 0 {
		return nil
	}
	for i := range s.followers {
		f := &s.followers[i]
		switch {
		case f.cursor != nil:
			late = append(late, lateConn{f.conn, len(batch)})
		case f.skip != nil:
			late = append(late, lateConn{f.conn, beyond(batch, *f.skip)})
			if s.at.Epoch == f.skip.Epoch && s.at.Offset >= f.skip.Offset {
				f.skip = nil
				s.pending--
			}
		}
	}
	return late
}

// appendLive appends the followers that get what comes.
func (s *stream) appendLive(dst []Conn) []Conn {
	for i := range s.followers {
		if s.followers[i].cursor == nil {
			dst = append(dst, s.followers[i].conn)
		}
	}
	return dst
}

// lateConn is a connection that gets a batch from an index on.
type lateConn struct {
	conn Conn
	from int
}

// beyond is the index of the first message after a position.
func beyond(batch []*Message, p Position) int {
	for i, m := range batch {
		if m.Offset > p.Offset && m.Epoch == p.Epoch {
			return i
		}
	}
	return len(batch)
}

// join makes a connection that has everything up to a position get what comes. epochs is
// what the stream's were before its end was found to be there. false: others were given
// more meanwhile.
func (s *stream) join(c Conn, at Position, epochs int) bool {
	f := s.find(c)
	if f == nil {
		return true // it left
	}
	behind := s.at.Epoch == "" || s.at.Epoch == at.Epoch && s.at.Offset < at.Offset
	if s.at.Epoch != "" && s.at.Epoch != at.Epoch {
		// The lane has an epoch before or after this one: before, if it did not move.
		if s.epochs != epochs {
			return false
		}
		behind = true
	}
	if !behind && s.at != at {
		return false
	}
	if f.from = at; f.cursor != nil && f.cursor.from.Epoch == at.Epoch {
		f.from = f.cursor.from // what its cursor handed over is its own as well
	}
	f.cursor = nil
	if behind {
		f.skip = &at
		return true // still pending
	}
	s.pending--
	return true
}
