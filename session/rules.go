package session

import (
	"fmt"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/glob"
)

// rules say what clients may do with channels and users. They do not change.
type rules struct {
	channels []channelRule
	// publishToUser is who may publish to a user.
	publishToUser string
}

// channelRule is what holds for the channels that fit its pattern.
type channelRule struct {
	match              glob.Pattern
	subscribe, publish string // words of config
}

func newRules(channels []config.ChannelRule, users config.Users) (*rules, error) {
	r := &rules{publishToUser: users.Publish}
	for i, c := range channels {
		match, err := glob.Compile(c.Match)
		if err != nil {
			return nil, fmt.Errorf("channels[%d].match: %w", i, err)
		}
		r.channels = append(r.channels, channelRule{match, c.Subscribe, c.Publish})
	}
	return r, nil
}

// forbidden is the rule of channels that nobody may use.
var forbidden = channelRule{subscribe: config.Nobody, publish: config.Nobody}

// of is the rule for a channel. One that would fit but for the id in {user} is forbidden
// to this user, whatever later rules say (SPEC §4.3).
func (r *rules) of(channel, user string) *channelRule {
	for i := range r.channels {
		rule := &r.channels[i]
		switch {
		case rule.match.MatchFor(channel, user):
			return rule
		case rule.match.HasUser() && rule.match.Match(channel):
			return &forbidden
		}
	}
	return &forbidden
}

// grants are names and patterns of channels that a token or the connect answer lists. A
// nil one grants nothing.
type grants struct {
	names    []string
	patterns []glob.Pattern
}

// newGrants reads a list; bad are the items that are not patterns and grant nothing.
func newGrants(list []string) (g *grants, bad []string) {
	for _, item := range list {
		if g == nil {
			g = &grants{}
		}
		if !isPattern(item) {
			g.names = append(g.names, item)
		} else if p, err := glob.Compile(item); err == nil {
			g.patterns = append(g.patterns, p)
		} else {
			bad = append(bad, item)
		}
	}
	return g, bad
}

// cover says whether a channel is granted to this user.
func (g *grants) cover(channel, user string) bool {
	if g == nil {
		return false
	}
	for _, name := range g.names {
		if name == channel {
			return true
		}
	}
	for _, p := range g.patterns {
		if p.MatchFor(channel, user) {
			return true
		}
	}
	return false
}
