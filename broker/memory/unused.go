package memory

import "sync/atomic"

// unusedStreams lists those streams of a shard that have something to drop, in the
// order of their last use. Its shard's lock guards it.
type unusedStreams struct {
	oldest, newest *stream
	// since is the number of the oldest's use, 0 without one. It is read without lock.
	since atomic.Uint64
}

// unusedPlace is a stream's place in the list.
type unusedPlace struct {
	used         uint64 // 0: it is not in the list
	older, newer *stream
}

// use makes a stream the newest.
func (l *unusedStreams) use(st *stream, number uint64) {
	l.remove(st)
	if !st.droppable() {
		return
	}
	st.place = unusedPlace{used: number, older: l.newest}
	if l.newest != nil {
		l.newest.place.newer = st
	} else {
		l.oldest = st
		l.since.Store(number)
	}
	l.newest = st
}

// settle takes a stream off the list if nothing is left to drop.
func (l *unusedStreams) settle(st *stream) {
	if !st.droppable() {
		l.remove(st)
	}
}

func (l *unusedStreams) remove(st *stream) {
	p := st.place
	if p.used == 0 {
		return
	}
	st.place = unusedPlace{}
	if p.newer != nil {
		p.newer.place.older = p.older
	} else {
		l.newest = p.older
	}
	if p.older != nil {
		p.older.place.newer = p.newer
		return
	}
	if l.oldest = p.newer; l.oldest != nil {
		l.since.Store(l.oldest.place.used)
	} else {
		l.since.Store(0)
	}
}

// droppable: the record goes with the messages, unless somebody here is subscribed.
func (st *stream) droppable() bool { return !st.subscribed || st.kept.n > 0 }
