package session

import "sync"

// loose are the connections that no other node would tell the end of: what is declared of
// them is not in the broker yet, or was not when it was away. It has a lock of its own as
// the broker may answer while a declaration is made.
type loose struct {
	mu       sync.Mutex // guards sessions
	sessions map[*Session]struct{}
}

// add adds a connection that is about to be declared; stored takes what becomes of that.
func (l *loose) add(s *Session) (stored func(bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions[s] = struct{}{}
	return func(is bool) {
		if is {
			l.remove(s)
		}
	}
}

// remove is also for one that ended: its event knows. It says whether it was there.
func (l *loose) remove(s *Session) (was bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, was = l.sessions[s]
	delete(l.sessions, s)
	return was
}

func (l *loose) has(s *Session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, is := l.sessions[s]
	return is
}
