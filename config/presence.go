package config

const (
	defaultPresenceFrames = 200
	// maxPresenceFrames is how many members one message to a client lists.
	maxPresenceFrames = 1000
)

func (c *Config) checkPresence(p *Problems) {
	for i, rule := range c.Channels {
		path := item("channels", i) + ".presence_frames"
		notNegative(p, path, float64(rule.PresenceFrames))
		if rule.PresenceFrames > maxPresenceFrames {
			p.add(path, "must not be more than %d, got %d", maxPresenceFrames, rule.PresenceFrames)
		}
	}
	notNegative(p, "users.offline_delay", float64(c.Users.OfflineDelay))
}
