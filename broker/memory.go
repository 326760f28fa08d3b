package broker

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

const memoryShards = 64

// Memory is the broker of a single node. What it keeps of streams is in memory_*.go.
type Memory struct {
	seed    maphash.Seed
	began   time.Time // what happens later is counted from here: a clock that is set does not matter
	receive Receiver
	shards  [memoryShards]memoryShard
	history memoryBound
	watcher RosterWatcher
	letters memoryLetters
	sweeper memorySweeper
}

type memoryShard struct {
	mu      sync.Mutex // guards all below, and holds while a message is handed over: its order is the topic's
	topics  map[string]struct{}
	seen    seenIDs
	streams map[string]*memoryStream // nil while there is none
	unused  unusedStreams
	lasting lastingLists
	roster  memoryRoster
	closed  bool
}

// NewMemory returns a broker for one node.
func NewMemory() *Memory {
	b := &Memory{seed: maphash.MakeSeed(), began: time.Now(), history: memoryBound{limit: defaultHistory}}
	b.sweeper.stop = make(chan struct{})
	for i := range b.shards {
		b.shards[i].topics = map[string]struct{}{}
	}
	return b
}

func (b *Memory) shard(topic string) *memoryShard {
	return &b.shards[maphash.String(b.seed, topic)%memoryShards]
}

// now is how long ago the broker began.
func (b *Memory) now() time.Duration { return time.Since(b.began) }

// Start implements Broker.
func (b *Memory) Start(receive Receiver) error {
	b.receive = receive
	return nil
}

// Publish implements Broker. The receiver is called before it returns.
func (b *Memory) Publish(_ context.Context, batch []Publication) {
	for i := range batch {
		if b.publish(&batch[i]); batch[i].Position.Offset > 0 {
			b.makeRoom(batch[i].Topic)
		}
	}
}

func (b *Memory) publish(p *Publication) {
	s := b.shard(p.Topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Nodes, p.Duplicate, p.Position, p.Err = 0, false, Position{}, nil
	if s.closed {
		p.Err = ErrClosed
		return
	}
	m := Message{Topic: p.Topic, Payload: p.Payload}
	if p.ID != "" || p.Keep.Keeps() {
		if m.Time = b.record(s, p); p.Duplicate || p.Err != nil {
			return
		}
		m.Position = p.Position
	}
	if _, ok := s.topics[p.Topic]; ok {
		p.Nodes = 1
		b.receive(m)
	}
}

// record does what is to be remembered of a publication, unless its ID is known, and
// returns the time that it is kept with.
func (b *Memory) record(s *memoryShard, p *Publication) (kept int64) {
	clock := time.Now()
	now, key := clock.Sub(b.began), idKey{p.Topic, p.ID}
	if p.ID != "" {
		if p.Position, p.Duplicate, p.Err = s.seen.find(key, p.Digest, now); p.Duplicate || p.Err != nil {
			return 0
		}
	}
	mark := idMark{digest: p.Digest, at: now}
	if p.Keep.Keeps() {
		p.Position, kept = b.keep(s, p, clock), clock.UnixMilli()
	}
	if p.ID == "" {
		return kept
	}
	if kept > 0 {
		mark.kept = new(p.Position)
	}
	s.seen.add(key, mark)
	return kept
}

// Subscribe implements Broker.
func (b *Memory) Subscribe(_ context.Context, wanted ...Subscription) error {
	for _, w := range wanted {
		if err := b.subscribe(w); err != nil {
			return err
		}
	}
	return nil
}

func (b *Memory) subscribe(w Subscription) error {
	s := b.shard(w.Topic)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.list(w.Topic, b.now()) // one that ended does not come back
	s.topics[w.Topic] = struct{}{}
	if w.Keep.Keeps() {
		b.open(s, w)
	}
	s.mu.Unlock()
	if w.Keep.Keeps() {
		b.makeRoom("")
	}
	return nil
}

// Unsubscribe implements Broker.
func (b *Memory) Unsubscribe(topics ...string) {
	for _, t := range topics {
		s := b.shard(t)
		s.mu.Lock()
		delete(s.topics, t)
		s.leaveLasting(t, b.now())
		if st := s.streams[t]; st != nil && st.subscribed {
			b.leave(s, st)
		}
		s.mu.Unlock()
	}
}

// Up implements Broker: memory always is.
func (b *Memory) Up() bool { return true }

// Close implements Broker.
func (b *Memory) Close() error {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		s.closed = true
		clear(s.topics)
		for _, st := range s.streams {
			b.remove(s, st)
		}
		s.roster.end()
		s.mu.Unlock()
	}
	b.sweeper.end()
	return nil
}
