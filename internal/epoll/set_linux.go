package epoll

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Set is an epoll set, and an eventfd that ends a wait. One goroutine waits and
// closes; all else may be called from any.
type Set struct {
	fd     int
	events []unix.EpollEvent

	mu     sync.Mutex // guards all below, and is held while wakefd is written
	wakefd int
	closed bool
}

// wakeData marks the eventfd's event. No descriptor may be added with it.
const wakeData = 1<<64 - 1

// New returns a set whose Wait reports up to atOnce events.
func New(atOnce int) (*Set, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	s := &Set{fd: fd, wakefd: wakefd, events: make([]unix.EpollEvent, atOnce)}
	if err := s.Add(wakefd, unix.EPOLLIN, wakeData); err != nil {
		s.Close()
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	return s, nil
}

// Add begins to watch fd for events (unix.EPOLLIN and others). They are reported
// with data.
func (s *Set) Add(fd int, events uint32, data uint64) error {
	return s.control(unix.EPOLL_CTL_ADD, fd, events, data)
}

// Modify changes what a descriptor of the set is watched for.
func (s *Set) Modify(fd int, events uint32, data uint64) error {
	return s.control(unix.EPOLL_CTL_MOD, fd, events, data)
}

func (s *Set) control(op, fd int, events uint32, data uint64) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(data), Pad: int32(data >> 32)}
	return unix.EpollCtl(s.fd, op, fd, &ev)
}

// Remove ends the watch. Events that Wait reported before remain reported.
func (s *Set) Remove(fd int) { _ = unix.EpollCtl(s.fd, unix.EPOLL_CTL_DEL, fd, nil) }

// Wait waits for events or Wake, at most for so many milliseconds (negative: as long
// as it takes). What it returns is good until the next call.
func (s *Set) Wait(millis int) []unix.EpollEvent {
	n, err := unix.EpollWait(s.fd, s.events, millis)
	if err != nil && !errors.Is(err, unix.EINTR) {
		panic("epoll_wait: " + err.Error()) // cannot happen with a valid descriptor
	}
	events := s.events[:max(n, 0)]
	for i := range events {
		if Data(&events[i]) == wakeData {
			var count [8]byte
			_, _ = unix.Read(s.wakefd, count[:])
			last := len(events) - 1
			events[i] = events[last]
			return events[:last]
		}
	}
	return events
}

// Data is what the event's descriptor was added with.
func Data(ev *unix.EpollEvent) uint64 { return uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32 }

// Wake ends the current wait, or else the next one. After Close it does nothing:
// the descriptor's number may be somebody else's by then, a client's for example.
func (s *Set) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		_, _ = unix.Write(s.wakefd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// Close closes the set's own descriptors, and none that it watches.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		_ = unix.Close(s.fd)
		_ = unix.Close(s.wakefd)
	}
}
