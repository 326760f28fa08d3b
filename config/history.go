package config

import (
	"time"

	"github.com/pushcart/pushcart/internal/glob"
)

// ChannelRule applies to the channels that match its pattern.
type ChannelRule struct {
	// Match is a pattern for channels' names: * stands for anything but dots, ** for
	// anything, {user} for one segment between dots, the requesting user's id. Required.
	Match string `yaml:"match"`
	// Subscribe says which clients may subscribe: granted (by the token, the connect
	// answer or the push API), webhook (the app is asked), user (those with a user_id),
	// anyone or nobody. Default granted.
	Subscribe string `yaml:"subscribe"`
	// Publish says which clients may publish, in the same words. Default nobody.
	Publish string `yaml:"publish"`
	// Presence tracks which users are subscribed. Default false.
	Presence bool `yaml:"presence"`
	// PresenceFrames is the number of members up to which pushcart.json.v1 clients get a
	// frame for each that joins or leaves; 0: none. Default 200, at most 1000.
	PresenceFrames int `yaml:"presence_frames"`
	// History says what is kept of each channel.
	History History `yaml:"history"`
}

// Users are the rules for users.
type Users struct {
	// History says what is kept of the pushes to each user.
	History History `yaml:"history"`
	// OfflineDelay is how long a user has no connection before the event user.offline.
	// Default 10s.
	OfflineDelay time.Duration `yaml:"offline_delay"`
	// Publish says which clients may publish to a user: nobody, user or anyone.
	// Default nobody.
	Publish string `yaml:"publish"`
}

// History says how much of a stream of messages is kept, for clients that reconnect. The
// zero value, the default, keeps nothing.
type History struct {
	// Messages is how many are kept at most; 0: none.
	Messages int `yaml:"messages"`
	// Age is how long each is kept. Required with Messages.
	Age time.Duration `yaml:"age"`
}

const (
	// maxKept is the most messages that a stream may keep.
	maxKept = 1_000_000
	// minAge is the shortest time that is told apart.
	minAge = time.Millisecond
)

// keeps says whether anything is kept.
func (h History) keeps() bool { return h.Messages > 0 && h.Age > 0 }

func (h History) check(p *Problems, path string) {
	messages, age := path+".messages", path+".age"
	notNegative(p, messages, float64(h.Messages))
	notNegative(p, age, float64(h.Age))
	switch {
	case h.Messages > maxKept:
		p.add(messages, "must not be more than %d, got %d", maxKept, h.Messages)
	case h.Messages > 0 && h.Age == 0 && !p.unread(age):
		p.add(age, "is required with messages, like 24h")
	case h.Age > 0 && h.Messages == 0 && !p.unread(messages):
		p.add(messages, "is required with age, like 100")
	case h.Age > 0 && h.Age < minAge:
		p.add(age, "must not be less than %v, got %v", minAge, h.Age)
	}
}

func (c *Config) checkHistory(p *Problems) {
	c.checkMatches(p)
	for i, rule := range c.Channels {
		rule.History.check(p, item("channels", i)+".history")
	}
	c.Users.History.check(p, "users.history")
	positive(p, "history_total", int64(c.HistoryTotal))
	if c.keepsInMemory() && c.HistoryTotal > 0 && c.HistoryTotal < c.Push.MaxBody {
		p.add("history_total", "%v is less than push.max_body (%v): a message that large could not be kept", c.HistoryTotal, c.Push.MaxBody)
	}
}

// checkMatches looks at the patterns of the channels' rules. One that no name comes to
// is a mistake: what stands there is not what happens.
func (c *Config) checkMatches(p *Problems) {
	patterns := make([]glob.Pattern, len(c.Channels))
	for i, rule := range c.Channels {
		path := item("channels", i) + ".match"
		pattern, err := glob.Compile(rule.Match)
		switch {
		case rule.Match == "":
			p.add(path, `is required: a pattern for names, like "chat.*", or "**" for all`)
			continue
		case err != nil:
			p.add(path, "%v, got %q", err, rule.Match)
			continue
		}
		patterns[i] = pattern
		for before := range i {
			if rule.Match != "" && patterns[before].Covers(pattern) {
				p.add(path, "is never asked: channels[%d] (%q) fits the same names and stands before it", before, c.Channels[before].Match)
				break
			}
		}
	}
}

// MemoryBound returns the most memory that queues and history may take, and the keys that
// add up to it.
func (c *Config) MemoryBound() (sum Size, keys []string) {
	add := func(key string, bound Size) {
		sum += bound
		keys = append(keys, key)
	}
	add("websocket.outbox.total", c.WebSocket.Outbox.Total)
	add("websocket.inbound_total", c.WebSocket.InboundTotal)
	if c.keepsInMemory() {
		add("history_total", c.HistoryTotal)
	}
	if c.Webhook.URL != "" {
		add("webhook.outbox.bytes", c.Webhook.Outbox.Bytes)
	}
	return sum, keys
}

// keepsInMemory says whether anything is kept, and not in Redis.
func (c *Config) keepsInMemory() bool {
	keeps := c.Users.History.keeps()
	for _, rule := range c.Channels {
		keeps = keeps || rule.History.keeps()
	}
	return keeps && len(c.Redis.Addresses) == 0
}
