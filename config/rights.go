package config

import "slices"

// Words for who may do something (SPEC §4.3).
const (
	// Granted are those to whom a token, the connect answer or the push API grants it.
	Granted = "granted"
	// ByWebhook are those of whom the backend says so when it is asked.
	ByWebhook = "webhook"
	// AnyUser are those with a user_id.
	AnyUser = "user"
	Anyone  = "anyone"
	Nobody  = "nobody"
)

// setDefaults is what absent keys of a rule mean.
func (r *ChannelRule) setDefaults() {
	r.Subscribe, r.Publish, r.PresenceFrames = Granted, Nobody, defaultPresenceFrames
}

// checkRights looks at what clients may do.
func (c *Config) checkRights(p *Problems) {
	for i, rule := range c.Channels {
		c.checkRight(p, item("channels", i)+".subscribe", rule.Subscribe, "subscribe")
		c.checkRight(p, item("channels", i)+".publish", rule.Publish, "publish")
	}
	oneOf(p, "users.publish", c.Users.Publish, Nobody, AnyUser, Anyone)
}

// checkRight wants one of the words; webhook needs somebody to ask.
func (c *Config) checkRight(p *Problems, path, word, event string) {
	oneOf(p, path, word, Granted, ByWebhook, AnyUser, Anyone, Nobody)
	asked := c.Webhook.URL != "" && (slices.Contains(c.Webhook.Events, event) || slices.Contains(c.Webhook.Events, "*"))
	if word == ByWebhook && !asked && !p.unread("webhook.url") && !p.unread("webhook.events") {
		p.add(path, "webhook needs webhook.url, and %s in webhook.events", event)
	}
}
