package hub

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/hub/internal/registry"
	"github.com/pushcart/pushcart/internal/plainjson"
)

// SubscribeUser subscribes a user's connections to a channel, including future ones,
// until 30 days after the last of them. It returns when the nodes with open connections
// have done so, or after a second; a node that hangs catches up later. ErrFull means that
// the user has as many such channels as a connection may have. Any other error means that
// the broker did not confirm. The caller checks the names.
func (h *Hub) SubscribeUser(ctx context.Context, user, channel string) error {
	return h.changeLasting(ctx, user, request{Op: opSubscribeUser, Channel: channel, Most: h.rules.Load().Most})
}

// UnsubscribeUser undoes SubscribeUser; it ends the subscriptions of the user's open
// connections to the channel, wherever they came from.
func (h *Hub) UnsubscribeUser(ctx context.Context, user, channel string) error {
	return h.changeLasting(ctx, user, request{Op: opUnsubscribeUser, Channel: channel})
}

func (h *Hub) changeLasting(ctx context.Context, user string, q request) error {
	w := h.waiters.Begin()
	defer w.End()
	deadline := time.Now().Add(gatherTimeout)
	q.Number, q.From = w.Number, h.node
	payload, err := plainjson.Append(envelope.Begin(q.kind()), &q)
	if err != nil {
		return err
	}
	topic := UserTopic + user
	nodes, err := h.broker.ChangeLasting(ctx, broker.LastingChange{
		Topic: topic, Name: q.Channel, Remove: q.Op == opUnsubscribeUser, Most: q.Most, Payload: payload,
	})
	switch {
	case errors.Is(err, broker.ErrFull):
		return ErrFull
	case err != nil:
		return fmt.Errorf("change lasting subscriptions: %w", err)
	case nodes > 0:
		h.lanes.published(ctx, h.lanes.to(topic, q.kind()))
	}
	w.Expect(nodes)
	w.Wait(ctx, deadline)
	return nil
}

// serveLasting carries out what another node, or this one, changed.
func (h *Hub) serveLasting(topic string, q *request, out reply) {
	_, user := registry.SplitTopic(topic)
	h.lasting.note(user, q.Channel, q.Op == opSubscribeUser)
	conns := h.here.Users.AppendTo(nil, user)
	if q.Op == opUnsubscribeUser {
		for _, c := range conns {
			h.endSubscription(c, q.Channel)
		}
		h.replyTo(q, &out)
		return
	}
	left := new(atomic.Int64)
	left.Store(1)
	done := func() {
		if left.Add(-1) == 0 {
			h.replyTo(q, &out)
		}
	}
	plain := h.followAll(conns, []string{q.Channel}, func() func() { left.Add(1); return done })
	topics := h.place(plain, []string{q.Channel})
	if len(topics) == 0 {
		done()
		return
	}
	h.lanes.work.Go(func() {
		defer h.guard.Recover("subscription of a user", nil)
		ctx, cancel := context.WithTimeout(context.Background(), answerBy(uint64(gatherTimeout/time.Millisecond)))
		defer cancel()
		h.confirm(ctx, plain, topics)
		done()
	})
}

// endSubscription takes a connection out of a channel, and tells it if it hears of such
// things.
func (h *Hub) endSubscription(c Conn, channel string) {
	if h.unfollow(c, ChannelTopic+channel) && c.Member().Follows() {
		c.Send([]*Message{unsubscribed(channel)})
	}
}

func unsubscribed(channel string) *Message {
	return &Message{Kind: Unsubscribed, Topic: ChannelTopic + channel, Accepted: time.Now().UnixNano()}
}

// Lasting returns the channels of the lasting subscriptions of c's user; c must be
// registered as that user's, by Join or FollowUser. The caller subscribes c to them and
// then calls settled, which ends those deleted meanwhile. It waits for the broker until
// ctx ends: if the broker does not answer, there are no names, and c is subscribed when
// it does. If nobody has lasting subscriptions, it costs almost nothing.
func (h *Hub) Lasting(ctx context.Context, c Conn) (names []string, settled func()) {
	settled = func() {}
	user := c.Member().User()
	if user == "" {
		return nil, settled
	}
	topic := UserTopic + user
	if !h.listens(ctx, c, topic) {
		h.lasting.doubt(c)
		return nil, settled
	}
	if !h.broker.MayLast(topic) {
		return nil, settled
	}
	r := h.lasting.begin(user)
	lists, err := h.broker.Lasting(ctx, topic)
	if err != nil {
		h.log.Debug("lasting subscriptions are read later", "conn", c.Member().ID(), "err", err)
		h.lasting.settle(r)
		h.lasting.doubt(c)
		return nil, settled
	}
	if names = h.lasting.found(r, lists[0]); len(names) == 0 {
		h.lasting.settle(r)
		return nil, settled
	}
	return names, func() { h.lasting.settle(r, c) }
}

