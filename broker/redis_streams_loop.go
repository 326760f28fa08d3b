package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// roundEvery is when the feeds of the next partition are compared with their records:
	// all are, and their records kept alive, in 64 of these, which is less than the 30 s
	// in which a lost history is told (SPEC §11 json.v1).
	roundEvery = 400 * time.Millisecond
	// entriesAtOnce bounds the records, or messages, of one call of a script,
	// touchesAtOnce such calls for records in one round trip, and readsAtOnce the
	// readings.
	entriesAtOnce = 500
	touchesAtOnce = 16
	readsAtOnce   = 16
	anyAge        = 100 * 365 * 24 * time.Hour
)

// run is the streams' goroutine.
func (s *streams) run() {
	defer s.hangUp()
	t := time.NewTicker(roundEvery)
	defer t.Stop()
	for {
		select {
		case <-s.link.ctx.Done():
			s.refuseAll()
			return
		case <-t.C:
			s.nextRound()
		case <-s.wake:
		}
		for more := true; more && s.link.ctx.Err() == nil; {
			more = s.turn()
		}
	}
}

func (s *streams) hangUp() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// nextRound has the feeds of the next partition compared, and tries again what failed.
func (s *streams) nextRound() {
	again, due := s.again, s.due
	s.again, s.due = nil, nil
	s.round = (s.round + 1) % partitions
	feeds := s.feeds.of(s.round)
	for _, f := range feeds {
		f.ageTail()
	}
	s.compare(append(feeds, due...)...)
	for _, f := range again {
		s.fetch(f.feed, f.need)
	}
}

// turn is one round trip's worth of work. It says whether there is more to do now.
func (s *streams) turn() (more bool) {
	w := s.take()
	if w.empty() {
		return false
	}
	ctx, cancel := context.WithTimeout(s.link.ctx, publishTimeout)
	defer cancel()
	if err := s.connect(ctx); err != nil {
		s.failed(w, err)
		return s.waiting()
	}
	pipe := s.conn.Pipeline()
	w.send(ctx, pipe, s)
	cmds, err := pipe.Exec(ctx)
	if needScripts(cmds) { // SCRIPT FLUSH: a new connection loads them
		s.hangUp()
		err = redis.ErrClosed
	}
	if err != nil && !answered(cmds) {
		s.hangUp()
		s.failed(w, err)
		return s.waiting()
	}
	w.settle(s)
	return s.waiting()
}

func (s *streams) connect(ctx context.Context) (err error) {
	if s.conn == nil {
		s.conn, err = s.link.open(ctx, touchSource, readSource, forkSource, forgetSource)
	}
	return err
}

// answered: Redis answered every command, be it with an error.
func answered(cmds []redis.Cmder) bool {
	for _, c := range cmds {
		var answer redis.Error
		if err := c.Err(); err != nil && !errors.As(err, &answer) || judge(c.Err()) == elsewhere {
			return false
		}
	}
	return true
}

func needScripts(cmds []redis.Cmder) bool {
	for _, c := range cmds {
		if redis.HasErrorPrefix(c.Err(), "NOSCRIPT") {
			return true
		}
	}
	return false
}

func (s *streams) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.checks)+len(s.fetches)+len(s.reads) > 0
}

