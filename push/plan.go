package push

import (
	"slices"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// maxSkip bounds what the lists of one push's earlier targets, which go along
// with its later ones, come to in bytes.
const maxSkip = 16 << 20

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
	env    envelope
	digest uint64
	key    string // idempotency key, "" for none
	plain  []byte // the envelope without skip, made once: users need no other
	pubs   []broker.Publication
}

// plan appends the publications of p to pubs, one for each destination: one user,
// channel or connection, or everyone.
func (h *Hub) plan(p *Push, now time.Time, pubs []broker.Publication) (plan, []broker.Publication) {
	out := plan{push: p, id: p.id, first: len(pubs), end: len(pubs)}
	if out.id == "" {
		// It names the message for clients, and is no key: a push that brings none is
		// published without a record (SPEC §6.3).
		out.id = newID()
	}
	count, remote := h.reach(&p.to)
	if p.wait > 0 || !h.alone && (count > 1 || remote) {
		out.waiter = h.answers.begin()
	}
	g := planning{hub: h, key: p.id, pubs: pubs, env: envelope{
		kind: p.kind, accepted: now.UnixNano(), id: out.id, event: p.event, payload: p.data,
	}}
	if w := out.waiter; w != nil {
		g.env.receipt = returnAddress{node: h.node, request: w.number, wait: uint64(p.wait / time.Millisecond)}
		out.deadline = now.Add(gatherTimeout)
		if p.wait > 0 {
			out.deadline = now.Add(p.wait)
		}
	}
	if p.id != "" {
		g.digest = p.digest()
	}
	g.targets(&p.to)
	out.end = len(g.pubs)
	return out, g.pubs
}

// reach counts a push's destinations, and says whether some are connections of
// other nodes.
func (h *Hub) reach(t *targets) (count int, remote bool) {
	count = len(t.users) + len(t.channels) + len(t.connections)
	if t.all {
		count++
	}
	for _, id := range t.connections {
		node, _, ok := parseConnectionID(id)
		remote = remote || ok && node != h.node
	}
	return count, remote
}

func (g *planning) targets(t *targets) {
	for _, topic := range t.users {
		if !slices.Contains(t.exceptUsers, topic[len(userTopic):]) {
			g.to(topic, skip{connections: t.exceptConnections})
		}
	}
	if len(t.channels) == 0 && len(t.connections) == 0 && !t.all {
		return
	}
	s := skip{users: t.usersToSkip(), connections: t.exceptConnections}
	channels := namesOf(t.channels, channelTopic)
	for i, topic := range t.channels {
		s.channels = channels[:i]
		g.to(topic, s)
	}
	s.channels, s.connections = channels, nil
	for _, id := range t.connections {
		if !slices.Contains(t.exceptConnections, id) {
			g.toConnection(id, s)
		}
	}
	if t.all {
		s.connections = slices.Concat(t.connections, t.exceptConnections)
		g.to(topicAll, s)
	}
}

func (g *planning) to(topic string, s skip) {
	g.env.one, g.env.skip = false, s
	if !s.empty() {
		g.add(topic, g.key, g.encode())
		return
	}
	if g.plain == nil {
		g.plain = g.encode()
	}
	g.add(topic, g.key, g.plain)
}

// toConnection sends to the inbox of a connection's node. One of this node that
// is gone is nobody: not an error, and nobody has to be asked.
func (g *planning) toConnection(id string, s skip) {
	node, n, ok := parseConnectionID(id)
	if !ok || node == g.hub.node && g.hub.table.get(n) == nil {
		return
	}
	g.env.one, g.env.connection, g.env.skip = true, n, s
	key := g.key
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

// tooMany: the targets of several kinds, together, would have to be told to too
// many.
func (t *targets) tooMany() bool {
	bytes := 0
	for _, list := range [][]string{t.users, t.channels, t.connections, t.exceptUsers, t.exceptConnections} {
		for _, name := range list {
			bytes += len(name)
		}
	}
	apart := len(t.channels) + len(t.connections)
	if len(t.exceptConnections) > 0 {
		apart += len(t.users)
	}
	return apart > 1 && apart*bytes > maxSkip
}
