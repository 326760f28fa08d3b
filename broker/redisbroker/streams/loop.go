package streams

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"

	"github.com/pushcart/pushcart/broker/internal/record"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

const (
	// roundEvery is when the feeds of the next partition are compared with their records:
	// all are, and their records kept alive, in 64 of these, which is less than the 30 s
	// in which a lost history is told (SPEC §11 json.v1).
	roundEvery = 450 * time.Millisecond
	// entriesAtOnce bounds the records, or messages, of one call of a script,
	// touchesAtOnce such calls for records in one round trip, and readsAtOnce the
	// readings.
	entriesAtOnce = 500
	touchesAtOnce = 16
	readsAtOnce   = 16
	// maxOffset is more than any stream has, and what Lua still counts exactly.
	maxOffset = 1 << 53
	anyAge    = 100 * 365 * 24 * time.Hour
)

// run is the streams' goroutine.
func (s *Streams) run() {
	defer s.line.HangUp()
	if w := s.under; w != nil { // it panicked
		w.reads = nil // their callers give up by themselves
		s.failed(w, nil)
	}
	t := time.NewTicker(roundEvery)
	defer t.Stop()
	for {
		select {
		case <-s.link.Context().Done():
			s.refuseAll()
			return
		case <-t.C:
			s.nextRound()
		case <-s.wake:
		}
		for more := true; more && s.link.Context().Err() == nil; {
			more = s.turn()
		}
	}
}

// nextRound has the feeds of the next partition compared, and tries again what failed.
func (s *Streams) nextRound() {
	s.round = (s.round + 1) % link.Partitions
	feeds := s.feeds.of(s.round)
	for _, f := range feeds {
		f.ageTail()
	}
	s.compare(append(feeds, s.due...)...)
	s.due = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches = append(s.fetches, s.again...)
	s.again = nil
}

// turn is one round trip's worth of work. It says whether there is more to do now.
func (s *Streams) turn() (more bool) {
	w := s.take()
	if w.empty() {
		return false
	}
	s.under = w
	ctx, cancel := context.WithTimeout(s.link.Context(), link.AnswerTimeout)
	defer cancel()
	if err := s.exchange(ctx, w); err != nil {
		s.most = 1 // perhaps there were more answers than time
		s.failed(w, err)
		return false
	}
	s.most = min(2*s.most, readsAtOnce)
	if !s.line.Sound() {
		s.most = 1
		s.failedIn(w)
	}
	w.settle(s)
	s.under = nil
	return s.waiting()
}

// exchange sends work. An error says that nothing was sent. What is sent twice changes
// nothing the second time.
func (s *Streams) exchange(ctx context.Context, w *work) error {
	fill := func(pipe redis.Pipeliner) { w.send(ctx, pipe, s) }
	cmds, err := s.line.Exchange(ctx, fill)
	if err == nil && needScripts(cmds) {
		if err = s.line.Greet(ctx); err == nil {
			_, err = s.line.Exchange(ctx, fill)
		}
	}
	return err
}

// needScripts: Redis lost them meanwhile (SCRIPT FLUSH).
func needScripts(cmds []redis.Cmder) bool {
	for _, c := range cmds {
		if redis.HasErrorPrefix(c.Err(), "NOSCRIPT") {
			return true
		}
	}
	return false
}

func (s *Streams) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.checks)+len(s.fetches)+len(s.reads) > 0
}

// failedIn takes out of the work what servers did not answer, or whose answers do not count.
func (s *Streams) failedIn(w *work) {
	lost := &work{}
	failed := func(topic string) bool { return s.line.Failed(link.TopicPartition(topic)) != nil }
	w.touches = slices.DeleteFunc(w.touches, func(t *touch) bool {
		is := len(t.feeds) > 0 && failed(t.feeds[0].topic)
		if is {
			lost.feeds = append(lost.feeds, t.feeds...)
		}
		return is
	})
	kept := 0
	for i, f := range w.fetches {
		if failed(f.feed.topic) {
			lost.fetches = append(lost.fetches, f)
			continue
		}
		w.fetches[kept], w.fetched[kept] = f, w.fetched[i]
		kept++
	}
	w.fetches, w.fetched = w.fetches[:kept], w.fetched[:kept]
	w.reads = slices.DeleteFunc(w.reads, func(g *group) bool {
		is := failed(g.members[0].topic)
		if is {
			g.settle(nil, link.Unavailable(s.line.Failed(link.TopicPartition(g.members[0].topic))))
		}
		return is
	})
	s.failed(lost, nil)
}

// failed is for work that got no answer. Callers are told; feeds are tried again with
// the next round.
func (s *Streams) failed(w *work, err error) {
	s.under = nil
	for _, f := range w.feeds {
		if _, _, ok := f.believed(); ok {
			s.due = append(s.due, f)
		}
	}
	for _, f := range w.fetches {
		s.settled(f.feed)
		s.later(f)
	}
	for _, g := range w.reads {
		g.settle(nil, link.Unavailable(err))
	}
}

// work is what goes to Redis in one round trip.
type work struct {
	feeds   []*feed // to compare
	touches []*touch
	fetches []fetch
	fetched []*redis.Cmd
	reads   []*group
}

// touch is one call of touchScript.
type touch struct {
	feeds   []*feed
	records []string
	args    []any
	cmd     *redis.Cmd
}

