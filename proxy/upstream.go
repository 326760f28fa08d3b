package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/descriptors"
	"github.com/pushcart/pushcart/internal/dial"
	"github.com/pushcart/pushcart/internal/sockio"
	"github.com/pushcart/pushcart/internal/tlsconf"
)

var (
	errNoConnection = errors.New("no backend connection is free")
	errStreams      = errors.New("too many streams")
)

// upstream is the backend: where it is, its idle connections, and how many
// requests wait for it.
type upstream struct {
	at    *dial.Endpoint
	watch *watcher
	fds   *descriptors.Budget

	slots      chan struct{} // one for each request without a response head
	streams    atomic.Int64
	maxStreams int64 // 0: no bound

	mu   sync.Mutex // guards idle
	idle []*backendConn
}

// backendConn is a connection to the backend, used by one exchange at a time.
type backendConn struct {
	conn    net.Conn
	raw     syscall.RawConn
	src     *source
	watched *watched
	reused  bool
	private bool  // authenticated as its client: never for another's requests
	since   int64 // idle, in the watcher's milliseconds
	peek    func(fd uintptr)
	alive   bool
}

func newUpstream(cfg config.Backend, w *watcher, fds *descriptors.Budget) (*upstream, error) {
	at, err := dial.New(cfg.URL, tlsconf.Trust(cfg.TLS))
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	return &upstream{
		at: at, watch: w, fds: fds, slots: make(chan struct{}, cfg.MaxConnections), maxStreams: int64(cfg.MaxStreams),
	}, nil
}

// get returns an idle connection that is alive, the last one used first, or a new
// one, within connect_timeout.
func (u *upstream) get(fresh bool, within time.Duration) (*backendConn, error) {
	if !fresh {
		if b := u.kept(); b != nil {
			return b, nil
		}
	}
	return u.open(fresh, within)
}

// kept returns an idle connection that is alive; nil: there is none.
func (u *upstream) kept() *backendConn {
	for {
		u.mu.Lock()
		n := len(u.idle)
		if n == 0 {
			u.mu.Unlock()
			return nil
		}
		b := u.idle[n-1]
		u.idle[n-1] = nil
		u.idle = u.idle[:n-1]
		u.mu.Unlock()
		if u.reuse(b) {
			return b
		}
	}
}

// reuse says whether an idle connection can serve another request; if not, it is
// given up.
func (u *upstream) reuse(b *backendConn) bool {
	if b.usable() {
		b.reused = true
		return true
	}
	u.discard(b)
	return false
}

// open returns a new connection. Where descriptors are scarce it waits for one, or
// for a connection that another request is done with.
func (u *upstream) open(fresh bool, within time.Duration) (b *backendConn, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	ready := u.fds.Take() || u.fds.Wait(ctx, func() bool {
		if !fresh {
			b = u.kept()
		}
		return b != nil || u.fds.Take() || fresh && u.evict() && u.fds.Take() // else the next look keeps what was put back
	})
	if !ready {
		return nil, errNoConnection
	}
	if b == nil {
		if b, err = u.dial(ctx); err != nil {
			u.fds.Give()
		}
	}
	return b, err
}

func (u *upstream) dial(ctx context.Context) (*backendConn, error) {
	conn, err := u.at.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial backend: %w", err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(readBuffer)
	}
	conn = sockio.Wrap(conn)
	if u.at.TLS != nil {
		t := tls.Client(conn, u.at.TLS)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("dial backend: %w", err)
		}
		conn = t
	}
	b := &backendConn{conn: conn, raw: rawConn(conn), src: newSource(conn, &large), watched: u.watch.add(conn)}
	b.peek = b.peekFD
	return b, nil
}

// readBuffer is what the kernel takes from the backend ahead of a client that reads
// slowly; left alone it grows to many MiB.
const readBuffer = 1 << 20

// usable says whether an idle connection is still open and silent.
func (b *backendConn) usable() bool {
	b.alive = false
	if t, ok := b.conn.(*tls.Conn); ok && !silent(t) {
		return false
	}
	return !b.watched.expired.Load() && b.raw != nil && b.raw.Control(b.peek) == nil && b.alive
}

// silent says that t has read no more off its socket than was taken from it: not
// another record, nor the end. Only what is there already is looked at.
func silent(t *tls.Conn) bool {
	_ = t.SetReadDeadline(time.Unix(1, 0))
	_, err := t.Read(make([]byte, 1))
	_ = t.SetReadDeadline(time.Time{})
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// errCut: somebody may have cut the answer short (RFC 9112 §9.8).
var errCut = errors.New("backend closed TLS without close_notify")

// ended says what is wrong with the end of what b sent; nil: nothing.
func (b *backendConn) ended() error {
	t, ok := b.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	if wire, ok := t.NetConn().(interface{ Ended() bool }); ok && wire.Ended() {
		return errCut
	}
	return nil
}

func (b *backendConn) peekFD(fd uintptr) {
	var one [1]byte
	_, err := sockio.Peek(int(fd), one[:])
	b.alive = err == unix.EAGAIN // 0 is the end; bytes that nobody asked for are no good either
}

// put keeps a connection for the next request, if so many could be used at once.
func (u *upstream) put(b *backendConn) {
	u.rest(b)
	b.since = u.watch.now.Load()
	u.mu.Lock()
	full := len(u.idle) >= cap(u.slots)
	if !full {
		u.idle = append(u.idle, b)
	}
	u.mu.Unlock()
	if full {
		u.discard(b)
	}
	u.fds.Wake()
}

// evict closes the connection that was idle the longest, for its descriptor; false:
// there is none.
func (u *upstream) evict() bool {
	u.mu.Lock()
	if len(u.idle) == 0 {
		u.mu.Unlock()
		return false
	}
	b := u.idle[0]
	u.idle = slices.Delete(u.idle, 0, 1)
	u.mu.Unlock()
	u.discard(b)
	return true
}

// rest makes b wait for the next request.
func (u *upstream) rest(b *backendConn) {
	u.watch.arm(b.watched, 0)
	b.src.release()
}

// discard closes a connection that cannot be used again.
func (u *upstream) discard(b *backendConn) {
	defer u.fds.Give()
	u.watch.remove(b.watched)
	b.src.release()
	if t, ok := b.conn.(*tls.Conn); ok {
		_ = t.NetConn().Close() // no goodbye to a peer that may not read
		return
	}
	_ = b.conn.Close()
}

// expire closes the connections that are idle since a moment before the limit.
func (u *upstream) expire(limit int64) {
	u.mu.Lock()
	n := 0 // the oldest are first
	for n < len(u.idle) && u.idle[n].since < limit {
		n++
	}
	old := slices.Clone(u.idle[:n])
	u.idle = slices.Delete(u.idle, 0, n)
	u.mu.Unlock()
	for _, b := range old {
		u.discard(b)
	}
}
