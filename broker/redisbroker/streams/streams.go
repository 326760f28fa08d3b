package streams

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

// Streams reads what is kept in Redis: for callers of Read, and for this node's
// feeds, which compare what came with the record and fetch what they missed. One
// goroutine talks to Redis (loop.go), on a connection of its own, so that
// long answers hold up no publication.
type Streams struct {
	link  *link.Link
	feeds *feeds

	// Set by New and Start.
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
	line  *link.Line
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

// New returns the streams of a node, which are read from Start on. lost counts
// messages that are dropped because too many wait.
func New(l *link.Link, lost func()) *Streams {
	scripts := []string{touchSource, readSource, forkSource, forgetSource}
	return &Streams{link: l, lost: lost, feeds: newFeeds(), line: l.Line(scripts...), wake: make(chan struct{}, 1), most: readsAtOnce}
}

// Start begins to talk to Redis, before any topic is subscribed to. receive is called as
// broker.Broker says; wanted tells whether this node is subscribed to a topic.
func (s *Streams) Start(receive broker.Receiver, wanted func(topic string) bool) {
	s.hand, s.wanted = receive, wanted
	s.link.Run("reading from Redis", s.run)
}

// Size is how many streams this node is subscribed to, and how many of them wait to be
// compared or fetched.
func (s *Streams) Size() (held, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.feeds.count.Load()), len(s.checks) + len(s.fetches) + len(s.again)
}

func (s *Streams) wakeLocked() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// compare has feeds compared with their records.
func (s *Streams) compare(feeds ...*feed) {
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
func (s *Streams) fetch(f *feed, n need) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.fetching {
		f.fetching = true
		s.fetches = append(s.fetches, fetch{f, n})
		s.wakeLocked()
	}
}

// settled is called when what was fetched for a feed is there, and may be too old at once.
func (s *Streams) settled(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.fetching = false
}

// later has a feed fetched with the next round.
func (s *Streams) later(f fetch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.feed.fetching {
		f.feed.fetching = true
		s.again = append(s.again, f)
	}
}

// now is Redis' clock, in Unix milliseconds.
func (s *Streams) now() int64 { return time.Now().UnixMilli() + s.ahead.Load() }

// Message takes what came through the subscription.
func (s *Streams) Message(topic, payload string) {
	m, kept, ok := parse(topic, payload)
	if !ok {
		s.lost()
		s.link.Log().Warn("frame", "message from redis dropped: this version does not know its kind of presence event",
			"key", "redis.prefix", "topic", topic)
		return
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
		s.link.Log().Warn("waiting", "messages dropped: too many came while earlier ones were fetched from redis",
			"key", "channels[].history", "topic", topic)
	}
}

// parse reads what came on a topic: a message, which may be kept, or a frame about
// members. ok is false for a frame that cannot be read.
func parse(topic, payload string) (m broker.Message, kept, ok bool) {
	if isFrame(payload) {
		m, ok = parseFrame(topic, payload)
		return m, false, ok
	}
	if m, kept = parseKept(topic, payload); !kept {
		m = broker.Message{Topic: topic, Payload: []byte(payload)}
	}
	return m, kept, true
}

// Subscribed is called whenever a topic's messages begin to come, also those of a new
// connection: earlier ones may be missed.
func (s *Streams) Subscribed(topic string) {
	if f := s.feeds.get(topic); f != nil {
		f.doubt()
		s.compare(f)
	}
}

// Opening is streams that a node is about to be subscribed to.
type Opening struct {
	streams *Streams
	feeds   []*feed
}

// Open has the streams among wanted followed. Call it before their topics are subscribed to.
func (s *Streams) Open(wanted []broker.Subscription) Opening {
	o := Opening{streams: s}
	for i := range wanted {
		if wanted[i].Keep.Keeps() {
			f := s.feeds.add(wanted[i].Topic)
			f.setKeep(wanted[i].Keep, s.hand)
			o.feeds = append(o.feeds, f)
		}
	}
	return o
}

// Await is for topics that are subscribed to by now. It returns when the receiver was told
// where all the streams begin; an error wraps ErrUnavailable or ErrClosed.
func (o Opening) Await(ctx context.Context) error {
	o.ensure()
	for _, f := range o.feeds {
		select {
		case <-f.isOpen():
		case <-ctx.Done():
			return fmt.Errorf("%w: position not known: %w", broker.ErrUnavailable, ctx.Err())
		case <-o.streams.link.Context().Done():
			return broker.ErrClosed
		}
	}
	return nil
}

// ensure has feeds compared that nobody compares: their topics were left and wanted
// again before Redis heard of it.
func (o Opening) ensure() {
	s := o.streams
	for _, f := range o.feeds {
		s.mu.Lock()
		asked := f.asked
		s.mu.Unlock()
		if !asked {
			s.compare(f)
		}
	}
}

// Leave has streams not followed any more.
func (s *Streams) Leave(topics []string) { s.feeds.remove(topics) }

// Forget is broker.Streams' Forget.
func (s *Streams) Forget(ctx context.Context, topic string) error {
	_, err := s.wait(ctx, &reading{topic: topic, forget: true})
	return err
}

// Read is broker.Streams' Read. What one answer of Redis does not hold is read with further
// ones, up to what a Range may hold.
func (s *Streams) Read(ctx context.Context, q broker.Query) (broker.Range, error) {
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
func (s *Streams) readPart(ctx context.Context, q *broker.Query) (r broker.Range, part bool, err error) {
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
func (s *Streams) ask(ctx context.Context, q *broker.Query, after uint64) (*answer, error) {
	return s.wait(ctx, &reading{topic: q.Topic, after: after, last: q.Last, limit: q.AtMost(), age: q.Keep.Age, end: q.End})
}

func (s *Streams) wait(ctx context.Context, c *reading) (*answer, error) {
	c.done = make(chan struct{})
	if err := s.add(c); err != nil {
		return nil, err
	}
	defer c.left.Store(true)
	t := time.NewTimer(link.AnswerTimeout)
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

func (s *Streams) add(c *reading) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return broker.ErrClosed
	case len(s.reads) >= link.MaxPending:
		return fmt.Errorf("%w: too many wait to read", broker.ErrUnavailable)
	}
	s.reads = append(s.reads, c)
	s.wakeLocked()
	return nil
}

// refuseAll ends every call that waits, and those to come.
func (s *Streams) refuseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.reads {
		c.err = broker.ErrClosed
		close(c.done)
	}
	s.reads, s.checks, s.fetches, s.again = nil, nil, nil, nil
}
