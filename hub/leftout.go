package hub

import "github.com/pushcart/pushcart/hub/internal/registry"

// listed are the names that come with a push, as sets to look up: who is excepted, and
// the push's targets.
type listed struct {
	exceptUsers, exceptConnections registry.NameSet
	users, channels, connections   registry.NameSet
}

func newListed(x *except, s *skip) listed {
	return listed{
		registry.NewNameSet(x.users), registry.NewNameSet(x.connections), registry.NewNameSet(s.users), registry.NewNameSet(s.channels), registry.NewNameSet(s.connections),
	}
}

// leftOut says whose connections do not get what came by a topic.
type leftOut struct {
	*listed
	// byUsers, channels and byConnections say which targets come before the topic, and
	// bring the push instead.
	byUsers, byConnections bool
	byChannels             int // the first so many
}

// by says who is left out of what came by a topic. Targets come in the order of users,
// channels, connections, all.
func (l *listed) by(topic string) leftOut {
	out := leftOut{listed: l, byUsers: true, byChannels: l.channels.Size()}
	switch kind, name := registry.SplitTopic(topic); kind {
	case UserTopic:
		out.byUsers, out.byChannels = false, 0
	case ChannelTopic:
		if i := l.channels.Index(name); i >= 0 {
			out.byChannels = i
		}
	case registry.AllTopic:
		out.byConnections = true
	}
	return out
}

// empty: nobody is left out.
func (o *leftOut) empty() bool {
	return o.exceptUsers.Empty() && o.exceptConnections.Empty() && o.byChannels == 0 &&
		(!o.byUsers || o.users.Empty()) && (!o.byConnections || o.connections.Empty())
}

// has says whether m does not get it. whole: m gets all of the stream but for what
// excepts it.
func (o *leftOut) has(h *Hub, m *Member, whole bool) bool {
	if whole {
		return m.User() != "" && o.exceptUsers.Has(m.User()) || !o.exceptConnections.Empty() && o.exceptConnections.Has(m.ID())
	}
	if m.User() != "" && (o.exceptUsers.Has(m.User()) || o.byUsers && o.users.Has(m.User())) {
		return true
	}
	if o.byChannels > 0 && h.here.Channels.AnyOf(m, &o.channels, o.byChannels) {
		return true
	}
	if o.exceptConnections.Empty() && (!o.byConnections || o.connections.Empty()) {
		return false
	}
	id := m.ID()
	return o.exceptConnections.Has(id) || o.byConnections && o.connections.Has(id)
}
