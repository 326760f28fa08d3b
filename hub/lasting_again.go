package hub

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pushcart/pushcart/broker"
)

const (
	// lastingWait bounds one reading of many lists, and lastingRetry is the pause before
	// those that could not be read are read again.
	lastingWait  = 3 * time.Second
	lastingRetry = 500 * time.Millisecond
)

// again reads lists that could not be read, and all of them after orders may have been
// missed. It has a goroutine only while there is something to read.
type again struct {
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	work   sync.WaitGroup

	// Guarded by lasting.mu.
	all     bool // the lists of all users
	running bool
	closed  bool
}

func newAgain() again {
	ctx, cancel := context.WithCancel(context.Background())
	return again{ctx: ctx, cancel: cancel}
}

// close ends the goroutine and waits for it.
func (l *lasting) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.work.Wait()
}

// missed has all lists read again.
func (l *lasting) missed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = true
	l.startLocked()
}

// doubt has the list of a connection read again, as it could not be read.
func (l *lasting) doubt(c Conn) {
	l.mu.Lock()
	l.doubts[c] = struct{}{}
	l.countLocked()
	l.startLocked()
	l.mu.Unlock()
	if l.hub.here.Table.Get(c.Member().Number()) == nil { // it left meanwhile
		l.left(c)
	}
}

func (l *lasting) startLocked() {
	if !l.running && !l.closed {
		l.running = true
		l.work.Go(l.run)
	}
}

// run reads until nothing is in doubt.
func (l *lasting) run() {
	var rest []string
	for l.ctx.Err() == nil {
		users, ok := l.next(rest)
		if !ok {
			return
		}
		users, rest = l.within(users)
		if rest = append(rest, l.readAll(users)...); len(rest) > 0 {
			l.pause()
		}
	}
}

func (l *lasting) pause() {
	t := time.NewTimer(lastingRetry)
	defer t.Stop()
	select {
	case <-l.ctx.Done():
	case <-t.C:
	}
}

// next are the users to read, with the rest of before; false: there are none, and run
// ends.
func (l *lasting) next(rest []string) (users []string, ok bool) {
	l.mu.Lock()
	all := l.all
	l.all = false
	users = rest
	for c := range l.doubts {
		users = append(users, c.Member().User())
	}
	l.running = all || len(users) > 0
	ok = l.running
	l.mu.Unlock()
	if all {
		users = append(users, l.everybody()...)
	}
	slices.Sort(users)
	return slices.Compact(users), ok
}

// within parts users whose lists can be read now from those whose part of the broker is away.
func (l *lasting) within(users []string) (here, away []string) {
	for _, user := range users {
		if l.hub.broker.UpFor(UserTopic + user) {
			here = append(here, user)
		} else {
			away = append(away, user)
		}
	}
	return here, away
}

// everybody is all users here that may have lists, or had.
func (l *lasting) everybody() (users []string) {
	l.hub.here.Users.Parts(func(names []string) {
		for _, user := range names {
			if l.hub.broker.MayLast(UserTopic+user) || l.known(user) {
				users = append(users, user)
			}
		}
	})
	return users
}

// readAll returns whose lists could not be read.
func (l *lasting) readAll(users []string) (rest []string) {
	for part := range slices.Chunk(users, broker.MaxLasting) {
		l.hub.guard.Run("lasting subscriptions", func() {
			if err := l.read(part); err != nil {
				rest = append(rest, part...)
				l.hub.log.Debug("lasting subscriptions could not be read", "users", len(part), "err", err)
			}
		})
	}
	return rest
}

// read reads the lists of some users and does what they say.
func (l *lasting) read(users []string) error {
	h := l.hub
	ctx, cancel := context.WithTimeout(l.ctx, lastingWait)
	defer cancel()
	topics := make([]string, len(users))
	for i, user := range users {
		topics[i] = UserTopic + user
	}
	defer h.giveUp(topics) // of those who left
	if err := h.broker.Subscribe(ctx, broker.Topics(topics...)...); err != nil {
		return err
	}
	reads := make([]*lastingRead, len(users))
	for i, user := range users {
		reads[i] = l.begin(user)
		defer l.settle(reads[i])
	}
	lists, err := h.broker.Lasting(ctx, topics...)
	if err != nil {
		return err
	}
	for i, r := range reads {
		l.carryOut(ctx, r, lists[i])
	}
	return nil
}

// carryOut subscribes the connections of a user to what is new in its list, and those of
// which the list was in doubt to all of it; what is not in it any more ends.
func (l *lasting) carryOut(ctx context.Context, r *lastingRead, list []string) {
	h := l.hub
	conns := h.here.Users.AppendTo(nil, r.user)
	if !h.broker.MayLast(UserTopic + r.user) { // the broker lost them
		for _, c := range conns {
			l.doubted(c)
		}
		l.forget(r.user)
		return
	}
	names, added := l.foundAll(r, list)
	var others []Conn
	for _, c := range conns {
		if l.doubted(c) {
			h.subscribeNow(ctx, []Conn{c}, names)
		} else {
			others = append(others, c)
		}
	}
	h.subscribeNow(ctx, others, added)
	l.settle(r, conns...)
}
