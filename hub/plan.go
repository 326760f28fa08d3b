package hub

import (
	"slices"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// defaultBulkFrom is from how many bytes on, over all destinations, a push is made a
// bulk.
const defaultBulkFrom = 1 << 20

// plan is a push on its way: which publications are its, and how its nodes are
// counted.
type plan struct {
	push *Push
	id   string
	// pubs[first:end] of the publishing are this push's.
	first, end int
	// waiter is set where receipts are needed: to count connections, or nodes
	// where the broker's count does not tell.
	waiter   *waiter
	deadline time.Time
}

// planning turns one push into publications.
type planning struct {
	hub    *Hub
	push   *Push
	env    envelope
	digest uint64
	pubs   []broker.Publication
	// users and channels are the names that later destinations leave out, where there
	// are several kinds of them.
	users, channels []string
	// encoded is the envelope until something in it changes.
	encoded []byte
}

// plan appends the publications of p to pubs, one for each destination: one user,
// channel or connection, or everyone.
func (h *Hub) plan(p *Push, now time.Time, pubs []broker.Publication) (plan, []broker.Publication) {
	out := plan{push: p, id: p.ID}
	if out.id == "" {
		// It names the message for clients and is not an idempotency key: a push that
		// brings none is published without a record (SPEC §6.3).
		out.id = newID()
	}
	count, remote := h.reach(&p.To)
	if p.Wait > 0 || !h.alone && (count > 1 || remote) {
		out.waiter = h.waiters.begin()
	}
	g := planning{hub: h, push: p, pubs: pubs, env: envelope{
		kind: p.Kind, accepted: now.UnixNano(), id: out.id, event: p.Event, payload: p.Data,
	}}
	if w := out.waiter; w != nil {
		g.env.receipt = returnAddress{node: h.node, request: w.number, wait: uint64(p.Wait / time.Millisecond)}
		out.deadline = now.Add(p.Wait)
	}
	if p.ID != "" {
		g.digest = p.digest()
	}
	if count > 1 {
		g.prepare()
	}
	out.first = len(g.pubs)
	g.targets()
	out.end = len(g.pubs)
	return out, g.pubs
}

// reach counts a push's destinations, and says whether some are connections of
// other nodes.
func (h *Hub) reach(t *Targets) (count int, remote bool) {
	count = len(t.Users) + len(t.Channels) + len(t.Connections)
	if t.All {
		count++
	}
	for _, id := range t.Connections {
		node, _, ok := parseConnectionID(id)
		remote = remote || ok && node != h.node
	}
	return count, remote
}

// prepare collects the names that go along with several destinations, and makes a
// bulk of the push if they, or its payload, are too much to go with each.
func (g *planning) prepare() {
	t := &g.push.To
	if len(t.Channels)+len(t.Connections) > 0 || t.All {
		g.users, g.channels = t.usersToSkip(), namesOf(t.Channels, ChannelTopic)
	}
	users, channels, excepted := sizeOf(g.users), sizeOf(g.channels), sizeOf(t.ExceptConnections)
	payload := len(g.env.payload)
	total := len(t.Users)*(payload+excepted) +
		len(t.Channels)*(payload+users+channels/2+excepted) +
		len(t.Connections)*(payload+users+channels)
	if total < g.hub.bulkFrom {
		return
	}
	number := g.hub.bulk.Add(1)
	b := make([]byte, 0, 64+users+channels+excepted+sizeOf(t.Connections)+payload)
	b = appendBulk(b, g.hub.node, number, &bulkLists{g.users, t.Connections, t.ExceptConnections, g.channels}, g.env.payload)
	g.pubs = append(g.pubs, broker.Publication{Topic: topicAll, Payload: b})
	g.env.bulk, g.env.payload = &bulkRef{node: g.hub.node, number: number}, nil
}

func (g *planning) targets() {
	t := &g.push.To
	exceptUsers, exceptConnections := newNameSet(t.ExceptUsers), newNameSet(t.ExceptConnections)
	if len(t.ExceptConnections) > 0 || g.env.bulk != nil {
		g.leaveOut(bulkExcepted, 0)
	}
	for _, topic := range t.Users {
		if exceptUsers.empty() || !exceptUsers.has(topic[len(UserTopic):]) {
			g.to(topic)
		}
	}
	for i, topic := range t.Channels {
		g.leaveOut(bulkUsers|bulkExcepted, i)
		g.to(topic)
	}
	if len(t.Connections) > 0 {
		g.leaveOut(bulkUsers, len(t.Channels))
	}
	for _, id := range t.Connections {
		if !exceptConnections.has(id) {
			g.toConnection(id)
		}
	}
	if t.All {
		g.leaveOut(bulkUsers|bulkTargets|bulkExcepted, len(t.Channels))
		g.to(topicAll)
	}
}

// leaveOut says whom the destinations from here on leave out: some of the push's
// lists, and so many of its channels.
func (g *planning) leaveOut(parts byte, channels int) {
	g.encoded = nil
	if g.env.bulk != nil {
		g.env.bulk.parts, g.env.bulk.channels = parts, uint64(channels)
		return
	}
	t := &g.push.To
	s := skip{connections: t.ExceptConnections}
	if parts&bulkExcepted == 0 {
		s.connections = nil
	}
	if parts&bulkUsers != 0 {
		s.users = g.users
		if g.users == nil { // there is one destination
			s.users = t.ExceptUsers
		}
	}
	if parts&bulkTargets != 0 && len(t.Connections) > 0 {
		s.connections = slices.Concat(t.Connections, t.ExceptConnections)
	}
	if channels > 0 {
		s.channels = g.channels[:channels]
	}
	g.env.skip = s
}

func (g *planning) to(topic string) {
	g.env.one = false
	if g.encoded == nil {
		g.encoded = g.encode()
	}
	g.add(topic, g.push.ID, g.encoded)
}

// toConnection sends to the inbox of a connection's node. One of this node that
// is gone is nobody: not an error, and nobody has to be asked.
func (g *planning) toConnection(id string) {
	node, n, ok := parseConnectionID(id)
	if !ok || node == g.hub.node && g.hub.table.get(n) == nil {
		return
	}
	g.env.one, g.env.connection = true, n
	key := g.push.ID
	if key != "" {
		key = id + " " + key // the inbox is the topic of many destinations
	}
	g.add(nodeTopic+node, key, g.encode())
}

func (g *planning) encode() []byte {
	e := &g.env
	return e.append(make([]byte, 0, 64+len(e.id)+len(e.event)+e.skip.size()+len(e.payload)))
}

func (g *planning) add(topic, key string, payload []byte) {
	g.pubs = append(g.pubs, broker.Publication{Topic: topic, Payload: payload, ID: key, Digest: g.digest})
}
