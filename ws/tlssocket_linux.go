package ws

import (
	"crypto/tls"
	"errors"
	"io"
	"net"

	"github.com/pushcart/pushcart/internal/takeover"
)

const (
	// recordBytes is how much is encrypted at once: one TLS record.
	recordBytes = 16 << 10
	// recordsAtOnce is how many records with data one connection is read before others;
	// crypto/tls takes up to 16 without data, such as key updates, before each.
	recordsAtOnce = 4
)

// tlsSocket is TLS over a descriptor in a poller. While it is idle it holds no
// goroutine and no buffer but those that crypto/tls keeps.
type tlsSocket struct {
	fdSocket
	conn  *tls.Conn
	under *takeover.Conn

	fin  bool // closeWrite was called; guarded by Conn.mu
	more bool // of the poller: TLS may hold records that epoll knows nothing of
}

// newTLSSocket takes over the descriptor under conn, whose handshake is complete.
func newTLSSocket(c *Conn, p *poller, conn *tls.Conn, under *takeover.Conn, tcp *net.TCPConn) (*tlsSocket, error) {
	plain, err := newFDSocket(c, p, tcp)
	if err != nil {
		return nil, err
	}
	under.Take(plain.fd)
	return &tlsSocket{fdSocket: *plain, conn: conn, under: under, more: true}, nil
}

// read takes the records that are there; as many as a poller can spend on one
// connection.
func (s *tlsSocket) read(p *poller) {
	s.more = true
	for frames, records := 0, 0; frames < framesAtOnce && records < recordsAtOnce; records++ {
		if s.paused() {
			return
		}
		n, err := s.conn.Read(p.buf[:s.c.srv.readSize()])
		s.said()
		if n > 0 {
			frames += s.c.received(p.buf[:n])
		}
		switch {
		case err == takeover.ErrAgain:
			s.more = false
			return
		case err == nil, n > 0: // an end that came with data is seen again
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // close_notify, or a FIN without
			s.more = s.c.inputEnded()
			return
		default:
			s.c.dead()
			return
		}
	}
	p.flood = true
	s.c.loop.post(s.c)
}

// said looks after what reading made TLS write: key updates. A client that asks for
// ever more of them and reads none ends here.
func (s *tlsSocket) said() {
	if s.under.Pending() == 0 {
		return
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.under.Full() {
		s.c.deadLocked()
		return
	}
	s.fdSocket.wantWrite(true)
}

func (s *tlsSocket) write(b []byte) (done int, err error) {
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	for done < len(b) {
		if s.under.Pending() > 0 {
			s.fdSocket.wantWrite(true)
			return done, errAgain
		}
		n, err := s.conn.Write(b[done:min(len(b), done+recordBytes)])
		done += n
		if err != nil {
			return done, err
		}
	}
	if s.under.Pending() > 0 {
		s.fdSocket.wantWrite(true)
	}
	return done, nil
}

// wantWrite goes on asking while something waits below TLS.
func (s *tlsSocket) wantWrite(on bool) { s.fdSocket.wantWrite(on || s.under.Pending() > 0) }

// wantRead also looks at what TLS read before the pause.
func (s *tlsSocket) wantRead(on bool) {
	s.fdSocket.wantRead(on)
	if on {
		s.c.loop.post(s.c)
	}
}

// room writes what waits below TLS.
func (s *tlsSocket) room() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.fd < 0 {
		return
	}
	kept, err := s.under.Flush()
	switch {
	case err != nil:
		s.c.deadLocked()
	case kept > 0:
	case s.fin:
		s.fdSocket.wantWrite(false)
		s.fdSocket.closeWrite()
	case s.c.out == nil:
		s.fdSocket.wantWrite(false)
	}
}

// closeWrite says goodbye in TLS, then in TCP.
func (s *tlsSocket) closeWrite() {
	_ = s.conn.CloseWrite()
	s.fin = true
	if s.under.Pending() > 0 {
		s.fdSocket.wantWrite(true)
		return
	}
	s.fdSocket.closeWrite()
}

// overTLS finds the parts of a TLS connection that can be taken over.
func overTLS(conn net.Conn) (*tls.Conn, *takeover.Conn, *net.TCPConn) {
	t, ok := conn.(*tls.Conn)
	if !ok {
		return nil, nil, nil
	}
	under, ok := t.NetConn().(*takeover.Conn)
	if !ok {
		return nil, nil, nil
	}
	tcp, ok := under.Conn.(*net.TCPConn)
	if !ok {
		return nil, nil, nil
	}
	return t, under, tcp
}
