package ws

import (
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/accesslog"
	"github.com/pushcart/pushcart/session"
)

// Settings are what of the configuration may change while the process runs
// (SPEC §2). They do not change: a reload makes new ones and calls Server.Apply.
type Settings struct {
	heartbeat heartbeat
	handshake time.Duration     // websocket.handshake_timeout
	drain     time.Duration     // shutdown.drain
	sessions  *session.Settings // of handshakes; nil: the newest
	access    *accesslog.Log
}

// NewSettings makes settings of their sections of the configuration. Handshakes are
// judged by sessions, without which the newest do, and logged to access, if any.
func NewSettings(ws config.WebSocket, s config.Shutdown, sessions *session.Settings, access *accesslog.Log) *Settings {
	return &Settings{
		heartbeat: newHeartbeat(ws.PingInterval, ws.PongTimeout), handshake: ws.HandshakeTimeout, drain: s.Drain,
		sessions: sessions, access: access,
	}
}

// Apply changes the settings. Handshakes under way have the time that they began
// with, and a ping that is under way its own deadline; the next ping comes no later
// than the new interval allows.
func (s *Server) Apply(set *Settings) {
	if old := s.settings.Swap(set); old.heartbeat == set.heartbeat {
		return
	}
	for _, l := range s.engine.loops() {
		l.each((*Conn).pingSooner)
	}
}

// pingSooner moves the next ping into the first interval from now on.
func (c *Conn) pingSooner() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != phaseOpen || c.ended != nil || c.pinged {
		return
	}
	if first := c.beat().first(c.loop.now()); first < c.pingAt {
		c.pingAt = first
		c.loop.post(c)
	}
}

func (c *Conn) beat() *heartbeat { return &c.srv.settings.Load().heartbeat }
