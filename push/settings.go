package push

import (
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/accesslog"
	"github.com/pushcart/pushcart/internal/gate"
)

// Settings are what of the configuration may change while the process runs
// (SPEC §2). They do not change: a reload makes new ones and calls API.Apply.
type Settings struct {
	gate     *gate.Settings
	channels int // a connection may have
	access   *accesslog.Log
}

// NewSettings makes settings from their sections of the configuration; requests are
// logged to access, if it is not nil.
func NewSettings(p config.Push, l config.Limits, access *accesslog.Log) *Settings {
	return &Settings{gate: gate.NewSettings(p.Hosts, p.Tokens), channels: l.ChannelsPerConnection, access: access}
}

// Apply changes the settings for future requests.
func (a *API) Apply(s *Settings) { a.settings.Store(s) }

// rules are those of the listener; nothing is exempt from them.
var rules = gate.Rules{Section: "push", NoPages: "push is for programs, not for pages"}