// failed is for work that got no answer. Callers are told; feeds are tried again with
// the next round.
func (s *streams) failed(w *work, err error) {
	s.due = append(s.due, w.feeds...)
	s.again = append(s.again, w.fetches...)
	for _, g := range w.reads {
		g.settle(nil, unavailable(err))
	}
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

// work is what goes to Redis in one round trip.
type work struct {
	feeds   []*feed // to compare, in the order of touches
	touches []touch
	fetches []fetch
	fetched []*redis.Cmd
	reads   []*group
}

// touch is one call of touchScript.
type touch struct {
	feeds []*feed
	cmd   *redis.Cmd
}

// group is readings of one topic that one answer may serve.
type group struct {
	members []*reading
	cmd     *redis.Cmd
}

func (w *work) empty() bool { return len(w.feeds)+len(w.fetches)+len(w.reads) == 0 }

// take takes the next work.
func (s *streams) take() *work {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &work{}
	n := min(len(s.checks), entriesAtOnce*touchesAtOnce)
	w.feeds, s.checks = s.checks[:n:n], s.checks[n:]
	n = min(len(s.fetches), readsAtOnce)
	w.fetches, s.fetches = s.fetches[:n:n], s.fetches[n:]
	s.takeReadsLocked(w)
	return w
}

// takeReadsLocked takes readings, and joins those that one answer may serve.
func (s *streams) takeReadsLocked(w *work) {
	type key struct {
		topic string
		last  int
		age   time.Duration
		wish  bool
		end   bool
	}
	groups := map[key]*group{}
	rest := s.reads[:0]
	for _, c := range s.reads {
		k := key{c.topic, c.last, c.age, c.forget, c.end}
		g := groups[k]
		if g == nil && len(groups) < readsAtOnce {
			g = &group{}
			groups[k] = g
			w.reads = append(w.reads, g)
		}
		if g == nil {
			rest = append(rest, c)
			continue
		}
		g.members = append(g.members, c)
	}
	clear(s.reads[len(rest):])
	s.reads = rest
}

// send adds the commands to a pipeline.
func (w *work) send(ctx context.Context, pipe redis.Pipeliner, s *streams) {
	byPartition := map[int][]*feed{}
	for _, f := range w.feeds {
		p := partitionOf(nameOf(f.topic))
		if byPartition[p] = append(byPartition[p], f); len(byPartition[p]) == entriesAtOnce {
			w.touch(ctx, pipe, s, byPartition[p])
			delete(byPartition, p)
		}
	}
	for _, feeds := range byPartition {
		w.touch(ctx, pipe, s, feeds)
	}
	for _, f := range w.fetches {
		w.fetched = append(w.fetched, s.sendFetch(ctx, pipe, f))
	}
	for _, g := range w.reads {
		after, limit := g.members[0].after, 0
		for _, c := range g.members {
			after, limit = min(after, c.after), max(limit, c.limit)
		}
		c := g.members[0]
		switch {
		case c.forget:
			g.cmd = s.sendForget(ctx, pipe, c.topic)
			continue
		case c.end:
			after, limit = maxOffset, 1
		}
		g.cmd = s.sendRead(ctx, pipe, c.topic, readArgs{after: after, limit: limit, age: c.age, last: c.last})
	}
}

func (w *work) touch(ctx context.Context, pipe redis.Pipeliner, s *streams, feeds []*feed) {
	w.touches = append(w.touches, touch{feeds, s.sendTouch(ctx, pipe, feeds)})
}

func (s *streams) sendTouch(ctx context.Context, pipe redis.Pipeliner, feeds []*feed) *redis.Cmd {
	records := make([]string, len(feeds))
	args := make([]any, 2, 2+2*len(feeds))
	args[0], args[1] = s.conn.server, newEpoch()
	for i, f := range feeds {
		records[i] = s.link.keys.record(f.topic)
		life, believed := f.believed()
		args = append(args, life.Milliseconds(), believed)
	}
	return touchScript.EvalSha(ctx, pipe, records, args...)
}

// sendFetch reads for a feed, after its stream is sure to have a record, and the end of
// its epoch is noted if it must be.
func (s *streams) sendFetch(ctx context.Context, pipe redis.Pipeliner, f fetch) *redis.Cmd {
	topic := f.feed.topic
	at, age := f.feed.position()
	s.sendTouch(ctx, pipe, []*feed{f.feed})
	if f.need.fork {
		forkScript.EvalSha(ctx, pipe, []string{s.link.keys.record(topic)}, at.Epoch, offsetText(at.Offset), s.conn.server, newEpoch())
	}
	return s.sendRead(ctx, pipe, topic, readArgs{after: f.need.from, limit: MaxRead, age: age})
}

type readArgs struct {
	after       uint64
	limit, last int
	age         time.Duration
}

func (s *streams) sendRead(ctx context.Context, pipe redis.Pipeliner, topic string, r readArgs) *redis.Cmd {
	k := s.link.keys
	if r.age <= 0 { // whoever keeps the stream says how long
		r.age = anyAge
	}
	return readScript.EvalSha(ctx, pipe, []string{k.record(topic), k.messages(topic)},
		offsetText(r.after), r.limit, MaxReadBytes, r.age.Milliseconds(), r.last)
}

func (s *streams) sendForget(ctx context.Context, pipe redis.Pipeliner, topic string) *redis.Cmd {
	k := s.link.keys
	return forgetScript.EvalSha(ctx, pipe, []string{k.record(topic), k.messages(topic)}, k.channel(topic))
}

func offsetText(n uint64) string { return strconv.FormatUint(n, 10) }
