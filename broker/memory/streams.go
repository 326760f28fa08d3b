package memory

import (
	"context"
	"sort"
	"time"

	"github.com/pushcart/pushcart/broker"

	"github.com/pushcart/pushcart/broker/internal/record"
)

// stream is a stream with what is kept of it. Its shard's lock guards it.
type stream struct {
	topic string
	end   broker.Position // of the last message
	kept  ring            // the messages up to end
	age   time.Duration   // by the rule of the last message
	// until is when the record's life is over, while nobody is subscribed.
	until      time.Duration
	subscribed bool
	// mortal: messages with a TTL are kept whose payload is still there.
	mortal bool
	bytes  int64 // what it counts for in the history's total
	place  unusedPlace
}

// before is the offset before the oldest message.
func (st *stream) before() uint64 { return st.end.Offset - uint64(st.kept.n) }

// prolong lets the record live on after a use under this rule.
func (st *stream) prolong(now, age time.Duration) {
	life := record.OpenedKept
	if st.end.Offset > 0 {
		life = record.Life(age)
	}
	st.until = max(st.until, now+life)
}

// over: the record's life is.
func (st *stream) over(now time.Duration) bool { return !st.subscribed && now >= st.until }

// find returns a stream whose record lives, or nil.
func (b *Broker) find(s *shard, topic string, now time.Duration) *stream {
	st := s.streams[topic]
	if st != nil && st.over(now) {
		b.remove(s, st)
		return nil
	}
	return st
}

// findOrBegin returns a stream, which is a new one if there was none.
func (b *Broker) findOrBegin(s *shard, topic string, now time.Duration) *stream {
	if st := b.find(s, topic, now); st != nil {
		return st
	}
	st := &stream{topic: topic, end: broker.Position{Epoch: record.NewEpoch()}}
	if s.streams == nil {
		s.streams = map[string]*stream{}
	}
	s.streams[topic] = st
	b.account(st, recordCost+int64(len(topic)))
	b.sweeper.start(b)
	return st
}

// remove forgets a stream with its record.
func (b *Broker) remove(s *shard, st *stream) {
	s.unused.remove(st)
	b.account(st, -st.bytes)
	if delete(s.streams, st.topic); len(s.streams) == 0 {
		s.streams = nil // a map never shrinks
	}
}

// keep gives a message its place in its stream.
func (b *Broker) keep(s *shard, p *broker.Publication, clock time.Time) broker.Position {
	now := clock.Sub(b.began)
	st := b.findOrBegin(s, p.Topic, now)
	st.age = p.Keep.Age
	b.dropAged(st, now)
	m := keptMessage{payload: p.Payload, at: now, time: clock.UnixMilli()}
	if p.TTL > 0 {
		m.expires, st.mortal = now+p.TTL, true
	}
	st.end.Offset++
	if m.cost() > b.history.limit {
		// Others would lose all of theirs, and it would still not fit.
		b.drop(st, st.kept.n)
	} else {
		b.drop(st, st.kept.n-(p.Keep.Messages-1))
		st.kept.push(m, p.Keep.Messages)
		b.account(st, m.cost())
	}
	st.prolong(now, st.age)
	b.use(s, st)
	return st.end
}

// drop forgets the oldest messages of a stream.
func (b *Broker) drop(st *stream, messages int) {
	freed := int64(0)
	for ; messages > 0; messages-- {
		m := st.kept.pop()
		freed += m.cost()
	}
	if freed > 0 {
		b.account(st, -freed)
	}
}

// dropAged forgets what is past its age.
func (b *Broker) dropAged(st *stream, now time.Duration) { b.drop(st, st.aged(now, st.age)) }

// aged counts the messages that are so old or older.
func (st *stream) aged(now, age time.Duration) int {
	if st.kept.n == 0 || now-st.kept.get(0).at < age {
		return 0
	}
	return sort.Search(st.kept.n, func(i int) bool { return now-st.kept.get(i).at < age })
}

// open subscribes this node to a stream.
func (b *Broker) open(s *shard, w broker.Subscription) {
	now := b.now()
	st := b.findOrBegin(s, w.Topic, now)
	st.prolong(now, w.Keep.Age)
	opened := st.subscribed
	st.subscribed = true
	b.use(s, st)
	if !opened {
		b.receive(broker.Message{Topic: w.Topic, Kind: broker.Opened, Position: st.end})
	}
}

// leave ends this node's subscription to a stream. It was in use until now.
func (b *Broker) leave(s *shard, st *stream) {
	st.subscribed = false
	st.prolong(b.now(), st.age)
	b.use(s, st)
}

// Read implements Streams.
func (b *Broker) Read(_ context.Context, q broker.Query) (broker.Range, error) {
	s := b.shard(q.Topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return broker.Range{}, broker.ErrClosed
	}
	now := b.now()
	st := b.find(s, q.Topic, now)
	if st == nil {
		_, ok := new(record.Record).After(q.After)
		return broker.Range{Gap: !ok && !q.Whole && q.Last <= 0 && !q.End}, nil
	}
	b.dropAged(st, now)
	if q.Keep.Keeps() && !q.Whole {
		st.prolong(now, q.Keep.Age)
	}
	b.use(s, st)
	r := broker.Range{Current: st.end, Reached: st.end.Offset}
	if !q.End {
		st.collect(&r, &q, now)
	}
	return r, nil
}

// first is the index of the first message that answers a query.
func (st *stream) first(q *broker.Query, now time.Duration) (index int, gap bool) {
	oldest := 0
	if q.Keep.Keeps() {
		oldest = st.aged(now, q.Keep.Age)
	}
	switch {
	case q.Whole:
		return oldest, false
	case q.Last > 0:
		return st.last(q.Last, oldest, now), false
	}
	offset, ok := (&record.Record{Position: st.end}).After(q.After)
	if !ok || offset < st.before()+uint64(oldest) {
		return oldest, true
	}
	return int(offset - st.before()), false
}

// last is the index where the last so many messages begin, of those from oldest on.
func (st *stream) last(messages, oldest int, now time.Duration) int {
	i := st.kept.n
	for ; i > oldest && messages > 0; i-- {
		if !st.kept.get(i - 1).expired(now) {
			messages--
		}
	}
	return i
}

// collect answers a query: with as many messages as it may have.
func (st *stream) collect(r *broker.Range, q *broker.Query, now time.Duration) {
	limit, bytes := q.AtMost(), 0
	from, gap := st.first(q, now)
	r.Gap = gap
	if from < st.kept.n {
		r.Messages = make([]broker.Message, 0, min(limit, st.kept.n-from))
	}
	for i := from; i < st.kept.n; i++ {
		m, offset := st.kept.get(i), st.before()+uint64(i)+1
		if m.expired(now) {
			continue
		}
		if bytes += len(m.payload); len(r.Messages) == limit || bytes > broker.MaxReadBytes && len(r.Messages) > 0 {
			r.More, r.Reached = true, offset-1
			return
		}
		at := broker.Position{Offset: offset, Epoch: st.end.Epoch}
		r.Messages = append(r.Messages, broker.Message{Topic: st.topic, Payload: m.payload, Position: at, Time: m.time})
	}
}

// Forget implements Streams.
func (b *Broker) Forget(_ context.Context, topic string) error {
	s := b.shard(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return broker.ErrClosed
	}
	if st := s.streams[topic]; st != nil {
		b.drop(st, st.kept.n)
		s.unused.settle(st)
	}
	return nil
}
