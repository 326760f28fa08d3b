//go:build unix

package httpclient

import (
	"net"
	"syscall"
)

// liveness looks at a socket without reading from it.
type liveness struct {
	raw           syscall.RawConn
	peek          func(fd uintptr)
	buf           [1]byte
	alive, silent bool
}

func newLiveness(conn net.Conn) *liveness {
	l := &liveness{}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return l
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return l
	}
	l.raw = raw
	l.peek = func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), l.buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		l.silent = err == syscall.EAGAIN
		l.alive = l.silent || err == syscall.EINTR || err == nil && n > 0
	}
	return l
}

// check says whether the peer has not closed, and has sent nothing unasked.
func (l *liveness) check() (alive, silent bool) {
	if l.raw == nil {
		return true, true
	}
	if l.raw.Control(l.peek) != nil {
		return false, false
	}
	return l.alive, l.silent
}
