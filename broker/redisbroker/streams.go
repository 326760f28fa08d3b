package redisbroker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// streams reads what is kept in Redis: for callers of Read, and for this node's
// feeds, which compare what came with the record and fetch what they missed. One
// goroutine talks to Redis (streams_loop.go), on a connection of its own, so that
// long answers hold up no publication.
type streams struct {
	link  *link
	feeds *feeds

	// Set before run.
	hand   broker.Receiver
	wanted func(topic string) bool
	lost   func() // counts a message that was dropped

	// ahead is how much farther Redis' clock is than ours, in milliseconds.
	ahead atomic.Int64

	mu      sync.Mutex // guards all below
	closed  bool
	checks  []*feed // to compare with their records
	fetches []fetch
	again   []fetch // with the next round: they made no progress, or failed
	reads   []*reading
	wake    chan struct{}

	// Of the loop only.
	line  line
	round int     // the partition whose feeds are compared next
	due   []*feed // whose comparison failed
	under *work   // what is sent
	most  int     // how many readings go out at once
}

// fetch is a feed that asks for messages.
type fetch struct {
	feed *feed
	need need
}

// reading is one question of a caller that waits for it, or its wish to forget all.
type reading struct {
	topic  string
	after  uint64
	last   int
	limit  int
	age    time.Duration
	end    bool
	forget bool
	alone  bool        // others' answers did not reach it
	left   atomic.Bool // nobody waits any more
	done   chan struct{}
	// Set before done is closed.
	answer *answer
	err    error
}

func newStreams(l *link) *streams {
	scripts := []string{touchSource, readSource, forkSource, forgetSource}
	return &streams{link: l, feeds: newFeeds(), line: line{link: l, scripts: scripts}, wake: make(chan struct{}, 1), most: readsAtOnce}
}

func (s *streams) wakeLocked() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// compare has feeds compared with their records.
func (s *streams) compare(feeds ...*feed) {
	if len(feeds) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range feeds {
		f.asked = true
		if !f.queued {
			f.queued = true
			s.checks = append(s.checks, f)
		}
	}
	s.wakeLocked()
}

// fetch has what a feed needs fetched, unless that is under way.
func (s *streams) fetch(f *feed, n need) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.fetching {
		f.fetching = true
		s.fetches = append(s.fetches, fetch{f, n})
		s.wakeLocked()
	}
}

// settled is called when what was fetched for a feed is there, and may be too old at once.
func (s *streams) settled(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.fetching = false
}

// later has a feed fetched with the next round.
func (s *streams) later(f fetch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.feed.fetching {
		f.feed.fetching = true
		s.again = append(s.again, f)
	}
}

// now is Redis' clock, in Unix milliseconds.
func (s *streams) now() int64 { return time.Now().UnixMilli() + s.ahead.Load() }

// message takes what came through the subscription.
func (s *streams) message(topic, payload string) {
	m, kept := parseKept(topic, payload)
	if !kept {
		m = broker.Message{Topic: topic, Payload: []byte(payload)}
	}
	f := s.feeds.get(topic)
	switch {
	case kept && m.Position.Epoch == forgetMark:
		if f != nil {
			f.forget()
		}
		return
	case kept && f == nil: // another node's rule keeps it
		if f = s.feeds.learn(m, s.wanted); f == nil {
			return // it was left
		}
	case f == nil:
		s.hand(m)
		return
	}
	missing, lost := f.take(m, s.hand)
	if missing {
		s.fetch(f, f.wants())
	}
	if lost {
		s.lost()
		s.link.health.rate.Warn("waiting", "messages dropped: too many came while earlier ones were fetched from redis",
			"key", "channels[].history", "topic", topic)
	}
}

// subscribed is called whenever a topic's messages begin to come, also those of a new
// connection: earlier ones may be missed.
func (s *streams) subscribed(topic string) {
	if f := s.feeds.get(topic); f != nil {
		f.doubt()
		s.compare(f)
	}
}

// open makes feeds of the streams among wanted.
func (s *streams) open(wanted []broker.Subscription) (opened []*feed) {
	for i := range wanted {
		if wanted[i].Keep.Keeps() {
			f := s.feeds.add(wanted[i].Topic)
			f.setKeep(wanted[i].Keep, s.hand)
			opened = append(opened, f)
		}
	}
	return opened
}

