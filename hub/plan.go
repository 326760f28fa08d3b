package hub

import (
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/answers"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/hub/internal/registry"
	"github.com/pushcart/pushcart/internal/ids"
)

// defaultBulkFrom is from how many bytes on, over all destinations, a push is made a
// bulk.
const defaultBulkFrom = 1 << 20

// maxKeptTargets is how many bytes of names of other targets a message takes into its
// stream at most, where no reader wants them.
const maxKeptTargets = 256

// plan is a push on its way: which publications are its, and how its nodes are
// counted.
type plan struct {
	push *Push
	id   string
	// pubs[first:end] of the publishing are this push's.
	first, end int
	// waiter is set where receipts are needed: to count connections, or nodes
	// where the broker's count does not tell.
	waiter   *answers.Waiter[reply]
	deadline time.Time
}

// planning turns one push into publications.
type planning struct {
	hub   *Hub
	rules *Rules
	push  *Push
	// env is complete; encode leaves out what is in the bulk, if one is set.
	env    envelope.Envelope
	bulk   *envelope.BulkRef
	digest uint64
	pubs   []broker.Publication
	// users and channels are the push's names, where it has several destinations.
	users, channels []string
	// encoded is the envelope until something in it changes: as it is, and as it is where
	// a destination that is kept refers to a bulk.
	encoded [2][]byte
}

// plan appends the publications of p to pubs, one for each destination: one user,
// channel or connection, or everyone.
func (h *Hub) plan(p *Push, now time.Time, pubs []broker.Publication) (plan, []broker.Publication) {
	out := plan{push: p, id: p.ID}
	if out.id == "" {
		// It names the message for clients and is not an idempotency key: a push that
		// brings none is published without a record (SPEC §6.3).
		out.id = ids.NewUUID()
	}
	count, remote := h.reach(&p.To)
	if p.Wait > 0 || !h.alone && (count > 1 || remote) {
		out.waiter = h.waiters.Begin()
	}
	g := planning{hub: h, rules: h.rules.Load(), push: p, pubs: pubs, env: envelope.Envelope{
		Kind: p.Kind, Accepted: now.UnixNano(), ID: out.id, Event: p.Event, From: p.From, Ack: p.Ack, Payload: p.Data,
	}}
	if w := out.waiter; w != nil {
		g.env.Receipt = envelope.ReturnAddress{Node: h.node, Request: w.Number, Wait: uint64(p.Wait / time.Millisecond)}
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
		node, _, ok := ids.ParseConnection(id)
		remote = remote || ok && node != h.node
	}
	return count, remote
}

// prepare collects the names that go along with several destinations, and makes a
// bulk of the push if they, or its payload, are too much to go with each.
func (g *planning) prepare() {
	t := &g.push.To
	if len(t.Channels)+len(t.Connections) > 0 || t.All {
		g.users, g.channels = namesOf(t.Users, UserTopic), namesOf(t.Channels, ChannelTopic)
	}
	targets := envelope.SizeOf(g.users) + envelope.SizeOf(g.channels)
	exceptUsers, exceptConnections := envelope.SizeOf(t.ExceptUsers), envelope.SizeOf(t.ExceptConnections)
	keptUsers, keptChannels := g.rules.CountKept(t.Users), g.rules.CountKept(t.Channels)
	// What a bulk saves.
	payload := len(g.env.Payload)
	total := (len(t.Users)-keptUsers)*(payload+exceptConnections) +
		(len(t.Channels)-keptChannels)*(payload+targets+exceptUsers+exceptConnections) +
		keptChannels*targets +
		len(t.Connections)*(payload+targets+exceptUsers)
	if total < g.hub.bulkFrom && (keptChannels == 0 || targets <= maxKeptTargets) {
		return
	}
	g.bulk = &envelope.BulkRef{Node: g.hub.node, Number: g.hub.bulk.Add(1)}
	x := envelope.Except{Users: t.ExceptUsers, Connections: t.ExceptConnections}
	s := envelope.Skip{Users: g.users, Channels: g.channels, Connections: t.Connections}
	b := make([]byte, 0, 64+x.Size()+s.Size()+payload)
	b = envelope.AppendBulk(b, g.bulk, &x, &s, g.env.Payload)
	g.pubs = append(g.pubs, broker.Publication{Topic: registry.AllTopic, Payload: b})
}

