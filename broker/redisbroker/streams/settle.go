package streams

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/internal/record"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

// settle hands out what Redis answered.
func (w *work) settle(s *Streams) {
	for _, t := range w.touches {
		if t.cmd != nil {
			s.touched(t)
		}
	}
	for i, f := range w.fetches {
		s.settled(f.feed)
		if w.fetched[i] != nil {
			s.fetched(f, w.fetched[i])
		}
	}
	for _, g := range w.reads {
		s.answerReads(g)
	}
}

// touched takes what touchScript says of some feeds.
func (s *Streams) touched(t *touch) {
	reply, err := t.cmd.Slice()
	if err != nil || len(reply) == 0 {
		s.refused(err)
		s.release(t.feeds...)
		return
	}
	s.tune(parseMillis(link.Text(reply, 0)))
	reply = reply[1:]
	for i, f := range t.feeds {
		var current *record.Record
		if len(reply) >= 4 && link.Text(reply, 0) == strconv.Itoa(i+1) {
			current = &record.Record{Position: broker.Position{Offset: parseOffset(link.Text(reply, 2)), Epoch: link.Text(reply, 1)}, Forks: parseForks(link.Text(reply, 3))}
			reply = reply[4:]
		}
		s.compared(f, current)
	}
}

// compared takes what Redis says of a feed's stream; nil: it is where it was believed to be.
func (s *Streams) compared(f *feed, current *record.Record) {
	if current != nil && current.Epoch == "" {
		s.link.WrongType(s.link.Keys().Record(f.topic))
		s.release(f) // until it is removed
		return
	}
	missing, again := f.compare(current, s.hand)
	if missing {
		s.fetch(f, f.wants())
	}
	if again {
		s.due = append(s.due, f)
	}
}

// release has feeds go on that Redis does not say the position of. They are compared with
// the next round.
func (s *Streams) release(feeds ...*feed) {
	for _, f := range feeds {
		if f.release(s.hand) {
			s.fetch(f, f.wants())
		}
	}
	s.due = append(s.due, feeds...)
}

// tune notes how far Redis' clock is from ours.
func (s *Streams) tune(now int64) { s.ahead.Store(now - time.Now().UnixMilli()) }

// refused logs what Redis answered to a reading of what has these keys.
func (s *Streams) refused(err error, keys ...string) {
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		s.link.WrongType(keys...)
		return
	}
	s.link.Log().Warn("redis refuses to read "+link.Cause(err), "redis refuses to read a stream; it is retried",
		"key", "redis", "redis-keys", keys, "err", fmt.Sprint(err))
}

// keysOf are the keys of a stream.
func (s *Streams) keysOf(topic string) []string {
	return []string{s.link.Keys().Record(topic), s.link.Keys().Messages(topic)}
}

// fetched takes what was read for a feed.
func (s *Streams) fetched(f fetch, cmd *redis.Cmd) {
	topic := f.feed.topic
	a, err := answerOf(cmd, topic, f.need.from)
	if err != nil {
		s.refused(err, s.keysOf(topic)...)
		s.later(f)
		return
	}
	next := f.feed.fetched(a, s.hand)
	switch {
	case !next.more:
	case next == f.need: // nothing came of it, so that it has time
		s.later(fetch{f.feed, next})
	default:
		s.fetch(f.feed, next)
	}
}

func answerOf(cmd *redis.Cmd, topic string, asked uint64) (*answer, error) {
	reply, err := cmd.Slice()
	if err != nil {
		return nil, err
	}
	return parseAnswer(topic, asked, reply)
}

// answerReads gives all readings of a group the one answer. One that it does not reach
// is read again, with none of the others.
func (s *Streams) answerReads(g *group) {
	topic, least := g.members[0].topic, g.members[0].after
	for _, c := range g.members {
		least = min(least, c.after)
	}
	var a *answer
	err := g.cmd.Err()
	if err == nil && !g.members[0].forget {
		a, err = answerOf(g.cmd, topic, least)
	}
	if err != nil {
		s.refused(err, s.keysOf(topic)...)
		g.settle(nil, link.Unavailable(err))
		return
	}
	if a != nil {
		s.tune(a.now)
		g.members = slices.DeleteFunc(g.members, func(c *reading) bool {
			c.alone = c.after > least && a.more && !a.reaches(c)
			return c.alone && s.add(c) == nil
		})
	}
	g.settle(a, nil)
}

// reaches: the answer has some of what a reading wants.
func (a *answer) reaches(c *reading) bool {
	n := len(a.messages)
	return n > 0 && a.messages[n-1].Position.Offset > c.after
}

func (g *group) settle(a *answer, err error) {
	for _, c := range g.members {
		c.answer, c.err = a, err
		close(c.done)
	}
}
