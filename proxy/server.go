package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/descriptors"
	"github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/metrics"
)

// Options are what a Server is built from.
type Options struct {
	Settings *Settings
	Backend  config.Backend
	// Paths are websocket.paths.
	Paths []string
	// MaxConnections is client.max_connections.
	MaxConnections int
	// Upgraded counts the connections that Upgrade took and still holds.
	Upgraded func() int
	// Descriptors are what connections of clients and to the backend take; nil: no
	// bound.
	Descriptors *descriptors.Budget
	Metrics     *metrics.Metrics
	Log         *slog.Logger
}

// Server is the public listener.
type Server struct {
	guard    *guard.Guard
	o        Options
	quiet    *ratelog.Logger // for what repeats
	settings atomic.Pointer[Settings]
	backend  config.Backend
	up       *upstream
	watch    *watcher
	lot      *lot
	routes   *routes
	max      int64
	codes    [1000]atomic.Pointer[prometheus.Counter]
	draining atomic.Bool
	stopping atomic.Bool // idle connections end

	upgrades    context.Context // of all upgrades
	endUpgrades context.CancelFunc

	open    atomic.Int64
	refused atomic.Uint64 // connections

	mu       sync.Mutex // guards all below
	conns    map[*clientConn]struct{}
	listener net.Listener
	closed   bool
	work     sync.WaitGroup // connections
	expiring chan struct{}
}

// New returns a server; Serve makes it listen.
func New(o Options) (*Server, error) {
	w := newWatcher()
	up, err := newUpstream(o.Backend, w, o.Descriptors)
	if err != nil {
		w.close()
		return nil, err
	}
	s := &Server{
		o: o, guard: guard.New(o.Log, o.Metrics.Panics.Inc), quiet: ratelog.New(o.Log), backend: o.Backend, up: up, watch: w,
		routes: newRoutes(o.Paths), max: int64(o.MaxConnections),
		conns: map[*clientConn]struct{}{}, expiring: make(chan struct{}),
	}
	s.settings.Store(o.Settings)
	s.upgrades, s.endUpgrades = context.WithCancel(context.Background())
	if s.max == 0 {
		s.max = descriptors.Default()
	}
	if s.lot, err = newLot(s.resume, s.left); err != nil {
		w.close()
		return nil, err
	}
	o.Metrics.Gauge("pushcart_client_connections", "HTTP connections of clients, WebSockets not included.",
		func() float64 { return float64(s.open.Load()) })
	o.Metrics.Gauge("pushcart_client_connections_limit", "Connections that the public listener takes at most, WebSockets included.",
		func() float64 { return float64(min(s.max, o.Descriptors.Connections())) })
	o.Metrics.Counter("pushcart_client_connections_refused_total", "Connections past that limit, answered 503.",
		func() float64 { return float64(s.refused.Load()) })
	o.Metrics.Gauge("pushcart_backend_streams", "Tunnels, and bodies of requests and responses under way.",
		func() float64 { return float64(s.up.streams.Load()) })
	s.work.Go(s.expire)
	return s, nil
}

// Serve takes connections from ln until Shutdown; then it returns nil. ln outlasts a
// want of descriptors (descriptors.Outlast).
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	s.listener = ln
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return ln.Close()
	}
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			s.take(conn)
		case s.isClosed():
			return nil
		default:
			return fmt.Errorf("public listener: %w", err)
		}
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) take(conn net.Conn) {
	if s.open.Add(1)+int64(s.o.Upgraded()) > s.max || !s.enter() {
		s.open.Add(-1)
		s.refused.Add(1)
		s.quiet.Warn("too many connections", "connection refused", "status", http.StatusServiceUnavailable,
			"reason", "too many connections", "setting", "client.max_connections")
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write(overfull)
		_ = conn.Close()
		return
	}
	if c := s.enlist(conn); c != nil {
		go c.serve()
	}
}

// enter takes a descriptor for a connection, rather than for one to the backend that
// nobody uses.
func (s *Server) enter() bool {
	for !s.o.Descriptors.Enter() {
		if !s.up.evict() {
			return false
		}
	}
	return true
}

// left gives back what a connection counted as, after its descriptor was closed.
func (s *Server) left() {
	s.open.Add(-1)
	s.o.Descriptors.Give()
}

// resume serves a connection that was parked.
func (s *Server) resume(conn net.Conn) {
	if c := s.enlist(conn); c != nil {
		c.serve()
	}
}

// enlist makes conn, which counts as open, a connection to be served; nil, and it
// is closed, when the server does not go on.
func (s *Server) enlist(conn net.Conn) *clientConn {
	c := &clientConn{s: s, sock: conn, conn: conn}
	if ap, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		c.peer = ap.Addr().Unmap()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		s.left()
		return nil
	}
	s.conns[c] = struct{}{}
	s.work.Add(1)
	return c
}

// delist takes a connection out of the registry; its goroutine goes on for a
// moment.
func (s *Server) delist(c *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// forever is later than every deadline.
const forever = math.MaxInt64

// expire closes idle connections in time, those to the backend and those that are
// parked.
func (s *Server) expire() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.up.expire(s.watch.now.Load() - s.settings.Load().backend.idle.Milliseconds())
			s.watch.tell() // who is parked is not under watch
			s.lot.expire(s.watch.now.Load())
		case <-s.expiring:
			s.up.expire(forever)
			return
		}
	}
}

// BeginDrain makes every response from now on the last of its connection.
// Upgrades that still wait are told to give up.
func (s *Server) BeginDrain() {
	s.draining.Store(true)
	s.endUpgrades()
}

// Shutdown stops accepting and lets requests in flight finish until ctx ends, then
// cuts what is left. It returns when all goroutines are over.
func (s *Server) Shutdown(ctx context.Context) error {
	s.BeginDrain()
	s.mu.Lock()
	already := s.closed
	s.closed = true
	s.stopping.Store(true)
	ln := s.listener
	s.mu.Unlock()
	if already {
		return nil
	}
	if ln != nil {
		_ = ln.Close()
	}
	s.lot.expire(forever)
	t := time.NewTicker(watchStep / 4)
	defer t.Stop()
	var err error
	end, over := (*clientConn).endIdle, ctx.Done()
	for s.each(end) > 0 {
		select {
		case <-t.C:
		case <-over:
			err = fmt.Errorf("public listener: requests cut: %w", ctx.Err())
			// More than once: some have yet to get their connection to the backend.
			end, over = (*clientConn).cut, nil
		}
	}
	close(s.expiring)
	s.work.Wait()
	s.watch.close()
	s.lot.close()
	return err
}

// each calls f for every connection and returns how many there are.
func (s *Server) each(f func(*clientConn)) int {
	s.mu.Lock()
	all := make([]*clientConn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		f(c)
	}
	return len(all)
}

// count is on every response's path: the counter of a code is looked up once.
func (s *Server) count(code int) {
	p := &s.codes[min(max(code, 0), 999)]
	c := p.Load()
	if c == nil {
		found := s.o.Metrics.Requests.WithLabelValues(fmt.Sprint(code))
		c = &found
		p.Store(c)
	}
	(*c).Inc()
}
