package hub

// listed are the names that come with a push, as sets to look up: who is excepted, and
// the push's targets.
type listed struct {
	exceptUsers, exceptConnections nameSet
	users, channels, connections   nameSet
}

func newListed(x *except, s *skip) listed {
	return listed{
		newNameSet(x.users), newNameSet(x.connections), newNameSet(s.users), newNameSet(s.channels), newNameSet(s.connections),
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
	out := leftOut{listed: l, byUsers: true, byChannels: l.channels.size()}
	switch kind, name := splitTopic(topic); kind {
	case UserTopic:
		out.byUsers, out.byChannels = false, 0
	case ChannelTopic:
		if i := l.channels.index(name); i >= 0 {
			out.byChannels = i
		}
	case topicAll:
		out.byConnections = true
	}
	return out
}

// empty: nobody is left out.
func (o *leftOut) empty() bool {
	return o.exceptUsers.empty() && o.exceptConnections.empty() && o.byChannels == 0 &&
		(!o.byUsers || o.users.empty()) && (!o.byConnections || o.connections.empty())
}

// has says whether m does not get it. whole: m gets all of the stream but for what
// excepts it.
func (o *leftOut) has(h *Hub, m *Member, whole bool) bool {
	if whole {
		return m.user != "" && o.exceptUsers.has(m.user) || !o.exceptConnections.empty() && o.exceptConnections.has(m.ID())
	}
	if m.user != "" && (o.exceptUsers.has(m.user) || o.byUsers && o.users.has(m.user)) {
		return true
	}
	if o.byChannels > 0 && h.channels.anyOf(m, &o.channels, o.byChannels) {
		return true
	}
	if o.exceptConnections.empty() && (!o.byConnections || o.connections.empty()) {
		return false
	}
	id := m.ID()
	return o.exceptConnections.has(id) || o.byConnections && o.connections.has(id)
}