// targets adds the destinations in their order. Each kind leaves out what comes before
// it: users, channels, connections, all.
func (g *planning) targets() {
	t := &g.push.To
	if len(t.Users) > 0 {
		g.leaveOut(envelope.Except{Connections: t.ExceptConnections}, envelope.Skip{})
		g.toUsers()
	}
	if len(t.Channels) > 0 {
		s := envelope.Skip{Users: g.users}
		if len(t.Channels) > 1 {
			s.Channels = g.channels
		}
		g.leaveOut(envelope.Except{Users: t.ExceptUsers, Connections: t.ExceptConnections}, s)
	}
	for _, topic := range t.Channels {
		g.to(topic)
	}
	if len(t.Connections) > 0 {
		g.leaveOut(envelope.Except{Users: t.ExceptUsers}, envelope.Skip{Users: g.users, Channels: g.channels})
		g.toConnections()
	}
	if t.All {
		g.leaveOut(envelope.Except{Users: t.ExceptUsers, Connections: t.ExceptConnections}, envelope.Skip{Users: g.users, Channels: g.channels, Connections: t.Connections})
		g.to(registry.AllTopic)
	}
}

func (g *planning) toUsers() {
	not := registry.NewNameSet(g.push.To.ExceptUsers)
	for _, topic := range g.push.To.Users {
		if not.Empty() || !not.Has(topic[len(UserTopic):]) {
			g.to(topic)
		}
	}
}

func (g *planning) toConnections() {
	not := registry.NewNameSet(g.push.To.ExceptConnections)
	for _, id := range g.push.To.Connections {
		if !not.Has(id) {
			g.toConnection(id)
		}
	}
}

// leaveOut says whom the destinations from here on leave out.
func (g *planning) leaveOut(x envelope.Except, s envelope.Skip) {
	g.env.Except, g.env.Skip, g.encoded = x, s, [2][]byte{}
}

func (g *planning) to(topic string) {
	g.env.One = false
	keep := g.rules.Retention(topic)
	form := &g.encoded[0]
	if g.bulk != nil && keep.Keeps() {
		form = &g.encoded[1]
	}
	if *form == nil {
		*form = g.encode(keep.Keeps())
	}
	g.pubs = append(g.pubs, broker.Publication{
		Topic: topic, Payload: *form, ID: g.push.ID, Digest: g.digest, Keep: keep, TTL: g.push.TTL,
	})
}

// toConnection sends to the inbox of a connection's node. One of this node that
// is gone is nobody: not an error, and nobody has to be asked.
func (g *planning) toConnection(id string) {
	node, n, ok := ids.ParseConnection(id)
	if !ok || node == g.hub.node && g.hub.here.Table.Get(n) == nil {
		return
	}
	g.env.One, g.env.Connection = true, n
	key := g.push.ID
	if key != "" {
		key = id + " " + key // the inbox is the topic of many destinations
	}
	g.pubs = append(g.pubs, broker.Publication{Topic: registry.NodeTopic + node, Payload: g.encode(false), ID: key, Digest: g.digest})
}

func (g *planning) encode(kept bool) []byte {
	if g.bulk == nil {
		return g.env.Encode()
	}
	e := g.env
	switch {
	case !kept:
		e.Bulk, e.Except, e.Skip, e.Payload = g.bulk, envelope.Except{}, envelope.Skip{}, nil
	case !e.Skip.Empty():
		e.Bulk, e.Skip = &envelope.BulkRef{Node: g.bulk.Node, Number: g.bulk.Number, Whole: true}, envelope.Skip{}
	}
	return e.Encode()
}