// group is readings of one topic that one answer may serve.
type group struct {
	members []*reading
	cmd     *redis.Cmd
}

func (w *work) empty() bool { return len(w.feeds)+len(w.fetches)+len(w.reads) == 0 }

// take takes the next work.
func (s *Streams) take() *work {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &work{}
	n := min(len(s.checks), entriesAtOnce*touchesAtOnce)
	w.feeds, s.checks = s.checks[:n:n], s.checks[n:]
	for _, f := range w.feeds {
		f.queued = false
	}
	n = min(len(s.fetches), s.most)
	w.fetches, s.fetches = s.fetches[:n:n], s.fetches[n:]
	s.takeReadsLocked(w)
	return w
}

// takeReadsLocked takes readings, and joins those that one answer may serve.
func (s *Streams) takeReadsLocked(w *work) {
	type key struct {
		topic string
		last  int
		age   time.Duration
		wish  bool
		end   bool
		from  uint64 // of one that goes alone
	}
	groups := map[key]*group{}
	rest := s.reads[:0]
	for _, c := range s.reads {
		if c.left.Load() {
			continue
		}
		k := key{topic: c.topic, last: c.last, age: c.age, wish: c.forget, end: c.end}
		if c.alone {
			k.from = c.after
		}
		g := groups[k]
		if g == nil && len(groups) < s.most {
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
func (w *work) send(ctx context.Context, pipe redis.Pipeliner, s *Streams) {
	w.touches, w.fetched = nil, w.fetched[:0]
	w.collect(s)
	for _, t := range w.touches {
		s.sendTouch(ctx, pipe, t)
	}
	for _, f := range w.fetches {
		w.fetched = append(w.fetched, s.sendFetch(ctx, pipe, f))
	}
	for _, g := range w.reads {
		g.cmd = s.sendGroup(ctx, pipe, g)
	}
}

// collect puts the feeds to compare into calls, each of one partition.
func (w *work) collect(s *Streams) {
	var open [link.Partitions]*touch
	for _, f := range w.feeds {
		p := link.TopicPartition(f.topic)
		if open[p] == nil || len(open[p].feeds) == entriesAtOnce {
			open[p] = &touch{}
			w.touches = append(w.touches, open[p])
		}
		open[p].add(f, s)
	}
}

// add has a feed compared, unless nobody is subscribed any more.
func (t *touch) add(f *feed, s *Streams) {
	life, position, ok := f.believed()
	if !ok {
		return
	}
	if t.args == nil {
		t.args = append(t.args, s.line.Server(link.TopicPartition(f.topic)), record.NewEpoch())
	}
	t.feeds = append(t.feeds, f)
	t.records = append(t.records, s.link.Keys().Record(f.topic))
	t.args = append(t.args, life.Milliseconds(), position)
}

func (s *Streams) sendTouch(ctx context.Context, pipe redis.Pipeliner, t *touch) {
	if len(t.feeds) > 0 {
		t.cmd = touchScript.EvalSha(ctx, pipe, t.records, t.args...)
	}
}

func (s *Streams) sendGroup(ctx context.Context, pipe redis.Pipeliner, g *group) *redis.Cmd {
	c := g.members[0]
	after, limit := c.after, 0
	for _, c := range g.members {
		after, limit = min(after, c.after), max(limit, c.limit)
	}
	switch {
	case c.forget:
		return s.sendForget(ctx, pipe, c.topic)
	case c.end:
		after, limit = maxOffset, 1
	}
	return s.sendRead(ctx, pipe, c.topic, readArgs{after: after, limit: limit, age: c.age, last: c.last})
}

// sendFetch reads for a feed, after its stream is sure to have a record, and the end of
// an epoch is noted if it must be. nil: nothing is missing any more.
func (s *Streams) sendFetch(ctx context.Context, pipe redis.Pipeliner, f fetch) *redis.Cmd {
	age, ok := f.feed.ask()
	if !ok {
		return nil
	}
	topic := f.feed.topic
	t := &touch{}
	t.add(f.feed, s)
	s.sendTouch(ctx, pipe, t)
	if end := f.need.fork; end.Epoch != "" {
		forkScript.EvalSha(ctx, pipe, []string{s.link.Keys().Record(topic)}, end.Epoch, offsetText(end.Offset), s.line.Server(link.TopicPartition(topic)), record.NewEpoch())
	}
	return s.sendRead(ctx, pipe, topic, readArgs{after: f.need.from, limit: broker.MaxRead, age: age})
}

type readArgs struct {
	after       uint64
	limit, last int
	age         time.Duration
}

func (s *Streams) sendRead(ctx context.Context, pipe redis.Pipeliner, topic string, r readArgs) *redis.Cmd {
	k := s.link.Keys()
	if r.age <= 0 { // whoever keeps the stream says how long
		r.age = anyAge
	}
	return readScript.EvalSha(ctx, pipe, []string{k.Record(topic), k.Messages(topic)},
		offsetText(r.after), r.limit, broker.MaxReadBytes, r.age.Milliseconds(), r.last)
}

func (s *Streams) sendForget(ctx context.Context, pipe redis.Pipeliner, topic string) *redis.Cmd {
	k := s.link.Keys()
	return forgetScript.EvalSha(ctx, pipe, []string{k.Record(topic), k.Messages(topic)}, k.Channel(topic))
}

func offsetText(n uint64) string { return strconv.FormatUint(n, 10) }
