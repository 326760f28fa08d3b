package hub

import (
	"fmt"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/glob"
)

// MaxExceptKept is how many users a push to a stream may except: they are kept with it
// (SPEC §6.1).
const MaxExceptKept = 1000

// Rules say what is kept of users and channels, and how many channels there may be. They do not change: a reload makes new
// ones and calls Hub.Apply.
type Rules struct {
	channels []channelRule
	users    broker.Retention
	most     int // channels of a connection, and lasting ones of a user
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
	r := &Rules{users: retentionOf(users.History), most: limits.ChannelsPerConnection, offlineDelay: users.OfflineDelay}
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

// retention is what is kept of a topic.
func (r *Rules) retention(topic string) broker.Retention {
	if !r.keeps {
		return broker.Retention{}
	}
	switch kind, name := splitTopic(topic); kind {
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

// countKept is how many topics are kept.
func (r *Rules) countKept(topics []string) (n int) {
	if !r.keeps {
		return 0
	}
	for _, t := range topics {
		if r.retention(t).Keeps() {
			n++
		}
	}
	return n
}

// Apply changes the rules, for pushes and subscriptions to come. What of those here is to
// be known to other nodes, or to be told, by these rules and was not by the old ones is
// declared, and the other way round.
func (h *Hub) Apply(r *Rules) {
	h.applying.Lock()
	defer h.applying.Unlock()
	h.rules.Store(r)
	h.users.by(r, false)
	h.channels.by(r, false)
}

// Check says what of a push, whose fields were checked, the rules do not allow; nil:
// nothing.
func (h *Hub) Check(p *Push) *apierror.Error {
	if len(p.To.ExceptUsers) <= MaxExceptKept {
		return nil
	}
	if r := h.rules.Load(); r.countKept(p.To.Channels)+r.countKept(p.To.Users) == 0 {
		return nil
	}
	return apierror.Invalid("except.users",
		fmt.Sprintf("must not be more than %d where a destination keeps history (channels[].history, users.history)", MaxExceptKept))
}
