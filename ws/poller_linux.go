package ws

import (
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/epoll"
	"github.com/pushcart/pushcart/internal/sockio"
)

const (
	sendBuffer   = 64 << 10
	eventsAtOnce = 256
	attendAtOnce = 64 // connections; then those that have something to say come first
	// floodPause is how long a poller sleeps after a round in which a connection used up
	// its turn. A poller that never waits keeps its core from the goroutines that carry
	// messages to the app, and from Go's netpoller, which brings the answers: both then
	// wait for the runtime's monitor, 10 ms each time.
	floodPause = 50 * time.Microsecond
)

// poller runs a loop whose connections are descriptors in one epoll set: a
// goroutine in a blocking epoll_wait, with one read buffer for all of them. A
// set inside Go's own netpoller, or a goroutine per connection, was measured to
// have 40 times the p99 when all cores are busy.
type poller struct {
	*loop
	set   *epoll.Set
	buf   []byte         // what is read, parsed in place
	join  []byte         // frames joined for one write
	done  []*hub.Message // written by one flush
	due   []*Conn
	flood bool // a connection used up its turn
}

func newPoller() (*poller, error) {
	set, err := epoll.New(eventsAtOnce)
	if err != nil {
		return nil, err
	}
	p := &poller{loop: newLoop(), set: set, buf: make([]byte, readBuffer), join: make([]byte, 0, readBuffer)}
	p.wake = set.Wake
	return p, nil
}

// run is the poller's goroutine; it returns when the loop is stopped and holds
// no connection.
func (p *poller) run() {
	defer p.set.Close()
	for {
		due, wait, end := p.take(p.due[:0])
		for i, c := range due {
			p.guard(c, p.attend)
			due[i] = nil
			if i%attendAtOnce == attendAtOnce-1 {
				p.poll(0)
			}
		}
		p.due = due
		if end {
			return
		}
		p.poll(waitMillis(wait))
		if p.flood {
			p.flood = false
			time.Sleep(floodPause)
		}
	}
}

// took notes how many frames a connection's turn had.
func (p *poller) took(frames int) { p.flood = p.flood || frames >= framesAtOnce }

// poll waits for events and takes them.
func (p *poller) poll(millis int) {
	events := p.set.Wait(millis)
	p.woken()
	for i := range events {
		p.event(&events[i])
	}
}

func waitMillis(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int(min(d.Milliseconds(), 1<<30))
}

func (p *poller) event(ev *unix.EpollEvent) {
	place := epoll.Data(ev)
	c := p.lookup(uint32(place), uint32(place>>32))
	if c == nil {
		return
	}
	if ev.Events&unix.EPOLLOUT != 0 {
		p.guard(c, p.flush)
	}
	if ev.Events&^unix.EPOLLOUT != 0 {
		p.guard(c, p.read)
	}
}

// guard keeps one connection's panic from ending the others'.
func (p *poller) guard(c *Conn, f func(*Conn)) {
	defer c.srv.guard.Recover("connection", func() {
		c.failed = true
		c.broken()
	})
	f(c)
}

func (p *poller) attend(c *Conn) {
	c.attend()
	if c.takeRest() {
		p.took(c.feed(nil))
	}
	if t, ok := c.sock.(*tlsSocket); ok && t.more {
		t.read(p)
	}
}

func (p *poller) flush(c *Conn) {
	c.sock.(polled).room()
	p.done = c.writable(p.join, p.done[:0])
	report(p.done)
}

func (p *poller) read(c *Conn) { c.sock.(polled).read(p) }

// polled is a socket whose descriptor is in a poller, which calls this.
type polled interface {
	socket
	read(p *poller) // there is something to read, or the end
	room()          // the descriptor takes more
}

// fdSocket is a non-blocking descriptor in a poller.
type fdSocket struct {
	c       *Conn
	poller  *poller
	fd      int // changed under Conn.mu
	started bool
	reading bool
	writing bool
}

