package session

import (
	"time"

	"github.com/pushcart/pushcart/auth"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/webhook"
)

// Settings are the part of the configuration that may change at run time (SPEC §2). They
// are immutable: a reload makes new ones and calls Engine.Apply. Everything that decides
// about a handshake is here, so that none is judged by half a configuration: the connect
// webhook of a new one may rely on tokens that the old one did not require.
type Settings struct {
	anonymous    bool
	allowOnError bool // webhook.on_error.connect
	forConnect   []string
	forMessage   []string
	subprotocols []string
	origins      origins
	limits       config.Limits
	rules        *rules
	onError      config.OnError
	pingInterval time.Duration
	auth         *auth.Authenticator
	connect      *webhook.Settings // nil: the backend is not asked
	tells        connectionEvents
}

// Sections are the sections of the configuration that decide about sessions.
type Sections struct {
	WebSocket config.WebSocket
	Auth      config.Auth
	Webhook   config.Webhook
	Limits    config.Limits
	Channels  []config.ChannelRule
	Users     config.Users
}

// NewSettings makes settings from their sections of the configuration and from the
// settings of auth and webhook; without hooks the backend is not asked.
func NewSettings(c Sections, verifies *auth.Authenticator, hooks *webhook.Settings) (*Settings, error) {
	rules, err := newRules(c.Channels, c.Users)
	if err != nil {
		return nil, err
	}
	s := &Settings{
		anonymous:    c.Auth.Anonymous,
		allowOnError: c.Auth.Anonymous && c.Webhook.OnError.Connect == config.Allow,
		forConnect:   c.Webhook.ForwardHeaders.Connect, forMessage: c.Webhook.ForwardHeaders.Message,
		subprotocols: c.WebSocket.Subprotocols, origins: newOrigins(c.WebSocket.AllowedOrigins), limits: c.Limits,
		rules: rules, onError: c.Webhook.OnError, pingInterval: c.WebSocket.PingInterval, auth: verifies,
	}
	if hooks != nil {
		s.tells = connectionEvents{hooks.Wants(webhook.Connected), hooks.Wants(webhook.Disconnected)}
		if hooks.Wants(webhook.Connect) {
			s.connect = hooks
		}
	}
	return s, nil
}

// named says whether a credential or the app may name the user, which may take a
// while.
func (s *Settings) named() bool { return s.credentials() || s.connect != nil }

// credentials says whether clients may have any.
func (s *Settings) credentials() bool { return s.auth.HasJWT() || s.auth.HasForward() }

// PingInterval is websocket.ping_interval, which is sent to clients.
func (e *Engine) PingInterval() time.Duration { return e.settings.Load().pingInterval }
