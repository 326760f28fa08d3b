package proxy

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/accesslog"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/internal/ratelog"
)

// Settings are what of the configuration may change while the process runs
// (SPEC §2). They do not change: a reload makes new ones and calls Server.Apply.
type Settings struct {
	tls     *tls.Config // nil: plain HTTP
	trusted clientaddr.Proxies
	client  clientTimeouts
	backend backendTimeouts
	wall    wall
	upgrade Upgrade
	access  *accesslog.Log
}

// Upgrade takes over a connection whose request asks for a WebSocket on one of the
// paths. It is called in the connection's goroutine; what head and early point to is
// valid until it returns. Its context ends when the client goes away before that, or
// the server drains: there is nobody to wait for then.
type Upgrade func(ctx context.Context, conn net.Conn, head *http1.Request, early []byte, from clientaddr.Origin)

// clientTimeouts are those of the section client.
type clientTimeouts struct{ head, body, send, idle time.Duration }

// backendTimeouts are those of the section backend.
type backendTimeouts struct{ connect, response, idle time.Duration }

// Sections are what of the configuration, and of what others made of theirs, Settings
// are made of.
type Sections struct {
	TLS            config.TLS
	Backend        config.Backend
	Client         config.Client
	TrustedProxies []netip.Prefix
	Webhook        config.Webhook
	// Upgrade goes by the same configuration: no handshake meets one that trusts a
	// proxy here, and another there.
	Upgrade Upgrade
	// Access logs requests; nil: nobody does.
	Access *accesslog.Log
	// Log says what is wrong with a certificate that was renewed.
	Log *slog.Logger
}

// NewSettings makes settings. Whether there is TLS must not change.
func NewSettings(s Sections) (*Settings, error) {
	b, c := s.Backend, s.Client
	conf, err := serverTLS(s.TLS, ratelog.New(s.Log))
	if err != nil {
		return nil, err
	}
	return &Settings{
		tls: conf, trusted: s.TrustedProxies, upgrade: s.Upgrade, access: s.Access,
		client:  clientTimeouts{head: c.HeadTimeout, body: c.BodyTimeout, send: c.SendTimeout, idle: c.IdleTimeout},
		backend: backendTimeouts{connect: b.ConnectTimeout, response: b.ResponseTimeout, idle: b.IdleTimeout},
		wall:    newWall(s.Webhook),
	}, nil
}

// Apply changes the settings. A request under way goes on with those it began with;
// the next one on its connection has the new ones.
func (s *Server) Apply(set *Settings) { s.settings.Store(set) }

// adopt gives the next request the newest settings.
func (c *clientConn) adopt() {
	set := c.s.settings.Load()
	if set == c.set {
		return
	}
	c.set, c.from = set, clientaddr.Origin{}
	c.trusted = set.trusted.Trusts(c.peer)
}