// ensure has feeds compared that nobody compares: their topics were left and wanted
// again before Redis heard of it.
func (s *streams) ensure(opened []*feed) {
	for _, f := range opened {
		s.mu.Lock()
		asked := f.asked
		s.mu.Unlock()
		if !asked {
			s.compare(f)
		}
	}
}

// await waits until the positions of feeds are known.
func (s *streams) await(ctx context.Context, opened []*feed) error {
	for _, f := range opened {
		select {
		case <-f.isOpen():
		case <-ctx.Done():
			return fmt.Errorf("%w: position not known: %w", broker.ErrUnavailable, ctx.Err())
		case <-s.link.ctx.Done():
			return broker.ErrClosed
		}
	}
	return nil
}

// read is Streams.Read. What one answer of Redis does not hold is read with further
// ones, up to what a Range may hold.
func (s *streams) read(ctx context.Context, q broker.Query) (broker.Range, error) {
	if q.Held {
		if r, ok := s.feeds.read(&q, s.now()); ok {
			return r, nil
		}
	}
	r, part, err := s.readPart(ctx, &q)
	for err == nil && part && len(r.Messages) < q.AtMost() {
		next := q
		next.Whole, next.Last, next.After = false, 0, broker.Position{Offset: r.Reached, Epoch: r.Current.Epoch}
		next.Limit = q.AtMost() - len(r.Messages)
		var rest broker.Range
		if rest, part, err = s.readPart(ctx, &next); rest.Gap || !join(&r, rest) {
			break // whoever reads on hears of a gap
		}
	}
	return r, err
}

// readPart says beside what it read whether it is only as much as a script reads at once.
func (s *streams) readPart(ctx context.Context, q *broker.Query) (r broker.Range, part bool, err error) {
	after := q.After
	if q.Whole || q.Last > 0 || q.End {
		after = broker.Position{}
	}
	a, err := s.ask(ctx, q, after.Offset)
	if err != nil || !a.exists {
		return broker.Range{Gap: err == nil && after != broker.Position{}}, false, err
	}
	if q.End {
		return broker.Range{Current: a.Position, Reached: a.Offset}, false, nil
	}
	switch offset, ok := a.After(after); {
	case q.Whole || q.Last > 0:
		r = a.kept()
	case ok:
		r = a.since(offset)
	default:
		if after.Offset > 0 {
			if a, err = s.ask(ctx, q, 0); err != nil {
				return broker.Range{}, false, err
			}
		}
		r = a.kept()
		r.Gap = true
	}
	cut(&r, q.AtMost())
	return r, a.more && len(a.messages) >= entriesAtOnce, nil
}

// ask waits for an answer.
func (s *streams) ask(ctx context.Context, q *broker.Query, after uint64) (*answer, error) {
	return s.wait(ctx, &reading{topic: q.Topic, after: after, last: q.Last, limit: q.AtMost(), age: q.Keep.Age, end: q.End})
}

func (s *streams) wait(ctx context.Context, c *reading) (*answer, error) {
	c.done = make(chan struct{})
	if err := s.add(c); err != nil {
		return nil, err
	}
	defer c.left.Store(true)
	t := time.NewTimer(publishTimeout)
	defer t.Stop()
	select {
	case <-c.done:
		return c.answer, c.err
	case <-t.C:
		return nil, fmt.Errorf("%w: no answer in time", broker.ErrUnavailable)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", broker.ErrUnavailable, ctx.Err())
	}
}

func (s *streams) add(c *reading) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return broker.ErrClosed
	case len(s.reads) >= MaxPending:
		return fmt.Errorf("%w: too many wait to read", broker.ErrUnavailable)
	}
	s.reads = append(s.reads, c)
	s.wakeLocked()
	return nil
}

// refuseAll ends every call that waits, and those to come.
func (s *streams) refuseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.reads {
		c.err = broker.ErrClosed
		close(c.done)
	}
	s.reads, s.checks, s.fetches, s.again = nil, nil, nil, nil
}
