package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/internal/sockio"
)

// sink writes to a connection, one write at a time.
type sink struct {
	conn net.Conn
	raw  syscall.RawConn // nil where the descriptor cannot be written directly (TLS)
	try  func(fd uintptr) bool

	out []byte // that is still to be written
	err error
}

func newSink(conn net.Conn) *sink {
	s := &sink{conn: conn, raw: plainConn(conn)}
	s.try = s.tryWrite
	return s
}

// write writes all of b, waiting for room.
func (s *sink) write(b []byte) error {
	if s.raw == nil {
		_, err := s.conn.Write(b)
		return err
	}
	s.out, s.err = b, nil
	err := s.raw.Write(s.try)
	s.out = nil
	if err == nil {
		err = s.err
	}
	return err
}

// tryWrite writes what there is room for; false: more room is needed.
func (s *sink) tryWrite(fd uintptr) bool {
	for len(s.out) > 0 {
		n, err := sockio.Write(int(fd), s.out)
		switch {
		case err == unix.EAGAIN:
			return false
		case err != nil:
			s.err = err
			return true
		}
		s.out = s.out[n:]
	}
	return true
}
