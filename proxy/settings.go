package proxy

import (
	"net/netip"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/clientaddr"
)

// Settings are what of the configuration may change while the process runs
// (SPEC §2). They do not change: a reload makes new ones and calls Server.Apply.
type Settings struct {
	trusted clientaddr.Proxies
	client  clientTimeouts
	backend backendTimeouts
	wall    wall
}

// clientTimeouts are those of the section client.
type clientTimeouts struct{ head, body, send, idle time.Duration }

// backendTimeouts are those of the section backend.
type backendTimeouts struct{ connect, response, idle time.Duration }

// NewSettings makes settings of their sections of the configuration.
func NewSettings(b config.Backend, c config.Client, trusted []netip.Prefix, w config.Webhook) *Settings {
	return &Settings{
		trusted: trusted,
		client:  clientTimeouts{head: c.HeadTimeout, body: c.BodyTimeout, send: c.SendTimeout, idle: c.IdleTimeout},
		backend: backendTimeouts{connect: b.ConnectTimeout, response: b.ResponseTimeout, idle: b.IdleTimeout},
		wall:    newWall(w),
	}
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
