package hub

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pushcart/pushcart/broker"
)

const (
	// recoverAtOnce is how many cursors move at once on a node (SPEC §8); the others wait
	// their turn.
	recoverAtOnce = 256
	// stepMessages bounds what a cursor hands over before others have their turn.
	stepMessages = 128
	// subscribeWait is how long a subscription waits for the broker's confirmation, and
	// retryAfter until a recovery that has begun is tried again.
	subscribeWait = time.Second
	retryAfter    = 250 * time.Millisecond
)

// cursor brings a connection from where it begins to where it gets what comes, as fast
// as its outbox has room. It reads the stream from its tail, which all cursors share; so
// it keeps nothing but its place.
type cursor struct {
	conn   Follower
	topic  string
	answer func(Followed, error) // nil once it was called
	start  Start
	keep   broker.Retention
	// at is the place; to, where it has an epoch, is where the connection's own messages
	// begin: then the cursor ends there.
	at, to Position
	// from is where what it hands over begins, once it is known.
	from   Position
	opened bool // the broker confirmed the topic
	// held is what came of members and is not handed over yet; the stream's lock guards it.
	held []heldMessage
	// queued for its next step, moving, to be moved again: catchUp's lock guards these.
	queued, moving, again bool
}

// ErrNotFollowing: the subscription ended before it began.
var ErrNotFollowing = errors.New("hub: not subscribed")

// settle answers, once.
func (c *cursor) settle(f Followed, err error) {
	if answer := c.answer; answer != nil {
		c.answer = nil
		answer(f, err)
	}
}

// result is what a step comes to.
type result uint8

const (
	stepEnded  result = iota // there is no more to do
	stepAgain                // others may go first
	stepWaits                // until the outbox has room
	stepFailed               // the broker did not answer
)

// step moves a cursor on.
func (h *Hub) step(c *cursor) result {
	if !h.follows(c) {
		c.settle(Followed{}, ErrNotFollowing)
		return stepEnded
	}
	if !c.opened {
		if err := h.openTopic(c); err != nil {
			return h.giveUpOn(c, err)
		}
		c.opened = true
		if !h.follows(c) { // it left, and nobody may need the topic now
			h.giveUp([]string{c.topic})
			return stepAgain
		}
	}
	if !c.keep.Keeps() {
		h.joinPlain(c)
		return stepEnded
	}
	most, bytes := c.conn.Room()
	if c.answer == nil && (most <= 0 || bytes <= 0) {
		return stepWaits
	}
	epochs := h.epochsOf(c.topic)
	r, err := h.read(c, most)
	if err != nil {
		return h.giveUpOn(c, err)
	}
	h.begin(c, &r)
	if !h.hand(c, &r, bytes) {
		return stepAgain
	}
	return h.arrive(c, epochs)
}

// follows says whether the cursor is still wanted.
func (h *Hub) follows(c *cursor) bool {
	s := h.followed.lock(c.topic)
	if s == nil {
		return false
	}
	defer s.mu.Unlock()
	f := s.find(c.conn)
	return f != nil && (f.cursor == c || c.to.Epoch != "")
}

func (h *Hub) epochsOf(topic string) int {
	s := h.followed.lock(topic)
	if s == nil {
		return 0
	}
	defer s.mu.Unlock()
	return s.epochs
}

// openTopic has the broker bring the topic. Where it is known to be away, what keeps no
// history is subscribed to all the same, and follows when it is back.
func (h *Hub) openTopic(c *cursor) error {
	ctx, cancel := context.WithTimeout(context.Background(), subscribeWait)
	defer cancel()
	err := h.subscribe(ctx, c.topic)
	if !c.keep.Keeps() {
		return nil
	}
	return err
}

// joinPlain ends the cursor of a topic without history: from its answer on, and not
// before, the connection gets what comes. The lane waits for that moment, in which
// nothing blocks.
func (h *Hub) joinPlain(c *cursor) {
	h.followed.with(c.topic, func(s *stream) {
		if f := s.find(c.conn); f == nil || f.cursor != c {
			c.settle(Followed{}, ErrNotFollowing)
			return
		}
		c.settle(Followed{}, nil)
		c.handHeld()
		s.remove(c.conn) // nobody asks for its positions
	})
}

