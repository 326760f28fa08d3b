package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/pushcart/pushcart/admin"
	"github.com/pushcart/pushcart/auth"
	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/descriptors"
	"github.com/pushcart/pushcart/metrics"
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
	cfg     config.Config
	log     *slog.Logger
	metrics *metrics.Metrics
	broker  hub.Broker
	hub     *hub.Hub
	hooks   *webhook.Dispatcher
	auth    *auth.Authenticator
	// sessions decides who comes in, for all transports.
	sessions *session.Engine
	ws       *ws.Server
	proxy    *proxy.Server
	api      *push.API
	admin    *admin.Server

	public, pushListener, adminListener net.Listener
}

// newNode builds everything and opens the listeners, but serves nothing yet.
func newNode(ctx context.Context, cfg config.Config, log *slog.Logger) (*node, error) {
	id := hub.NewNodeID()
	n := &node{cfg: cfg, log: log.With("node", id)}
	if err := n.build(id); err != nil {
		return nil, errors.Join(err, n.discard())
	}
	if err := n.listen(); err != nil {
		return nil, errors.Join(err, n.discard())
	}
	n.hub.SetAddress(advertised(n.public.Addr()))
	if err := n.hub.Start(ctx); err != nil {
		return nil, errors.Join(err, n.discard())
	}
	return n, nil
}

func (n *node) build(id string) (err error) {
	fds, err := n.share()
	if err != nil {
		return err
	}
	m := metrics.New(version, commit)
	n.metrics = m
	redis, seats, err := n.connect(id, m)
	if err != nil {
		return err
	}
	n.hub = hub.NewHub(n.broker, id, m, n.log)
	n.hub.SetVersion(version)
	rules, err := hub.NewRules(n.cfg.Channels, n.cfg.Users)
	if err != nil {
		return err
	}
	n.hub.Apply(rules)
	hooks, err := webhook.NewSettings(n.cfg.Webhook, n.cfg.Backend)
	if err != nil {
		return err
	}
	n.hooks = webhook.New(hooks, id, m, n.log)
	if n.auth, err = auth.New(n.cfg.Auth, n.cfg.Backend, n.log); err != nil {
		return err
	}
	n.auth.LimitForwards(fds.Forwards)
	n.sessions = session.NewEngine(session.Options{
		Settings: session.NewSettings(n.cfg.WebSocket, n.cfg.Auth, n.cfg.Webhook, n.cfg.Limits, n.auth, hooks),
		Hub:      n.hub, Webhooks: n.hooks, Seats: seats, Descriptors: fds.Clients,
		Protocols: []session.Named{{Name: raw.Name, Protocol: raw.Protocol{}}}, Metrics: m, Panics: m.Panics.Inc, Log: n.log,
	})
	n.ws, err = ws.New(ws.Options{
		Settings: ws.NewSettings(n.cfg.WebSocket, n.cfg.Shutdown), Config: n.cfg.WebSocket, Sessions: n.sessions, Metrics: m, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.proxy, err = proxy.New(proxy.Options{
		Settings: proxy.NewSettings(n.cfg.Backend, n.cfg.Client, n.cfg.TrustedProxies, n.cfg.Webhook),
		Backend:  n.cfg.Backend, TLS: n.cfg.TLS, Paths: n.cfg.WebSocket.Paths, MaxConnections: n.cfg.Client.MaxConnections,
		Upgrade: n.ws.Serve, Upgraded: n.ws.Connections,
		Descriptors: fds.Clients, Metrics: m, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.api = push.NewAPI(push.APIOptions{
		Config: n.cfg.Push, Hub: n.hub, ChannelsPerConnection: n.cfg.Limits.ChannelsPerConnection, Log: n.log,
	})
	n.admin = admin.New(admin.Options{Config: n.cfg.Admin, Metrics: m.Handler(), Panics: m.Panics.Inc, Redis: redis, Log: n.log})
	return nil
}

// share shares out the file descriptors.
func (n *node) share() (*descriptors.Plan, error) {
	needs := descriptors.Needs{Redis: len(n.cfg.Redis.Addresses) > 0}
	if n.cfg.Webhook.URL != "" {
		needs.Webhooks = n.cfg.Webhook.MaxInFlight
	}
	if n.cfg.Auth.Forward.URL != "" {
		needs.Forwards = auth.MaxForwards
	}
	fds, err := descriptors.NewPlan(needs)
	if err != nil {
		return nil, err
	}
	if needs.Webhooks > 0 {
		n.cfg.Webhook.MaxInFlight = fds.Webhooks
	}
	for key, limit := range map[string]int{
		"client.max_connections": n.cfg.Client.MaxConnections, "limits.connections": n.cfg.Limits.Connections,
	} {
		if most := fds.Clients.Connections(); int64(limit) > most {
			n.log.Warn("more connections are configured than there are file descriptors for (ulimit -n)",
				"setting", key, "configured", limit, "possible", most)
		}
	}
	return fds, nil
}

// connect makes what goes between nodes; redis, which says what is wrong with it, is
// nil where this is the only one, seats where users have no limit.
func (n *node) connect(id string, m *metrics.Metrics) (redis func() error, seats broker.Seats, err error) {
	limited := n.cfg.Limits.ConnectionsPerUser > 0
	if len(n.cfg.Redis.Addresses) == 0 {
		n.broker = n.memory(m)
		if limited {
			seats = broker.NewMemorySeats(n.cfg.Limits)
		}
		return nil, seats, nil
	}
	r, err := broker.NewRedis(n.cfg.Redis, id, m, n.log)
	if err != nil {
		return nil, nil, err
	}
	m.ShowRedis()
	n.broker = r
	if limited {
		seats = r.NewSeats(n.cfg.Limits)
	}
	return r.Health, seats, nil
}

// memory is the broker of a single node.
func (n *node) memory(m *metrics.Metrics) *broker.Memory {
	b := broker.NewMemory()
	b.LimitHistory(int64(n.cfg.HistoryTotal))
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

func (n *node) listen() (err error) {
	tcp := func(addr string) func() (net.Listener, error) {
		return func() (net.Listener, error) { return net.Listen("tcp", addr) }
	}
	push := func() (net.Listener, error) { return listenPush(n.cfg.Push) }
	for _, l := range []struct {
		key  string
		to   *net.Listener
		open func() (net.Listener, error)
	}{
		{"listen", &n.public, tcp(n.cfg.Listen)}, {"push.listen", &n.pushListener, push},
		{"admin.listen", &n.adminListener, tcp(n.cfg.Admin.Listen)},
	} {
		ln, err := l.open()
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
	serve(n.admin.Serve, n.adminListener)
	serve(n.api.Serve, n.pushListener)
	serve(n.proxy.Serve, n.public)
	n.admin.SetReady(true)
	n.log.Info("pushcart started", "version", version, "listen", n.public.Addr().String(),
		"push", n.pushListener.Addr().String(), "admin", n.adminListener.Addr().String())
	n.warn()
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
			n.log.Warn("SIGHUP: this version does not reload its configuration; restart it")
		}
	}
}

// warn says when nobody can come in (SPEC §2).
func (n *node) warn() {
	a := n.cfg.Auth
	asked := n.hooks.Wants(webhook.Connect)
	if !a.JWT.Enabled() && a.Forward.URL == "" && !asked && !a.Anonymous {
		n.log.Warn("no way in: every WebSocket handshake is answered 401 until auth.jwt, auth.forward, " +
			"a connect webhook or auth.anonymous: true is configured")
	}
}
