package registry

import (
	"time"

	"github.com/pushcart/pushcart/internal/ids"
)

// Member is the hub's record of one connection, embedded by value in the
// connection itself so that membership costs no extra allocation. It comes
// from Hub.NewMember; its methods may be called from any goroutine once Join was called.
type Member struct {
	in     *Registry
	id     uint64
	since  int64    // Unix milliseconds, doubled; odd: it follows streams, see EnterFollower
	user   string   // set by Enter
	places *[]place // nil without channels; guarded as channels says
}

// place is a connection's place in a channel.
type place struct {
	in    *channel
	index int // of the connection in in.conns
}

// ID is the connection_id.
func (m *Member) ID() string { return ids.Connection(m.in.node, m.id) }

// User is the user_id, "" for anonymous.
func (m *Member) User() string { return m.user }

// Since is when the connection began.
func (m *Member) Since() time.Time { return time.UnixMilli(m.since >> 1).UTC() }

// Follows says whether the connection entered as a follower.
func (m *Member) Follows() bool { return m.since&1 != 0 }

// Channels are the names of those the connection is subscribed to, in the order
// in which it was.
func (m *Member) Channels() []string { return m.in.Channels.Of(m) }

// Number is the connection's among those of its node.
func (m *Member) Number() uint64 { return m.id }
