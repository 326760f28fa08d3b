package proxy

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// watchStep is the resolution of all timeouts, and how soon a client that went
// away is noticed.
const watchStep = 100 * time.Millisecond

// watcher ends connections whose deadline passed, and requests whose client went
// away. Arming costs two atomic stores, where a SetDeadline is a system timer.
type watcher struct {
	now   atomic.Int64 // milliseconds since begin
	begin time.Time
	stop  chan struct{}
	done  sync.WaitGroup

	mu     sync.Mutex // guards all below
	all    map[*watched]struct{}
	asleep bool // all was empty: the clock stands still
	wake   chan struct{}
}

// watched is one connection under watch.
type watched struct {
	conn net.Conn
	// deadline and sendBy, for reading and for writing, are in the watcher's
	// milliseconds; 0: none.
	deadline atomic.Int64
	sendBy   atomic.Int64
	// expired says that the watcher cut the connection off, not the peer.
	expired atomic.Bool
	// waiting, if not 0, is since when a backend works for this client, who is
	// looked after meanwhile.
	waiting atomic.Int64
	onGone  atomic.Pointer[func(reset bool)]
	// quietAt, if not 0, is when a reader that still waits is to be told so.
	quietAt atomic.Int64
}

func newWatcher() *watcher {
	w := &watcher{begin: time.Now(), stop: make(chan struct{}), all: map[*watched]struct{}{}, wake: make(chan struct{}, 1)}
	w.tell()
	w.done.Go(w.run)
	return w
}

func (w *watcher) run() {
	t := time.NewTicker(watchStep)
	defer t.Stop()
	for round := 0; ; round++ {
		select {
		case <-w.stop:
			return
		case <-t.C:
		}
		w.tell()
		w.look(round)
		if w.nothing() {
			t.Stop()
			select {
			case <-w.stop:
				return
			case <-w.wake:
			}
			t.Reset(watchStep)
		}
	}
}

// tell sets the coarse clock.
func (w *watcher) tell() { w.now.Store(time.Since(w.begin).Milliseconds() + 1) }

// nothing reports an empty watch list; a newcomer wakes the watcher.
func (w *watcher) nothing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asleep = len(w.all) == 0
	return w.asleep
}

func (w *watcher) close() {
	close(w.stop)
	w.done.Wait()
}

// slowRound: clients of requests that take long are looked after once a second.
const slowRound = 10

func (w *watcher) look(round int) {
	now := w.now.Load()
	var ask []*watched
	w.mu.Lock()
	for x := range w.all {
		if past(&x.deadline, now) || past(&x.sendBy, now) {
			// Under the lock: who was removed from the table is not disturbed any more.
			x.expired.Store(true)
			_ = x.conn.SetDeadline(time.Unix(1, 0)) // whoever waits on it goes on and cleans up
			continue
		}
		if q := x.quietAt.Load(); q != 0 && now >= q && x.quietAt.CompareAndSwap(q, 0) {
			_ = x.conn.SetReadDeadline(time.Unix(1, 0))
		}
		if since := x.waiting.Load(); since != 0 && now-since >= watchStep.Milliseconds() {
			if now-since < time.Second.Milliseconds() || round%slowRound == 0 {
				ask = append(ask, x)
			}
		}
	}
	w.mu.Unlock()
	for _, x := range ask {
		f := x.onGone.Load()
		if f == nil {
			continue
		}
		if gone, reset := peerGone(x.conn); gone {
			(*f)(reset)
		}
	}
}

func past(deadline *atomic.Int64, now int64) bool {
	d := deadline.Load()
	return d != 0 && now >= d
}

func (w *watcher) add(conn net.Conn) *watched {
	x := &watched{conn: conn}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asleep {
		w.asleep = false
		w.tell()
		w.wake <- struct{}{} // has room: one for each time asleep
	}
	w.all[x] = struct{}{}
	return x
}

func (w *watcher) remove(x *watched) {
	w.mu.Lock()
	delete(w.all, x)
	w.mu.Unlock()
}

// arm bounds the reading from a connection to d from now; 0: no bound.
func (w *watcher) arm(x *watched, d time.Duration) { w.set(&x.deadline, d) }

// doze ends the wait of who reads from a connection after d, unless awake is
// called before.
func (w *watcher) doze(x *watched, d time.Duration) { w.set(&x.quietAt, d) }

// awake takes doze back.
func (w *watcher) awake(x *watched) {
	if x.quietAt.Swap(0) == 0 { // too late: wait until it is done, and undo it
		w.mu.Lock()
		defer w.mu.Unlock()
		_ = x.conn.SetReadDeadline(time.Time{})
	}
}

// armSend bounds the writing to it.
func (w *watcher) armSend(x *watched, d time.Duration) { w.set(&x.sendBy, d) }

func (w *watcher) set(deadline *atomic.Int64, d time.Duration) {
	if d == 0 {
		deadline.Store(0)
		return
	}
	deadline.Store(w.now.Load() + d.Milliseconds() + 1)
}

// guard calls gone, again and again, while the client is away, and says whether it
// reset the connection; unguard ends that.
func (w *watcher) guard(x *watched, gone *func(reset bool)) {
	x.onGone.Store(gone)
	x.waiting.Store(w.now.Load())
}

func (w *watcher) unguard(x *watched) {
	x.waiting.Store(0)
	x.onGone.Store(nil)
}

// peerGone asks the kernel whether the peer closed, or even reset the connection;
// what it sent before may be unread still.
func peerGone(conn net.Conn) (gone, reset bool) {
	raw := rawConn(conn)
	if raw == nil {
		return false, false
	}
	_ = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: pollHangup}}
		_, err := unix.Poll(fds, 0)
		gone = err == nil && fds[0].Revents != 0
		reset = gone && fds[0].Revents&unix.POLLERR != 0
	})
	return gone, reset
}
