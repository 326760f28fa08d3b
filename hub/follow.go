package hub

import (
	"errors"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/registry"
)

// Follower is a connection whose protocol knows positions: it gets every message of a
// stream, or a gap.
type Follower interface {
	Conn
	// Room is how many messages, and bytes of them, recovery may put into the outbox now:
	// half of what it holds, less what waits there.
	Room() (messages, bytes int)
	// OnRoom calls f once when there is room, from any goroutine, or never if the
	// connection ends before; false: there is now, and f is not called.
	OnRoom(f func()) bool
}

// Start says where a subscription begins.
type Start struct {
	// After is the position to go on from; nil: what comes next is the first.
	After *Position
	// Recent hands out so many kept messages first, instead.
	Recent int
	// Anyway keeps the subscription where the broker does not answer, for what comes when
	// it does again. The answer is its error all the same.
	Anyway bool
}

// Followed is how a subscription began.
type Followed struct {
	// Position is the stream's end; zero where nothing is kept.
	Position Position
	// Recovered: every message after Start.After follows. If not, a message of kind Gap
	// does.
	Recovered bool
}

// Enter registers a follower, whose Member came from NewMember; Follow and FollowUser
// subscribe it. Call it once, before both.
func (h *Hub) Enter(c Follower, user string) {
	h.here.EnterFollower(c, user)
}

// Follow subscribes c to a channel, unless it has most channels already (ErrFull). answer
// is called once, from any goroutine, before any of the channel's messages is sent to c;
// it must not block. Its error may also be ErrNotFollowing, or the broker's error if the
// broker is away. If c is subscribed already, it gets the messages between After and its
// first one. The caller checks the name.
func (h *Hub) Follow(c Follower, channel string, from Start, most int, answer func(Followed, error)) {
	topic := ChannelTopic + channel
	h.follow(&cursor{conn: c, topic: topic, start: from, answer: answer}, func() error {
		if _, full := h.here.Channels.Add(topic[len(ChannelTopic):], c, most); full {
			return ErrFull
		}
		return nil
	})
}

// FollowUser is Follow for the stream of the connection's own user.
func (h *Hub) FollowUser(c Follower, from Start, answer func(Followed, error)) {
	user := c.Member().User()
	from.Anyway = true
	h.follow(&cursor{conn: c, topic: UserTopic + user, start: from, answer: answer}, func() error {
		h.here.Users.Add(user, c)
		return nil
	})
}

// Unfollow ends a subscription to a channel. It says whether there was one.
func (h *Hub) Unfollow(c Conn, channel string) bool {
	return h.unfollow(c, ChannelTopic+channel)
}

// follow begins what a cursor is for. add puts the connection into its table, where it
// is passed over until the cursor ends.
func (h *Hub) follow(c *cursor, add func() error) {
	c.keep = h.rules.Load().Retention(c.topic)
	var err error
	known := false
	h.followed.with(c.topic, func(s *stream) {
		if f := s.find(c.conn); f != nil {
			known, c.to = true, f.from
			switch {
			case f.cursor != nil: // the subscription is just beginning
				err = errBeginning
			case c.keep.Keeps() && c.to.Epoch == "": // it began while the broker was away
				err = broker.ErrUnavailable
			}
			return
		}
		if known = h.subscribed(c); known { // without history: there is nothing to hand out
			return
		}
		if err = add(); err == nil {
			s.followers = append(s.followers, follower{conn: c.conn, cursor: c})
			s.pending++
		}
	})
	switch {
	case err != nil:
		c.settle(Followed{}, err)
	case known && !c.keep.Keeps():
		c.settle(Followed{}, nil)
	default:
		h.catchUp.push(c)
	}
	if h.here.Table.Get(c.conn.Member().Number()) == nil { // it left meanwhile
		h.unfollow(c.conn, c.topic)
	}
}

// errBeginning: callers put the requests about one channel one after the other.
var errBeginning = errors.New("hub: a subscription to this channel is under way")

// subscribed says whether the connection is in its table already.
func (h *Hub) subscribed(c *cursor) bool {
	m := c.conn.Member()
	if kind, name := registry.SplitTopic(c.topic); kind == ChannelTopic {
		return h.here.Channels.Has(m, name)
	}
	return h.here.Users.Has(m.User(), c.conn)
}

// mayFollow are the topics that a connection may follow; nil: nobody follows anything.
func (h *Hub) mayFollow(c Conn) []string {
	if h.followed.count.Load() == 0 {
		return nil
	}
	m := c.Member()
	topics := []string{UserTopic + m.User()}
	for _, name := range h.here.Channels.Of(m) {
		topics = append(topics, ChannelTopic+name)
	}
	return topics
}

// stopFollowing ends the cursors of a connection that left the tables. While it was there
// the lane had to know what it has already.
func (h *Hub) stopFollowing(c Conn, topics []string) {
	for _, topic := range topics {
		h.followed.with(topic, func(s *stream) {
			if cut := s.remove(c); cut != nil {
				h.catchUp.push(cut)
			}
		})
	}
}

// unfollow takes a connection out of a topic, and ends its cursor.
func (h *Hub) unfollow(c Conn, topic string) (was bool) {
	var cut *cursor
	h.followed.with(topic, func(s *stream) {
		cut = s.remove(c)
		switch kind, name := registry.SplitTopic(topic); kind {
		case ChannelTopic:
			was = h.here.Channels.Remove(name, c, h.vacate)
		case UserTopic:
			h.here.Users.Remove(name, c, func() { h.broker.Unsubscribe(topic) })
		}
	})
	if cut != nil {
		h.catchUp.push(cut) // it finds that it is not wanted, and says so
	}
	return was
}