// listens waits until the broker brings a user's topic, so that no change is missed after
// the list is read.
func (h *Hub) listens(ctx context.Context, c Conn, topic string) bool {
	if h.alone && !c.Member().Follows() { // Join subscribed it; a follower's cursor may not have yet
		return true
	}
	if !h.broker.UpFor(topic) {
		return false
	}
	err := h.broker.Subscribe(ctx, broker.Topics(topic)...)
	if h.here.Table.Get(c.Member().Number()) == nil { // it left meanwhile
		h.giveUp([]string{topic})
	}
	return err == nil
}

// JoinLasting subscribes a connection that joined to its user's lasting subscriptions. It
// waits for the broker as Join does; what fails now follows later.
func (h *Hub) JoinLasting(ctx context.Context, c Conn) {
	names, settled := h.Lasting(ctx, c)
	if len(names) > 0 {
		conns := []Conn{c}
		h.confirm(ctx, conns, h.place(conns, names))
	}
	settled()
}

// subscribeNow subscribes connections to channels. Those that follow are told when it is
// done, for the others it waits until ctx ends.
func (h *Hub) subscribeNow(ctx context.Context, conns []Conn, names []string) {
	plain := h.followAll(conns, names, func() func() { return func() {} })
	h.confirm(ctx, plain, h.place(plain, names))
}

// followAll has the followers among conns follow channels, and returns the others. Each
// time that it has something to do it calls begin, and the function that this returns when
// it is done.
func (h *Hub) followAll(conns []Conn, names []string, begin func() func()) (plain []Conn) {
	for _, c := range conns {
		f, ok := c.(Follower)
		if !ok || !c.Member().Follows() {
			plain = append(plain, c)
			continue
		}
		for _, name := range names {
			if h.here.Channels.Has(c.Member(), name) {
				continue
			}
			done := begin()
			h.Follow(f, name, Start{Anyway: true}, h.rules.Load().Most, func(at Followed, err error) {
				h.tellFollowed(f, name, at, err)
				done()
			})
		}
	}
	return plain
}

// tellFollowed tells a connection that it was subscribed to a channel. Where the broker
// did not answer it is all the same.
func (h *Hub) tellFollowed(c Follower, channel string, at Followed, err error) {
	switch {
	case errors.Is(err, ErrFull):
		h.noRoom(c, channel)
	case errors.Is(err, ErrNotFollowing): // it left meanwhile, or the subscription ended
	default:
		c.Send([]*Message{subscribedAt(channel, at.Position)})
	}
}

func subscribedAt(channel string, at Position) *Message {
	return &Message{
		Kind: Subscribed, Topic: ChannelTopic + channel, Offset: at.Offset, Epoch: at.Epoch, Accepted: time.Now().UnixNano(),
	}
}

// place puts connections into channels, and returns the topics of those that the broker
// has to bring.
func (h *Hub) place(conns []Conn, names []string) (topics []string) {
	for _, name := range names {
		topic, placed := ChannelTopic+name, false
		for _, c := range conns {
			added, full := h.here.Channels.Add(topic[len(ChannelTopic):], c, h.rules.Load().Most)
			placed = placed || added
			if full {
				h.noRoom(c, name)
			}
		}
		if placed {
			topics = append(topics, topic)
		}
	}
	return topics
}

func (h *Hub) noRoom(c Conn, channel string) {
	h.fullLasting.Add(1)
	h.rate.Warn("no room for a lasting subscription", "a connection is at its limit of channels and lacks a lasting subscription of its user",
		"key", "limits.channels_per_connection", "channel", channel, "conn", c.Member().ID())
}

// confirm waits until the broker brings topics that connections were put into.
func (h *Hub) confirm(ctx context.Context, conns []Conn, topics []string) {
	if len(topics) == 0 {
		return
	}
	if err := h.subscribe(ctx, topics...); err != nil {
		h.log.Debug("channels subscribed without the broker", "topics", len(topics), "err", err)
	}
	for _, c := range conns {
		if h.here.Table.Get(c.Member().Number()) == nil { // it left meanwhile
			h.withdraw(c)
		}
	}
	h.giveUp(topics)
}