// newFDSocket duplicates the descriptor of a TCP connection, so that Go's
// netpoller can forget it, and closes the original.
func newFDSocket(c *Conn, p *poller, conn *net.TCPConn) (*fdSocket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("take over socket: %w", err)
	}
	fd, err := epoll.Duplicate(raw)
	if err != nil {
		return nil, fmt.Errorf("take over socket: %w", err)
	}
	_ = conn.Close()
	// Unbounded, the kernel would take megabytes for a reader that
	// is dead, before the outbox sees it.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	return &fdSocket{c: c, poller: p, fd: fd, reading: true}, nil
}

// read takes what is there, once, and of a frame that it does not hold whole the
// rest, so that few frames are half read at a time. A connection with more is
// reported again, so that none keeps the poller to itself.
func (s *fdSocket) read(p *poller) {
	size := s.c.srv.readSize()
	for left := 2 * readBuffer; left > 0 && size > 0; {
		if s.paused() {
			return
		}
		n, err := sockio.Read(s.fd, p.buf[:size])
		switch {
		case n > 0:
			p.took(s.c.received(p.buf[:n]))
			left -= n
			size = min(size, s.c.missing())
			continue
		case err == unix.EAGAIN:
		case err == nil:
			s.c.inputEnded()
		default:
			s.c.dead()
		}
		return
	}
}

func (s *fdSocket) room() {}

func (s *fdSocket) write(b []byte) (int, error) {
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	n, err := sockio.Write(s.fd, b)
	switch {
	case err == unix.EAGAIN, err == nil && n < len(b):
		return max(n, 0), errAgain
	case err != nil:
		return 0, os.NewSyscallError("write", err)
	}
	return n, nil
}

func (s *fdSocket) wantWrite(on bool) {
	if s.writing != on {
		s.writing = on
		s.watch()
	}
}

func (s *fdSocket) wantRead(on bool) {
	if s.reading != on {
		s.reading = on
		s.watch()
	}
}

// watch tells epoll what to report now.
func (s *fdSocket) watch() {
	if s.fd < 0 || !s.started {
		return
	}
	if err := s.poller.set.Modify(s.fd, s.events(), s.place()); err != nil {
		s.c.deadLocked()
	}
}

// events are what epoll is to report. A reset is reported always; a FIN waits behind
// what came before it.
func (s *fdSocket) events() (events uint32) {
	if s.reading {
		events |= unix.EPOLLIN
	}
	if s.writing {
		events |= unix.EPOLLOUT
	}
	return events
}

// place is where poller.event finds the connection.
func (s *fdSocket) place() uint64 { return uint64(s.c.slot) | uint64(s.c.gen)<<32 }

func (s *fdSocket) unread() bool {
	var one [1]byte
	n, err := sockio.Peek(s.fd, one[:])
	return err == nil && n > 0
}

func (s *fdSocket) start() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.started = true
	if s.fd < 0 {
		return
	}
	if err := s.poller.set.Add(s.fd, s.events(), s.place()); err != nil {
		s.c.deadLocked()
	}
}

// paused stops reading where the connection is not to be read. A reset ends it all
// the same.
func (s *fdSocket) paused() bool {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.haltedLocked() && !c.finIn {
		return s.fd < 0 || c.gone || c.rest || c.phase == phaseOpening
	}
	if peerReset(s.fd) {
		c.deadLocked()
	} else {
		s.wantRead(false)
	}
	return true
}

// peerReset asks the kernel, as event flags may be of a moment ago.
func peerReset(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

func (s *fdSocket) closeWrite() {
	_ = unix.Shutdown(s.fd, unix.SHUT_WR)
	s.c.outputEndedLocked()
}

// close runs on the poller, which alone closes descriptors, under the lock that
// every other user of s.fd holds.
func (s *fdSocket) close() {
	s.c.dropInput()
	s.c.mu.Lock()
	fd, started := s.fd, s.started
	s.fd = -1
	s.c.mu.Unlock()
	if started {
		s.poller.set.Remove(fd)
	}
	_ = unix.Close(fd)
}
