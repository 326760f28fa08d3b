package proxy

import (
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/internal/sockio"
)

// Sizes of what is read at once. Bodies move a third faster with 64 KiB than with
// 32; splice(2) gained nothing more and hid slow progress from the timeouts.
const (
	smallBuffer = 8 << 10
	copyBuffer  = 64 << 10
)

var (
	small = sync.Pool{New: func() any { b := make([]byte, smallBuffer); return &b }}
	large = sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}
)

// source reads from a connection. While it has nothing and waits, it holds no
// buffer: the buffer is taken in the moment there is something to read.
type source struct {
	conn net.Conn
	raw  syscall.RawConn // nil where the descriptor cannot be read directly (TLS)
	try  func(fd uintptr) bool
	send func(fd uintptr) bool

	out []byte // that ask has yet to write

	buf     *[]byte // of pool; nil while nothing is held
	pool    *sync.Pool
	r, w    int // unread bytes are (*buf)[r:w]
	headLen int // of the head that was found last, still unread
	taken   int64

	n   int // of the last read
	err error
}

func newSource(conn net.Conn, pool *sync.Pool) *source {
	s := &source{conn: conn, pool: pool, raw: plainConn(conn)}
	s.try, s.send = s.tryRead, s.trySend
	return s
}

// plainConn gives access to the descriptor of a connection whose bytes are what
// goes over the wire; nil for TLS.
func plainConn(conn net.Conn) syscall.RawConn {
	if c, ok := conn.(*sockio.Conn); ok {
		return rawConn(c)
	}
	return nil
}

// rawConn gives access to the descriptor under conn, through TLS if need be.
func rawConn(conn net.Conn) syscall.RawConn {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// unread are the bytes that were read and not taken.
func (s *source) unread() []byte {
	if s.buf == nil {
		return nil
	}
	return (*s.buf)[s.r:s.w]
}

// take marks n unread bytes as used and gives the buffer back when none is left.
func (s *source) take(n int) {
	s.taken += int64(n)
	if s.r += n; s.r == s.w {
		s.release()
	}
}

func (s *source) release() {
	if s.buf != nil {
		if len(*s.buf) == s.size() {
			s.pool.Put(s.buf)
		}
		s.buf = nil
	}
	s.r, s.w = 0, 0
}

// expect chooses the size of the next buffer, where none is held.
func (s *source) expect(pool *sync.Pool) {
	if s.buf == nil {
		s.pool = pool
	}
}

func (s *source) size() int {
	if s.pool == &large {
		return copyBuffer
	}
	return smallBuffer
}

// fill reads more behind what is unread, waiting for it. It fails with
// http1.ErrHeadTooLong when a head's worth of bytes is unread already.
func (s *source) fill() error {
	if err := s.room(); err != nil {
		return err
	}
	if s.raw == nil {
		s.hold()
		n, err := s.conn.Read((*s.buf)[s.w:])
		s.w += n
		if n > 0 {
			return nil
		}
		return s.failed(err)
	}
	if err := s.raw.Read(s.try); err != nil {
		return s.failed(err)
	}
	if s.n > 0 {
		s.w += s.n
		return nil
	}
	if s.err == nil {
		s.err = io.EOF
	}
	return s.failed(s.err)
}

// stream calls got each time bytes came, until it returns false. The wait for the
// next bytes is begun before got works: what comes meanwhile ends it, and no read
// is spent on finding nothing. got must not read from the connection nor close it.
func (s *source) stream(got func() bool) error {
	if s.raw == nil {
		for {
			if err := s.fill(); err != nil {
				return err
			}
			if !got() {
				return nil
			}
		}
	}
	over, first := false, true
	err := s.raw.Read(func(fd uintptr) bool {
		for s.tryRead(fd) {
			if s.n <= 0 {
				return true
			}
			s.w += s.n
			// The wait tells of what comes from now on, not of what a full buffer left in
			// the socket, nor of an end that came with the bytes. The latter is looked for
			// once: clients that ask one thing only send their end with it.
			again := first || s.w == len(*s.buf)
			first = false
			if over = !got(); over || !again {
				return over
			}
		}
		return false
	})
	switch {
	case over:
		return nil
	case err != nil:
		return s.failed(err)
	case s.err != nil:
		return s.failed(s.err)
	}
	return s.failed(io.EOF)
}

func (s *source) failed(err error) error {
	if s.r == s.w {
		s.release()
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// ask writes out and waits until an answer begins. The wait is begun before the
// request is sent: the answer then ends it, and no read is spent on finding
// nothing. An error is one of writing; the next fill meets those of reading.
func (s *source) ask(out []byte) error {
	if s.raw == nil || s.buf != nil {
		_, err := s.conn.Write(out)
		return err
	}
	s.out, s.n, s.err = out, 0, nil
	err := s.raw.Read(s.send)
	rest := s.out
	s.out = nil
	if len(rest) > 0 {
		if s.err != nil && s.err != unix.EAGAIN {
			return s.err
		}
		_, err := s.conn.Write(rest) // large: wait for room
		return err
	}
	if err == nil {
		s.w += max(s.n, 0)
	}
	if s.r == s.w {
		s.release()
	}
	return nil
}

// trySend writes once, then reads like tryRead.
func (s *source) trySend(fd uintptr) bool {
	if len(s.out) == 0 {
		return s.tryRead(fd)
	}
	n, err := sockio.Write(int(fd), s.out)
	s.out = s.out[max(n, 0):]
	s.err = err
	return len(s.out) > 0
}

// tryRead is one read that does not wait; false: nothing is there yet.
func (s *source) tryRead(fd uintptr) bool {
	s.hold()
	s.n, s.err = sockio.Read(int(fd), (*s.buf)[s.w:])
	if s.err != unix.EAGAIN {
		return true
	}
	if s.w == s.r {
		s.release()
	}
	return false
}

func (s *source) hold() {
	if s.buf == nil {
		s.buf = s.pool.Get().(*[]byte)
		s.r, s.w = 0, 0
	}
}

// room makes space behind the unread bytes.
func (s *source) room() error {
	if s.buf == nil || s.w < len(*s.buf) {
		return nil
	}
	unread := s.unread()
	if s.r > 0 {
		s.w = copy(*s.buf, unread)
		s.r = 0
		return nil
	}
	if len(unread) > http1.MaxHead {
		return http1.ErrHeadTooLong
	}
	grown := make([]byte, min(2*len(unread), http1.MaxHead+1))
	n := copy(grown, unread)
	s.release()
	s.buf, s.w = &grown, n
	return nil
}

// head reads until a whole head is unread and returns it.
func (s *source) head() ([]byte, error) {
	seen := 0
	for {
		if head, err := s.headNow(seen); head != nil || err != nil {
			return head, err
		}
		seen = len(s.unread())
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

// headNow returns the head that is unread, nil if it is not whole. The first seen
// bytes were looked at before.
func (s *source) headNow(seen int) ([]byte, error) {
	b := s.unread()
	n, err := http1.HeadLen(b, seen)
	if err != nil || n == 0 {
		return nil, err
	}
	s.headLen = n
	return b[:n], nil
}

// lastHead is the head that was found last; its fields point into it by offsets,
// as bytes that came behind it may have moved it.
func (s *source) lastHead() []byte { return s.unread()[:s.headLen] }

// takeHead marks the head that was found last as used.
func (s *source) takeHead() {
	s.take(s.headLen)
	s.headLen = 0
}
