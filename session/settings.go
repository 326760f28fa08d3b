package session

import (
	"github.com/pushcart/pushcart/auth"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/webhook"
)

// Settings are what of the configuration may change while the process runs
// (SPEC §2). They do not change: a reload makes new ones and calls Engine.Apply. All
// that lets a handshake in is here, so that none is judged by half a configuration: a
// token that the old one asks for, and a connect webhook of the new one that relies on
// tokens, would let in anybody.
type Settings struct {
	anonymous    bool
	allowOnError bool // webhook.on_error.connect
	forConnect   []string
	forMessage   []string
	subprotocols []string
	origins      origins
	limits       config.Limits
	auth         *auth.Authenticator
	connect      *webhook.Settings // nil: the backend is not asked
}

// NewSettings makes settings of their sections of the configuration, and of what auth
// and webhook made of theirs; without hooks the backend is not asked.
func NewSettings(
	ws config.WebSocket, a config.Auth, w config.Webhook, l config.Limits, verifies *auth.Authenticator, hooks *webhook.Settings,
) *Settings {
	s := &Settings{
		anonymous:    a.Anonymous,
		allowOnError: a.Anonymous && w.OnError.Connect == config.Allow,
		forConnect:   w.ForwardHeaders.Connect, forMessage: w.ForwardHeaders.Message,
		subprotocols: ws.Subprotocols, origins: newOrigins(ws.AllowedOrigins), limits: l, auth: verifies,
	}
	if hooks != nil && hooks.Wants(webhook.Connect) {
		s.connect = hooks
	}
	return s
}

// named says whether a credential or the app may name the user, which may take a
// while.
func (s *Settings) named() bool { return s.credentials() || s.connect != nil }

// credentials says whether clients may have any.
func (s *Settings) credentials() bool { return s.auth.HasJWT() || s.auth.HasForward() }
