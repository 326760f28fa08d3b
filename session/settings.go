package session

import "github.com/pushcart/pushcart/config"

// Settings are what of the configuration may change while the process runs
// (SPEC §2). They do not change: a reload makes new ones and calls Engine.Apply.
type Settings struct {
	anonymous    bool
	allowOnError bool // webhook.on_error.connect
	forConnect   []string
	forMessage   []string
	subprotocols []string
	origins      origins
	limits       config.Limits
}

// NewSettings makes settings of their sections of the configuration.
func NewSettings(ws config.WebSocket, a config.Auth, w config.Webhook, l config.Limits) *Settings {
	return &Settings{
		anonymous:    a.Anonymous,
		allowOnError: a.Anonymous && w.OnError.Connect == config.Allow,
		forConnect:   w.ForwardHeaders.Connect, forMessage: w.ForwardHeaders.Message,
		subprotocols: ws.Subprotocols, origins: newOrigins(ws.AllowedOrigins), limits: l,
	}
}
