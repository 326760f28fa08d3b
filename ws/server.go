package ws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/metrics"
	"github.com/pushcart/pushcart/session"
)

// Options are what a Server is built from.
type Options struct {
	Settings *Settings
	Config   config.WebSocket
	// Sessions decides who comes in, and takes what they say.
	Sessions *session.Engine
	Metrics  *metrics.Metrics
	Log      *slog.Logger
}

// Server owns all WebSocket connections of a node.
type Server struct {
	settings atomic.Pointer[Settings]
	cfg      config.WebSocket
	sessions *session.Engine
	metrics  *metrics.Metrics
	guard    *guard.Guard
	wrap     func(socket) socket // of tests; nil: none
	engine   *engine
	codecs   []*codec // by protocol

	box          config.Outbox
	maxMessage   int64
	inboundTotal int64

	closing      atomic.Bool
	opened       atomic.Uint64 // connections ever begun; spreads them over pollers
	outboxBytes  atomic.Int64
	inboundBytes atomic.Int64
	asked        asked
	counts       counts
	shedding     sync.Mutex // one search for the largest at a time
	inflater     inflater
}

// counts are kept here and not in Prometheus counters, as they are of the hot
// path.
type counts struct {
	sent     atomic.Uint64 // messages written whole
	bytes    atomic.Uint64 // of their frames
	writes   atomic.Uint64 // system calls that wrote
	messages atomic.Uint64 // of clients
}

// New returns a server and starts its pollers. Connections arrive through Serve.
func New(o Options) (*Server, error) {
	e, err := newEngine()
	if err != nil {
		return nil, err
	}
	return newServer(o, e), nil
}

func newServer(o Options, e *engine) *Server {
	c := o.Config
	s := &Server{
		cfg: c, sessions: o.Sessions, metrics: o.Metrics,
		guard: guard.New(o.Log, o.Metrics.Panics.Inc), engine: e,
		box: c.Outbox, maxMessage: int64(c.MaxMessageSize), inboundTotal: int64(c.InboundTotal),
	}
	s.settings.Store(o.Settings)
	for i := range o.Sessions.Protocols() {
		s.codecs = append(s.codecs, newCodec(o.Sessions.Hub(), o.Sessions.Protocol(uint8(i))))
	}
	s.asked.most = s.inboundTotal / 2
	s.show()
	return s
}

func (s *Server) show() {
	load := func(v *atomic.Uint64) func() float64 { return func() float64 { return float64(v.Load()) } }
	m := s.metrics
	m.Gauge("pushcart_connections", "WebSocket connections of this node.",
		func() float64 { return float64(s.Connections()) })
	m.Gauge("pushcart_connections_limit", "WebSocket connections that the node takes at most.",
		func() float64 { return float64(s.sessions.Limit()) })
	m.Gauge("pushcart_outbox_limit_bytes", "Bytes that wait for slow connections at most (websocket.outbox.total).",
		func() float64 { return float64(s.box.Total) })
	m.Gauge("pushcart_outbox_bytes", "Bytes that wait for slow connections.",
		func() float64 { return float64(s.outboxBytes.Load()) })
	m.Gauge("pushcart_inbound_bytes", "Bytes of unfinished client messages.",
		func() float64 { return float64(s.inboundBytes.Load()) })
	m.Gauge("pushcart_webhook_asked_bytes", "Bytes of client messages that the backend has yet to answer.",
		func() float64 { return float64(s.asked.bytes.Load()) })
	m.Gauge("pushcart_inflate_queue", "Compressed client messages that wait to be decompressed.",
		func() float64 { return float64(s.inflater.waiting()) })
	m.Counter("pushcart_client_messages_total", "Messages received from clients.", load(&s.counts.messages))
	m.Counter("pushcart_deliveries_total", "Messages written to connections.", load(&s.counts.sent))
	m.Counter("pushcart_delivered_bytes_total", "Bytes of the frames of messages written to connections.", load(&s.counts.bytes))
	m.Counter("pushcart_socket_writes_total", "Writes to sockets; frames are joined where several wait.",
		load(&s.counts.writes))
}

// Connections is how many WebSockets the node holds, those that are just being
// let in included.
func (s *Server) Connections() int { return s.sessions.Sessions() }

// forget is called when a connection's socket is gone.
func (s *Server) forget(c *Conn) {
	s.asked.forget(c)
	s.sessions.Released(&c.session)
}

// relieve closes the connection with the largest outbox while all outboxes
// together are over websocket.outbox.total.
func (s *Server) relieve() {
	if s.outboxBytes.Load() <= int64(s.box.Total) || !s.shedding.TryLock() {
		return
	}
	defer s.shedding.Unlock()
	for s.outboxBytes.Load() > int64(s.box.Total) {
		c := s.largest((*Conn).droppable)
		if c == nil {
			return
		}
		c.end(endSlow)
	}
}

// shedInbound closes the connection with the largest unfinished message while
// all together, with those that the backend has yet to answer, are over
// websocket.inbound_total.
func (s *Server) shedInbound() {
	if !s.shedding.TryLock() {
		return
	}
	defer s.shedding.Unlock()
	for s.inboundBytes.Load()+s.asked.bytes.Load() > s.inboundTotal {
		c := s.largest(func(c *Conn) int32 { return c.inSize.Load() })
		if c == nil {
			return
		}
		s.inboundBytes.Add(-int64(max(0, c.inSize.Swap(shed))))
		c.end(endTooBig)
	}
}

func (s *Server) largest(size func(*Conn) int32) *Conn {
	var found *Conn
	best := int32(0)
	for _, l := range s.engine.loops() {
		l.each(func(c *Conn) {
			if n := size(c); n > best {
				found, best = c, n
			}
		})
	}
	return found
}

// Close ends what is left with 1001, gives it a moment to answer, and waits for
// the server's goroutines, at most until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	s.sessions.Drain()
	s.closing.Store(true)
	for _, l := range s.engine.loops() {
		l.each((*Conn).hurry)
		l.stop()
	}
	if err := stopped(ctx, &s.engine.running); err != nil {
		return fmt.Errorf("close connections: %w", errors.Join(err, ctx.Err()))
	}
	s.inflater.work.Wait() // no connection is left to add to it
	return nil
}
