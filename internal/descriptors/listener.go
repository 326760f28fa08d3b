package descriptors

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/pushcart/pushcart/internal/ratelog"
)

const (
	shortestPause = 5 * time.Millisecond
	longestPause  = 500 * time.Millisecond
	// calm is how long accepting must have gone well for the pause to be short again:
	// while descriptors are scarce one is free now and then.
	calm = 10 * time.Second
)

// Listener accepts until it is closed: what passes, like the want of descriptors, is
// waited for, which servers take for the end of their listener.
type Listener struct {
	net.Listener
	name   string
	log    *ratelog.Logger
	closed chan struct{}
	once   sync.Once

	mu     sync.Mutex // guards all below; held by Accept
	pause  time.Duration
	failed time.Time // the last time
}

// Outlast wraps ln; name is the configuration's for it.
func Outlast(ln net.Listener, name string, log *slog.Logger) *Listener {
	return &Listener{Listener: ln, name: name, log: ratelog.New(log), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err == nil || !passes(err) {
			return conn, err
		}
		l.log.Warn(l.name, "connections cannot be accepted", "listener", l.name, "err", err,
			"look_at", "the limit of file descriptors (ulimit -n)")
		select {
		case <-time.After(l.nextPause(time.Now())):
		case <-l.closed:
		}
	}
}

func (l *Listener) nextPause(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.failed) > calm {
		l.pause = shortestPause
	} else {
		l.pause = min(2*l.pause, longestPause)
	}
	l.failed = now
	return l.pause
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// passing are the errors of accept(2) that say nothing about the listener: resources
// that come back, and faults of one connection that was to be accepted.
var passing = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO, syscall.EPERM, syscall.EINTR, syscall.EAGAIN, syscall.ETIMEDOUT,
	syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENOPROTOOPT, syscall.EOPNOTSUPP,
}

func passes(err error) bool {
	for _, p := range passing {
		if errors.Is(err, p) {
			return true
		}
	}
	return false
}
