package proxy

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// lot is where connections wait that asked for nothing for a while: without
// goroutine, stack or buffer, in an epoll set of our own. Go's netpoller keeps
// them too, but nobody waits there.
type lot struct {
	epfd, wakefd int
	done         sync.WaitGroup

	mu     sync.Mutex // guards parked
	parked []*clientConn
}

const canPark = true

// eventsAtOnce is how many connections are woken by one system call.
const eventsAtOnce = 128

func newLot() (*lot, error) {
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
	l := &lot{epfd: epfd, wakefd: wakefd}
	l.done.Go(l.run)
	return l, nil
}

// close ends the lot, which must be empty.
func (l *lot) close() {
	_, _ = unix.Write(l.wakefd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	l.done.Wait()
	_ = unix.Close(l.wakefd)
	_ = unix.Close(l.epfd)
}

// park takes c, whose descriptor is fd, until bytes or the end of the peer come, or unpark; then a
// goroutine of its own goes on with c, and the caller has to do with c no longer.
// False: c cannot be parked.
func (l *lot) park(c *clientConn, fd int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.parked) <= fd {
		l.parked = append(l.parked, nil)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd)}
	if unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &ev) != nil {
		return false
	}
	l.parked[fd] = c
	c.parkedAt = fd + 1
	return true
}

// unpark makes c go on if it is parked.
func (l *lot) unpark(c *clientConn) {
	l.mu.Lock()
	is := c.parkedAt > 0
	if is {
		l.removeLocked(c)
	}
	l.mu.Unlock()
	if is {
		go c.serve()
	}
}

func (l *lot) removeLocked(c *clientConn) {
	fd := c.parkedAt - 1
	l.parked[fd], c.parkedAt = nil, 0
	_ = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, fd, nil)
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
			// A descriptor that was closed and is another's by now is at worst woken
			// for nothing.
			l.mu.Lock()
			c := l.parked[ev.Fd]
			if c != nil {
				l.removeLocked(c)
			}
			l.mu.Unlock()
			if c != nil {
				go c.serve()
			}
		}
	}
}
