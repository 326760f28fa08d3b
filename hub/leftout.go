package hub

import (
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/hub/internal/registry"
)

// leftOut says whose connections do not get what came by a topic.
type leftOut struct {
	*envelope.Listed
	// byUsers, channels and byConnections say which targets come before the topic, and
	// bring the push instead.
	byUsers, byConnections bool
	byChannels             int // the first so many
}

// leftOutBy says who is left out of what came by a topic. Targets come in the order of users,
// channels, connections, all.
func leftOutBy(l *envelope.Listed, topic string) leftOut {
	out := leftOut{Listed: l, byUsers: true, byChannels: l.Channels.Size()}
	switch kind, name := registry.SplitTopic(topic); kind {
	case UserTopic:
		out.byUsers, out.byChannels = false, 0
	case ChannelTopic:
		if i := l.Channels.Index(name); i >= 0 {
			out.byChannels = i
		}
	case registry.AllTopic:
		out.byConnections = true
	}
	return out
}

// empty: nobody is left out.
func (o *leftOut) empty() bool {
	return o.ExceptUsers.Empty() && o.ExceptConnections.Empty() && o.byChannels == 0 &&
		(!o.byUsers || o.Users.Empty()) && (!o.byConnections || o.Connections.Empty())
}

// has says whether m does not get it. whole: m gets all of the stream but for what
// excepts it.
func (o *leftOut) has(h *Hub, m *Member, whole bool) bool {
	if whole {
		return m.User() != "" && o.ExceptUsers.Has(m.User()) || !o.ExceptConnections.Empty() && o.ExceptConnections.Has(m.ID())
	}
	if m.User() != "" && (o.ExceptUsers.Has(m.User()) || o.byUsers && o.Users.Has(m.User())) {
		return true
	}
	if o.byChannels > 0 && h.here.Channels.AnyOf(m, &o.Channels, o.byChannels) {
		return true
	}
	if o.ExceptConnections.Empty() && (!o.byConnections || o.Connections.Empty()) {
		return false
	}
	id := m.ID()
	return o.ExceptConnections.Has(id) || o.byConnections && o.Connections.Has(id)
}
