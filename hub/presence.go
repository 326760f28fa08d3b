package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// ErrNoPresence means that the rules do not enable presence for the channel.
var ErrNoPresence = errors.New("hub: no presence")

// Present is a user subscribed to a channel, on any node.
type Present = broker.Member

// PresenceQuery asks who is subscribed to a channel.
type PresenceQuery = broker.MembersQuery

// PresencePage is a page of a channel's members, ordered by name.
type PresencePage = broker.Members

// Presence returns a page of the users subscribed to a channel, across all nodes. The
// error wraps ErrNoPresence, or the broker's error if it does not answer.
func (h *Hub) Presence(ctx context.Context, channel string, q PresenceQuery) (PresencePage, error) {
	if h.roster == nil || !h.rules.Load().ShowsPresence(channel) {
		return PresencePage{}, fmt.Errorf("read presence: %w", ErrNoPresence)
	}
	page, err := h.roster.Members(ctx, channel, q)
	if err != nil {
		return PresencePage{}, fmt.Errorf("read presence: %w", err)
	}
	return page, nil
}

// tellMembers hands what the broker says of a channel's members to those who follow it,
// and to nobody of himself: whether that came in time would be chance. To whom a cursor
// brings messages it comes with them.
func (h *Hub) tellMembers(d *delivery, t *task) {
	m := &Message{Kind: memberKinds[t.kind], Topic: t.topic, Accepted: time.Now().UnixNano(), Presence: t.presence}
	d.conns = h.appendFollowing(d.conns, m)
	d.batch = append(d.batch, m)
	h.send(d)
}

var memberKinds = map[broker.Kind]Kind{broker.Joined: Joined, broker.Left: Left, broker.Paused: Paused, broker.Resumed: Resumed}

// appendFollowing appends the connections of a channel whose protocol knows members, and
// leaves m to the cursors of the others.
func (h *Hub) appendFollowing(dst []Conn, m *Message) []Conn {
	var later map[Conn]bool
	for ok := false; !ok; {
		if s := h.followed.lock(m.Topic); s != nil {
			later = s.leaveToCursors(m, h.tooManyHeld)
			dst, ok = h.here.AppendConns(dst, m.Topic), true
			s.mu.Unlock()
		} else {
			dst, ok = h.appendUnfollowed(dst, m.Topic)
		}
	}
	return slices.DeleteFunc(dst, func(c Conn) bool {
		return !c.Member().Follows() || later[c] || isAbout(m, c)
	})
}

// isAbout says whether a message tells of the connection's own user.
func isAbout(m *Message, c Conn) bool {
	user := c.Member().User()
	return user != "" && user == m.Presence.User
}

// leaveToCursors has the cursors of a stream bring a message, and returns whose they are.
func (s *stream) leaveToCursors(m *Message, full func(topic string)) (of map[Conn]bool) {
	if s.pending == 0 {
		return nil
	}
	of = map[Conn]bool{}
	for i := range s.followers {
		f := &s.followers[i]
		if f.cursor == nil {
			continue
		}
		of[f.conn] = true
		if !isAbout(m, f.conn) && !f.cursor.hold(heldMessage{m, s.at}) {
			full(s.topic)
		}
	}
	return of
}

// heldMessage says something of a channel's members, and came after the message at a
// position.
type heldMessage struct {
	*Message
	after Position
}

// maxHeld bounds what a cursor holds. So many different users come and go only where
// presence_frames is large and recovery slow.
const maxHeld = 2 * broker.MaxMembers

// hold keeps what is said of members until the cursor gets there; of one user only the
// last counts, and of all before one that tells of everybody nothing. The stream is locked.
// false: there is no room, and the oldest was dropped.
func (c *cursor) hold(m heldMessage) bool {
	user := m.Presence.User
	c.held = slices.DeleteFunc(c.held, func(old heldMessage) bool {
		return user == "" || old.Presence.User == user
	})
	c.held = append(c.held, m)
	if len(c.held) <= maxHeld {
		return true
	}
	c.held = slices.Delete(c.held, 0, 1)
	return false
}

func (h *Hub) tooManyHeld(topic string) {
	h.rate.Warn("members held", "too many users join and leave while a connection recovers: it does not get all of them",
		"topic", topic, "setting", "channels[].presence_frames")
}

// takeHeld takes out what a cursor at its place may hand over.
func (h *Hub) takeHeld(c *cursor) []heldMessage {
	s := h.followed.lock(c.topic)
	if s == nil {
		return nil
	}
	defer s.mu.Unlock()
	n := 0
	for n < len(c.held) && c.held[n].after.Epoch == c.at.Epoch && c.held[n].after.Offset <= c.at.Offset {
		n++
	}
	taken := c.held[:n:n]
	c.held = c.held[n:]
	return taken
}

// withHeld puts what was held to its places among the messages of a batch.
func withHeld(batch []*Message, held []heldMessage) []*Message {
	if len(held) == 0 {
		return batch
	}
	out := make([]*Message, 0, len(batch)+len(held))
	for _, m := range batch {
		for len(held) > 0 && held[0].after.Offset < m.Offset {
			out, held = append(out, held[0].Message), held[1:]
		}
		out = append(out, m)
	}
	for _, m := range held {
		out = append(out, m.Message)
	}
	return out
}

// handHeld hands over all that is left, at the cursor's end. The stream is locked, so that
// nothing comes before it.
func (c *cursor) handHeld() {
	if batch := withHeld(nil, c.held); len(batch) > 0 {
		c.conn.Send(batch)
	}
	c.held = nil
}

// Abandon removes all connections from the tables and closes them, for a node that others
// declared dead: the broker has dropped its state. Connections that join meanwhile are
// declared again.
func (h *Hub) Abandon(cause *Cause) {
	h.Each(func(c Conn) {
		h.Leave(c)
		c.End(cause)
	})
	h.applying.Lock()
	defer h.applying.Unlock()
	r := h.rules.Load()
	h.here.Declare(r, true)
}
