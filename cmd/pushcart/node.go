package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pushcart/pushcart/admin"
	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/descriptors"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/memlimit"
	"github.com/pushcart/pushcart/internal/sdnotify"
	"github.com/pushcart/pushcart/metrics"
	"github.com/pushcart/pushcart/protocol/json"
	"github.com/pushcart/pushcart/protocol/raw"
	"github.com/pushcart/pushcart/proxy"
	"github.com/pushcart/pushcart/push"
	"github.com/pushcart/pushcart/session"
	"github.com/pushcart/pushcart/webhook"
	"github.com/pushcart/pushcart/ws"
)

// node is everything that one configuration needs, built and wired. It is the
// composition root: nothing else knows more than its own part.
type node struct {
	id      string
	source  config.Source // to reload from
	logs    *logs
	log     *slog.Logger
	metrics *metrics.Metrics
	broker  nodeBroker
	hub     *hub.Hub
	hooks   *webhook.Dispatcher
	// sessions decides who comes in, for all transports.
	sessions *session.Engine
	ws       *ws.Server
	proxy    *proxy.Server
	api      *push.API
	admin    *admin.Server

	public, pushListener, adminListener net.Listener
	supervisor                          *sdnotify.Socket
	departure                           *departure

	reloading sync.Mutex // guards all below, once run began
	live      *live
	named     config.Named // what its files held
	stopping  bool
}

// nodeBroker is all that a node needs of a broker.
type nodeBroker interface {
	hub.Broker
	broker.Roster
	broker.Outbox
}

// newNode builds everything and opens the listeners, but serves nothing yet. cfg is
// what was loaded from source.
func newNode(ctx context.Context, cfg config.Config, source config.Source, l *logs) (*node, error) {
	id := ids.NewNode()
	n := &node{id: id, source: source, logs: l, log: slog.New(l.handler).With("node", id), named: cfg.ReadNamed(), departure: newDeparture()}
	if err := n.build(cfg); err != nil {
		return nil, errors.Join(err, n.discard())
	}
	if err := n.listen(cfg); err != nil {
		return nil, errors.Join(err, n.discard())
	}
	n.hub.SetAddress(advertised(n.public.Addr()))
	if err := n.hub.Start(ctx); err != nil {
		return nil, errors.Join(err, n.discard())
	}
	return n, nil
}

func (n *node) build(cfg config.Config) error {
	l, err := n.prepare(cfg, nil)
	if err != nil {
		return err
	}
	n.live = l
	m := metrics.New(version, commit)
	n.metrics = m
	redis, seats, err := n.connect(cfg, m)
	if err != nil {
		return err
	}
	n.hub = hub.NewHub(n.broker, n.id, m, n.log)
	n.hub.SetVersion(version)
	n.hub.Apply(l.rules)
	n.hooks = webhook.New(l.hooks, n.id, m, n.log)
	n.hub.SetOutbox(outbox{n.hooks})
	n.hooks.SetLetters(n.broker)
	n.sessions = session.NewEngine(session.Options{
		Settings: l.sessions, RequestsInFlight: cfg.WebSocket.RequestsInFlight, Hub: n.hub, Webhooks: n.hooks, Seats: seats, Descriptors: l.fds.Clients,
		Roster: n.broker, Outbox: n.broker, Shared: len(cfg.Redis.Addresses) > 0,
		Protocols: []session.Named{{Name: raw.Name, Protocol: raw.Protocol{}}, {Name: json.Name, Protocol: json.Protocol{}}},
		Metrics:   m, Panics: m.Panics.Inc, Log: n.log,
	})
	if n.ws, err = ws.New(ws.Options{Settings: l.ws, Config: cfg.WebSocket, Sessions: n.sessions, Metrics: m, Log: n.log}); err != nil {
		return err
	}
	n.proxy, err = proxy.New(proxy.Options{
		Settings: l.proxy, Backend: cfg.Backend, Paths: cfg.WebSocket.Paths, MaxConnections: cfg.Client.MaxConnections,
		Upgraded: n.ws.Connections, Descriptors: l.fds.Clients, Metrics: m, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.api = push.NewAPI(push.APIOptions{Settings: l.push, MaxBody: cfg.Push.MaxBody, Hub: n.hub, Letters: outbox{n.hooks}, Log: n.log})
	n.admin = admin.New(admin.Options{
		Config: cfg.Admin, Metrics: m.Handler(), Panics: m.Panics.Inc, Redis: redis, Reload: n.reload, Drain: n.leave, Log: n.log,
	})
	return nil
}

// connect makes what goes between nodes; redis, which says what is wrong with it, is
// nil where this is the only one.
func (n *node) connect(cfg config.Config, m *metrics.Metrics) (redis func() error, seats broker.Seats, err error) {
	if len(cfg.Redis.Addresses) == 0 {
		n.broker = n.memory(cfg, m)
		return nil, memory.NewSeats(cfg.Limits), nil
	}
	r, err := redisbroker.New(cfg.Redis, n.id, m, n.log)
	if err != nil {
		return nil, nil, err
	}
	m.ShowRedis()
	n.broker = r
	return r.Health, r.NewSeats(cfg.Limits), nil
}

// memory is the broker of a single node.
func (n *node) memory(cfg config.Config, m *metrics.Metrics) *memory.Broker {
	b := memory.New()
	b.LimitHistory(int64(cfg.HistoryTotal))
	m.Gauge("pushcart_history_bytes", "Bytes of history in memory.", func() float64 { return float64(b.HistoryBytes()) })
	m.Gauge("pushcart_history_streams", "Users and channels with history in memory.",
		func() float64 { return float64(b.HistoryStreams()) })
	return b
}

// discard gives up what was built when the rest could not be.
func (n *node) discard() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return n.close(ctx)
}

func (n *node) listen(cfg config.Config) (err error) {
	tcp := func(addr string) func() (net.Listener, error) {
		return func() (net.Listener, error) { return net.Listen("tcp", addr) }
	}
	push := func() (net.Listener, error) { return listenPush(cfg.Push) }
	for _, l := range []struct {
		key  string
		to   *net.Listener
		open func() (net.Listener, error)
	}{
		{"listen", &n.public, tcp(cfg.Listen)}, {"push.listen", &n.pushListener, push},
		{"admin.listen", &n.adminListener, tcp(cfg.Admin.Listen)},
	} {
		ln, err := l.open()
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w: another program has it; set %s to another one", err, l.key)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", l.key, err)
		}
		*l.to = descriptors.Outlast(ln, l.key, n.log)
	}
	return nil
}

