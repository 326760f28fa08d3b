package registry

import (
	"fmt"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/glob"
)

// Rules say what is kept of users and channels, and how many channels there may be. They do not change: a reload makes new
// ones and calls Hub.Apply.
type Rules struct {
	channels []channelRule
	users    broker.Retention
	Most     int // channels of a connection, and lasting ones of a user
	// keeps: anything is kept at all. presence: it is kept of some channels who is there.
	keeps, presence bool
	offlineDelay    time.Duration
	tell            Telling
}

// channelRule is what holds for the channels that fit its pattern.
type channelRule struct {
	match glob.Pattern
	keep  broker.Retention
	presence
}

// presence says whether it is kept who is subscribed, and up to how many members clients
// are told of each.
type presence struct {
	kept   bool
	frames int
}

// NewRules makes rules of their sections of the configuration.
func NewRules(channels []config.ChannelRule, users config.Users, limits config.Limits) (*Rules, error) {
	r := &Rules{users: retentionOf(users.History), Most: limits.ChannelsPerConnection, offlineDelay: users.OfflineDelay}
	r.keeps = r.users.Keeps()
	for i, c := range channels {
		match, err := glob.Compile(c.Match)
		if err != nil {
			return nil, fmt.Errorf("channels[%d].match: %w", i, err)
		}
		rule := channelRule{match: match, keep: retentionOf(c.History)}
		if c.Presence {
			rule.presence = presence{kept: true, frames: c.PresenceFrames}
		}
		r.channels = append(r.channels, rule)
		r.keeps, r.presence = r.keeps || rule.keep.Keeps(), r.presence || c.Presence
	}
	return r, nil
}

func retentionOf(h config.History) broker.Retention {
	return broker.Retention{Messages: h.Messages, Age: h.Age}
}

// Retention is what is kept of a topic.
func (r *Rules) Retention(topic string) broker.Retention {
	if !r.keeps {
		return broker.Retention{}
	}
	switch kind, name := SplitTopic(topic); kind {
	case UserTopic:
		return r.users
	case ChannelTopic:
		if rule := r.of(name); rule != nil {
			return rule.keep
		}
	}
	return broker.Retention{}
}

// of is the rule of a channel, nil without one.
func (r *Rules) of(channel string) *channelRule {
	for i := range r.channels {
		if r.channels[i].match.Match(channel) {
			return &r.channels[i]
		}
	}
	return nil
}

// presenceOf is what holds for who is subscribed to a channel.
func (r *Rules) presenceOf(channel string) presence {
	if !r.presence {
		return presence{}
	}
	if rule := r.of(channel); rule != nil {
		return rule.presence
	}
	return presence{}
}

// ShowsPresence says whether it is kept who is subscribed to a channel.
func (r *Rules) ShowsPresence(channel string) bool { return r.presenceOf(channel).kept }

// CountKept is how many topics are kept.
func (r *Rules) CountKept(topics []string) (n int) {
	if !r.keeps {
		return 0
	}
	for _, t := range topics {
		if r.Retention(t).Keeps() {
			n++
		}
	}
	return n
}

// Telling says which facts the backend wants to be told (webhook.events).
type Telling struct {
	// Users are user.online and user.offline, Channels channel.occupied and
	// channel.vacated, Members presence.join and presence.leave.
	Users, Channels, Members bool
}

// Tell returns the rules with what is to be told.
func (r *Rules) Tell(t Telling) *Rules {
	told := *r
	told.tell = t
	return &told
}
