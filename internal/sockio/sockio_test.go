package sockio_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/internal/sockio"
)

func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err = errors.Join(err, unix.SetNonblock(fds[0], true), unix.SetNonblock(fds[1], true)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[0]) })
	return fds[0], fds[1]
}

func TestSockio_IsWhatTheSystemCallsAre(t *testing.T) {
	a, b := pair(t)
	buf := make([]byte, 8)
	f := func(what string, n int, err error, wantN int, wantErr error) {
		t.Helper()
		if !errors.Is(err, wantErr) || err == nil && n != wantN {
			t.Errorf("%s: got %d and %v, want %d and %v", what, n, err, wantN, wantErr)
		}
	}
	n, err := sockio.Read(a, buf)
	f("read of nothing", n, err, 0, unix.EAGAIN)
	n, err = sockio.Peek(a, buf)
	f("peek at nothing", n, err, 0, unix.EAGAIN)
	n, err = sockio.Write(b, []byte("hello"))
	f("write", n, err, 5, nil)
	n, err = sockio.Peek(a, buf)
	f("peek", n, err, 5, nil)
	n, err = sockio.Read(a, buf[:2])
	f("read", n, err, 2, nil)
	n, err = sockio.Read(a, buf)
	f("read of the rest", n, err, 3, nil)
	n, err = sockio.Write(b, nil)
	f("write of nothing", n, err, 0, nil)
	for err == nil {
		n, err = sockio.Write(b, make([]byte, 1<<20))
	}
	f("write to a full socket", n, err, 0, unix.EAGAIN)
	_ = unix.Close(b)
	for err = nil; err == nil && n != 0; {
		n, err = sockio.Read(a, make([]byte, 1<<20))
	}
	f("read at the end", n, err, 0, nil)
	n, err = sockio.Write(a, []byte("x"))
	f("write to nobody", n, err, 0, unix.EPIPE)
	n, err = sockio.Read(-1, buf)
	f("read of no descriptor", n, err, 0, unix.EBADF)
}
