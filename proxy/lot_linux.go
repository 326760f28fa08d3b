package proxy

import (
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/internal/epoll"
	"github.com/pushcart/pushcart/internal/sockio"
)

// lot is where connections wait that asked for nothing for a while: as descriptors
// in an epoll set of our own, with nothing of Go's around them. Who comes back gets
// all of it anew, which costs some microseconds.
type lot struct {
	resume func(conn net.Conn) // serves a connection; runs in a goroutine of its own
	gone   func()              // a connection ended here
	set    *epoll.Set
	done   sync.WaitGroup

	mu     sync.Mutex // guards all below, and is held while a parked descriptor is used
	places []place    // by descriptor
	closed bool
}

// place is one parked connection.
type place struct {
	taken    bool
	deadline int64 // in the watcher's milliseconds; 0: none
}

const canPark = true

// eventsAtOnce is how many connections are woken by one system call.
const eventsAtOnce = 128

func newLot(resume func(net.Conn), gone func()) (*lot, error) {
	set, err := epoll.New(eventsAtOnce)
	if err != nil {
		return nil, err
	}
	l := &lot{resume: resume, gone: gone, set: set}
	l.done.Go(l.run)
	return l, nil
}

// park takes over a connection, whose descriptor src reads from, until bytes or
// the end of the peer come, or the deadline. False: it was not taken. Else the
// caller has to close its own descriptor.
func (l *lot) park(src *source, deadline int64) bool {
	fd, err := epoll.Duplicate(src.raw)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.set.Add(fd, unix.EPOLLIN, uint64(fd)) != nil {
		_ = unix.Close(fd)
		return false
	}
	if n := fd + 1 - len(l.places); n > 0 {
		l.places = append(l.places, make([]place, n)...)
	}
	l.places[fd] = place{taken: true, deadline: deadline}
	return true
}

func (l *lot) run() {
	for !l.over() {
		events := l.set.Wait(-1)
		for i := range events {
			l.event(int(epoll.Data(&events[i])))
		}
	}
}

func (l *lot) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// event looks after a descriptor that has something to read. What the kernel said
// may be of one that is closed by now, so that it is asked again.
func (l *lot) event(fd int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.places[fd].taken {
		return
	}
	var one [1]byte
	n, err := sockio.Peek(fd, one[:])
	switch {
	case err == unix.EAGAIN:
	case n <= 0:
		l.endLocked(fd)
	default:
		l.removeLocked(fd)
		l.done.Go(func() { l.unpark(fd) })
	}
}

func (l *lot) removeLocked(fd int) {
	l.places[fd] = place{}
	l.set.Remove(fd)
}

func (l *lot) endLocked(fd int) {
	l.removeLocked(fd)
	_ = unix.Close(fd)
	l.gone()
}

// unpark makes a connection of Go's of the descriptor, and serves it.
func (l *lot) unpark(fd int) {
	f := os.NewFile(uintptr(fd), "")
	conn, err := net.FileConn(f)
	_ = f.Close()
	switch {
	case err != nil: // descriptors ran out
		l.gone()
	case conn.RemoteAddr() == nil: // reset meanwhile: nobody is there
		_ = conn.Close()
		l.gone()
	default:
		l.resume(conn)
	}
}

// expire ends the connections whose deadline is before now; all of them, for good,
// where now is forever.
func (l *lot) expire(now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = l.closed || now == forever
	for fd := range l.places {
		if p := &l.places[fd]; p.taken && (now == forever || p.deadline != 0 && p.deadline <= now) {
			l.endLocked(fd)
		}
	}
}

// close waits for all that the lot began. It must have expired for good.
func (l *lot) close() {
	l.set.Wake()
	l.done.Wait()
	l.set.Close()
}
