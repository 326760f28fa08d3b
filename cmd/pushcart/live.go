package main

import (
	"context"
	"net"
	"slices"
	"strings"

	"github.com/pushcart/pushcart/admin"
	"github.com/pushcart/pushcart/auth"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/descriptors"
	"github.com/pushcart/pushcart/internal/gate"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/proxy"
	"github.com/pushcart/pushcart/push"
	"github.com/pushcart/pushcart/session"
	"github.com/pushcart/pushcart/webhook"
	"github.com/pushcart/pushcart/ws"
)

// live is all that a reload changes, made of one configuration before any of it counts.
type live struct {
	cfg      config.Config
	fds      *descriptors.Plan
	rules    *hub.Rules
	auth     *auth.Authenticator
	hooks    *webhook.Settings
	sessions *session.Settings
	ws       *ws.Settings
	proxy    *proxy.Settings
	push     *push.Settings
	admin    *gate.Settings
}

// prepare makes what counts for a configuration; changed are the keys in which it
// differs from what counts now, if there is that.
func (n *node) prepare(cfg config.Config, changed []config.Change) (l *live, err error) {
	l = &live{cfg: cfg}
	if l.fds, err = n.share(cfg); err != nil {
		return nil, err
	}
	if l.rules, err = hub.NewRules(cfg.Channels, cfg.Users, cfg.Limits); err != nil {
		return nil, err
	}
	if l.hooks, err = n.webhooks(l, changed); err != nil {
		return nil, err
	}
	l.rules = l.rules.Tell(telling(l.hooks))
	if l.auth, err = n.authenticator(l, changed); err != nil {
		return nil, err
	}
	access := n.logs.accessLog(n.id, cfg.Log, cfg.Auth.JWT)
	l.sessions, err = session.NewSettings(session.Sections{
		WebSocket: cfg.WebSocket, Auth: cfg.Auth, Webhook: cfg.Webhook, Limits: cfg.Limits, Channels: cfg.Channels, Users: cfg.Users,
	}, l.auth, l.hooks)
	if err != nil {
		n.discardAuth(l)
		return nil, err
	}
	l.ws = ws.NewSettings(cfg.WebSocket, cfg.Shutdown, l.sessions, access)
	l.push = push.NewSettings(cfg.Push, cfg.Limits, access)
	l.admin = admin.NewSettings(cfg.Admin)
	l.proxy, err = proxy.NewSettings(proxy.Sections{
		TLS: cfg.TLS, Backend: cfg.Backend, Client: cfg.Client, TrustedProxies: cfg.TrustedProxies, Webhook: cfg.Webhook,
		Upgrade: n.upgrade(l.ws), Access: access, Log: n.log,
	})
	if err != nil {
		n.discardAuth(l)
		return nil, err
	}
	return l, nil
}

// telling is which facts the backend wants to be told.
func telling(hooks *webhook.Settings) hub.Telling {
	return hub.Telling{
		Users:    hooks.Wants(webhook.UserOnline) || hooks.Wants(webhook.UserOffline),
		Channels: hooks.Wants(webhook.ChannelOccupied) || hooks.Wants(webhook.ChannelVacated),
		Members:  hooks.Wants(webhook.PresenceJoin) || hooks.Wants(webhook.PresenceLeave),
	}
}

// concern says whether a section is one of the changed.
func concern(changed []config.Change, section string) bool {
	return slices.ContainsFunc(changed, func(c config.Change) bool { return strings.HasPrefix(c.Key, section+".") })
}

// share shares out the file descriptors.
func (n *node) share(cfg config.Config) (fds *descriptors.Plan, err error) {
	needs := descriptors.Needs{Redis: len(cfg.Redis.Addresses) > 0}
	if cfg.Webhook.URL != "" {
		needs.Webhooks = cfg.Webhook.MaxInFlight
	}
	if cfg.Auth.Forward.URL != "" {
		needs.Forwards = auth.MaxForwards
	}
	if n.live == nil {
		fds, err = descriptors.NewPlan(needs)
	} else {
		fds, err = n.live.fds.Renew(needs)
	}
	if err != nil {
		return nil, err
	}
	for key, limit := range map[string]int{
		"client.max_connections": cfg.Client.MaxConnections, "limits.connections": cfg.Limits.Connections,
	} {
		if most := fds.Clients.Connections(); int64(limit) > most {
			n.log.Warn("more connections are configured than file descriptors allow (ulimit -n)",
				"setting", key, "configured", limit, "possible", most)
		}
	}
	return fds, nil
}

// webhooks keeps what did not change, with its connections.
func (n *node) webhooks(l *live, changed []config.Change) (*webhook.Settings, error) {
	if n.live != nil && !concern(changed, "webhook") && n.live.fds.Webhooks == l.fds.Webhooks {
		return n.live.hooks, nil
	}
	cfg := l.cfg.Webhook
	if cfg.URL != "" {
		cfg.MaxInFlight = l.fds.Webhooks
	}
	return webhook.NewSettings(cfg, l.cfg.Backend)
}

// authenticator keeps what did not change, with the tokens that it knows.
func (n *node) authenticator(l *live, changed []config.Change) (a *auth.Authenticator, err error) {
	switch {
	case n.live == nil:
		a, err = auth.New(l.cfg.Auth, l.cfg.Backend, n.log)
	case !concern(changed, "auth") && n.live.fds.Forwards == l.fds.Forwards:
		return n.live.auth, nil
	default:
		a, err = n.live.auth.Renew(l.cfg.Auth, l.cfg.Backend)
	}
	if err == nil {
		a.LimitForwards(l.fds.Forwards)
	}
	return a, err
}

// discardAuth ends what was prepared in vain.
func (n *node) discardAuth(l *live) {
	if n.live == nil || l.auth != n.live.auth {
		l.auth.Close()
	}
}

// upgrade hands connections to ws, which is not built yet when the first settings
// are.
func (n *node) upgrade(set *ws.Settings) proxy.Upgrade {
	return func(ctx context.Context, conn net.Conn, head *http1.Request, early []byte, from clientaddr.Origin) {
		n.ws.By(set)(ctx, conn, head, early, from)
	}
}

// apply has l count for whatever begins from now on. A handshake takes all it is judged
// by from the proxy's settings at once, so these come behind what its limits count with;
// the old Authenticator serves until no handshake begins with it.
func (n *node) apply(l *live) {
	old := n.live
	n.live = l
	n.logs.apply(l.cfg.Log)
	l.fds.Apply()
	if l.hooks != old.hooks { // before what has facts told that were not wanted before
		n.hooks.Apply(l.hooks)
	}
	n.hub.Apply(l.rules)
	n.admin.Apply(l.admin)
	n.api.Apply(l.push)
	n.sessions.Apply(l.sessions)
	n.ws.Apply(l.ws)
	n.proxy.Apply(l.proxy)
	if l.auth != old.auth {
		old.auth.Retire()
	}
}
