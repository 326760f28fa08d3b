package epoll_test

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/internal/epoll"
	"github.com/pushcart/pushcart/internal/race"
	"github.com/pushcart/pushcart/internal/testkit"
)

func set(t *testing.T) *epoll.Set {
	t.Helper()
	s, err := epoll.New(8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// counter returns an eventfd, which is readable after a write.
func counter(t *testing.T) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func TestSet_ReportsWhatHappensWithItsData(t *testing.T) {
	s, fd := set(t), counter(t)
	const first, second = 0xfedcba9876543210, 0x00000001ffffffff
	if err := s.Add(fd, unix.EPOLLIN, first); err != nil {
		t.Fatal(err)
	}
	if got := s.Wait(0); len(got) != 0 {
		t.Errorf("nothing happened: got %v", got)
	}
	_, _ = unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	if got := s.Wait(-1); len(got) != 1 || epoll.Data(&got[0]) != first || got[0].Events != unix.EPOLLIN {
		t.Errorf("readable: got %v", got)
	}
	if err := s.Modify(fd, unix.EPOLLOUT, second); err != nil {
		t.Fatal(err)
	}
	if got := s.Wait(-1); len(got) != 1 || epoll.Data(&got[0]) != second || got[0].Events != unix.EPOLLOUT {
		t.Errorf("writable: got %v", got)
	}
	s.Remove(fd)
	if got := s.Wait(0); len(got) != 0 {
		t.Errorf("removed: got %v", got)
	}
}

func TestSet_WakeEndsOneWaitAndIsNoEvent(t *testing.T) {
	s, fd := set(t), counter(t)
	s.Wake()
	s.Wake()
	if got := s.Wait(-1); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if err := s.Add(fd, unix.EPOLLOUT, 7); err != nil {
		t.Fatal(err)
	}
	s.Wake()
	for range 2 {
		if got := s.Wait(-1); len(got) != 1 || epoll.Data(&got[0]) != 7 {
			t.Errorf("got %v", got)
		}
	}
}

// The numbers of the set's descriptors are given to others when it is closed.
func TestSet_WakeAfterCloseWritesToNobody(t *testing.T) {
	s := set(t)
	s.Close()
	var others []int
	for range 8 {
		others = append(others, counter(t))
	}
	s.Wake()
	s.Close()
	for _, fd := range others {
		var count [8]byte
		if n, err := unix.Read(fd, count[:]); err != unix.EAGAIN {
			t.Errorf("descriptor %d was written to or closed: read %d, %v", fd, n, err)
		}
	}
}

func TestSet_WaitAndWakeAllocateNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	s, fd := set(t), counter(t)
	if err := s.Add(fd, unix.EPOLLOUT, 7); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		s.Wake()
		s.Wait(-1)
		_ = s.Modify(fd, unix.EPOLLOUT, 8)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDuplicate_OutlivesTheConnection(t *testing.T) {
	ln := testkit.Listen(t)
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := epoll.Duplicate(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	_ = conn.Close()
	if n, err := unix.Read(fd, make([]byte, 1)); err != unix.EAGAIN {
		t.Errorf("a read of nothing: got %d, %v", n, err)
	}
	if _, err := epoll.Duplicate(raw); err == nil {
		t.Error("a closed connection has a duplicate")
	}
}