// read reads what comes next, or, before the answer, what says where the stream is.
func (h *Hub) read(c *cursor, most int) (broker.Range, error) {
	ctx, cancel := context.WithTimeout(context.Background(), subscribeWait)
	defer cancel()
	q := broker.Query{Topic: c.topic, Keep: c.keep, Held: true, After: c.at, Limit: min(max(most, 1), stepMessages)}
	if c.answer != nil {
		switch {
		case c.start.Recent > 0:
			q.Last = c.start.Recent
		case c.start.After != nil:
			q.After = *c.start.After
		default:
			q.End = true
		}
	}
	return h.broker.Read(ctx, q)
}

// begin answers with the first Range, and tells a gap.
func (h *Hub) begin(c *cursor, r *broker.Range) {
	first := c.answer != nil
	if first {
		recovers := c.start.After != nil
		c.at = r.Current
		if n := len(r.Messages); n > 0 {
			c.at.Offset = r.Messages[0].Position.Offset - 1
		}
		c.from = c.at
		c.settle(Followed{Position: r.Current, Recovered: recovers && !r.Gap}, nil)
	}
	if !r.Gap {
		return
	}
	// Somebody with a hole has to reload everything, for which the rest is too old.
	*r = broker.Range{Current: r.Current, Reached: r.Current.Offset}
	c.at, c.from = r.Current, r.Current
	h.metrics.Gaps.Inc()
	c.conn.Send([]*Message{gapAt(c.topic, r.Current)})
}

func gapAt(topic string, at Position) *Message {
	return &Message{Kind: Gap, Topic: topic, Offset: at.Offset, Epoch: at.Epoch, Accepted: time.Now().UnixNano()}
}

// hand sends what was read, as far as there is room for its bytes. It says whether
// that was all there is.
func (h *Hub) hand(c *cursor, r *broker.Range, bytes int) (all bool) {
	batch, used, handed := make([]*Message, 0, len(r.Messages)), 0, 0
	for i := range r.Messages {
		m := &r.Messages[i]
		if used += len(m.Payload); used > bytes && i > 0 || c.past(m.Position) {
			break
		}
		handed++
		if kept := h.recovered(c, m); kept != nil {
			batch = append(batch, kept)
		}
	}
	switch {
	case handed == len(r.Messages):
		c.at = Position{Offset: r.Reached, Epoch: r.Current.Epoch}
	case handed > 0:
		c.at = r.Messages[handed-1].Position
	}
	h.metrics.Recovered.Add(float64(len(batch)))
	if batch = withHeld(batch, h.takeHeld(c)); len(batch) > 0 {
		c.conn.Send(batch)
	}
	return handed == len(r.Messages) && !r.More || c.done()
}

// past says whether a message is one that the connection got as it came.
func (c *cursor) past(p Position) bool { return c.to.Epoch != "" && p.Offset > c.to.Offset }

// done: a cursor that ends at a place is there.
func (c *cursor) done() bool { return c.to.Epoch != "" && c.at.Offset >= c.to.Offset }

// recovered is a kept message as it goes to a connection, nil if that does not get it.
func (h *Hub) recovered(c *cursor, m *broker.Message) *Message {
	e, err := parseKept(m.Payload)
	if err != nil {
		h.unreadable(c.topic, err)
		return nil
	}
	if user := c.conn.Member().User(); user != "" && slices.Contains(e.Except.Users, user) {
		return nil
	}
	return newMessage(&task{topic: c.topic, position: m.Position}, &e)
}

// arrive is for a cursor that has handed over all there is.
func (h *Hub) arrive(c *cursor, epochs int) (r result) {
	if c.to.Epoch != "" {
		return stepEnded
	}
	r = stepAgain
	h.followed.with(c.topic, func(s *stream) {
		if s.join(c.conn, c.at, epochs) {
			r = stepEnded
			c.handHeld()
		}
	})
	return r
}

// giveUpOn ends a subscription that the broker does not answer; one that was answered
// is tried again.
func (h *Hub) giveUpOn(c *cursor, err error) result {
	if c.answer == nil && !errors.Is(err, broker.ErrClosed) {
		return stepFailed
	}
	switch {
	case c.to.Epoch != "":
	case c.start.Anyway:
		h.followed.with(c.topic, func(s *stream) {
			s.joinBlind(c.conn)
			c.handHeld()
		})
	default:
		h.unfollow(c.conn, c.topic)
	}
	c.settle(Followed{}, err)
	return stepEnded
}
