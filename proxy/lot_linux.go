package proxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/internal/sockio"
)

// lot is where connections wait that asked for nothing for a while: as descriptors
// in an epoll set of our own, with nothing of Go's around them. Who comes back gets
// all of it anew, which costs some microseconds.
type lot struct {
	resume func(conn net.Conn) // serves a connection; runs in a goroutine of its own
	gone   func()              // a connection ended here
	epfd   int
	wakefd int
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
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err == nil {
		err = unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, wakefd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wakefd)})
	}
	if err != nil {
		_ = unix.Close(epfd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &lot{resume: resume, gone: gone, epfd: epfd, wakefd: wakefd}
	l.done.Go(l.run)
	return l, nil
}

// park takes over a connection, whose descriptor src reads from, until bytes or
// the end of the peer come, or the deadline. False: it was not taken. Else the
// caller has to close its own descriptor.
func (l *lot) park(src *source, deadline int64) bool {
	fd := -1
	err := src.raw.Control(func(old uintptr) { fd, _ = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil || fd < 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if l.closed || unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &ev) != nil {
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
	events := make([]unix.EpollEvent, eventsAtOnce)
	for {
		n, err := unix.EpollWait(l.epfd, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			panic("proxy: epoll_wait: " + err.Error()) // cannot happen with a valid descriptor
		}
		for _, ev := range events[:max(n, 0)] {
			if int(ev.Fd) == l.wakefd {
				return
			}
			l.event(int(ev.Fd))
		}
	}
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
	_ = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, fd, nil)
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
	_, _ = unix.Write(l.wakefd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	l.done.Wait()
	_ = unix.Close(l.wakefd)
	_ = unix.Close(l.epfd)
}
