package push

import "time"

// Member is the hub's record of one connection, embedded by value in the
// connection itself so that membership costs no allocation of its own. The hub
// fills it; its methods may be called from any goroutine after Join returned.
type Member struct {
	hub   *Hub
	id    uint64
	since int64 // Unix milliseconds
	user  string
	// seats is nil without a subscription, as most have none. Guarded by
	// Hub.channels.mu.
	seats *[]seat
}

// seat is a connection's place in a channel.
type seat struct {
	in    *channel
	index int // of the connection in in.conns
}

// ID is the connection_id.
func (m *Member) ID() string { return connectionID(m.hub.node, m.id) }

// User is the user_id, "" for anonymous.
func (m *Member) User() string { return m.user }

// Since is when the connection began.
func (m *Member) Since() time.Time { return time.UnixMilli(m.since).UTC() }

// Channels are the names of those the connection is subscribed to.
func (m *Member) Channels() []string { return m.hub.channels.of(m) }