// run serves until a signal, the end of ctx, or a listener's death, and then
// stops in order.
func (n *node) run(ctx context.Context, signals <-chan os.Signal) error {
	failed := make(chan error, 3)
	serve := func(f func(net.Listener) error, ln net.Listener) {
		go func() { failed <- f(ln) }()
	}
	n.warn()
	serve(n.admin.Serve, n.adminListener)
	serve(n.api.Serve, n.pushListener)
	serve(n.proxy.Serve, n.public)
	n.admin.SetReady(true)
	n.sayStarted()
	for {
		select {
		case <-ctx.Done():
			n.stop(signals)
			return nil
		case err := <-failed:
			n.stop(signals)
			return err
		case s := <-signals:
			if s != syscall.SIGHUP {
				n.log.Info("stopping", "signal", s.String())
				n.stop(signals)
				return nil
			}
			_, _ = n.reload() // which says itself what came of it
		}
	}
}

func (n *node) sayStarted() {
	args := []any{"version", version, "listen", n.public.Addr().String(), "push", n.pushListener.Addr().String(),
		"admin", n.adminListener.Addr().String(), "cpus", runtime.GOMAXPROCS(0)}
	if limit, ok := memlimit.Bytes(); ok {
		args = append(args, "memory_limit", config.Size(limit).String())
	}
	n.log.Info("pushcart started", args...)
	if err := n.supervisor.Ready(); err != nil {
		n.log.Warn("the service manager could not be notified that pushcart is ready", "err", err)
	}
}

// warn says when nobody can come in (SPEC §2), and when the process may be killed for
// want of memory although every bound is kept.
func (n *node) warn() {
	limit, limited := memlimit.Bytes()
	if bound, keys := n.live.cfg.MemoryBound(); limited && int64(bound) > limit {
		n.log.Warn("the configured queues may exceed the memory limit: lower these keys, or give the process more memory",
			"bound", bound.String(), "memory_limit", config.Size(limit).String(), "look_at", strings.Join(keys, ", "))
	}
	a := n.live.cfg.Auth
	asked := n.live.hooks.Wants(webhook.Connect)
	if !a.JWT.Enabled() && a.Forward.URL == "" && !asked && !a.Anonymous {
		n.log.Warn("no way in: every WebSocket handshake is answered 401 until auth.jwt, auth.forward, " +
			"a connect webhook or auth.anonymous: true is configured")
	}
}
