package memory

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/pushcart/pushcart/broker"
)

const shards = 64

// Broker is the broker of a single node. It is safe for concurrent use.
type Broker struct {
	seed    maphash.Seed
	began   time.Time // what happens later is counted from here: a clock that is set does not matter
	receive broker.Receiver
	shards  [shards]shard
	history bound
	watcher broker.RosterWatcher
	letters letters
	sweeper sweeper
}

type shard struct {
	mu      sync.Mutex // guards all below, and holds while a message is handed over: its order is the topic's
	topics  map[string]struct{}
	seen    seenIDs
	streams map[string]*stream // nil while there is none
	unused  unusedStreams
	lasting lastingLists
	roster  roster
	closed  bool
}

var (
	_ broker.Broker  = (*Broker)(nil)
	_ broker.Streams = (*Broker)(nil)
	_ broker.Lasting = (*Broker)(nil)
	_ broker.Roster  = (*Broker)(nil)
	_ broker.Outbox  = (*Broker)(nil)
)

// New returns a broker for one node.
func New() *Broker {
	b := &Broker{seed: maphash.MakeSeed(), began: time.Now(), history: bound{limit: defaultHistory}}
	b.sweeper.stop = make(chan struct{})
	for i := range b.shards {
		b.shards[i].topics = map[string]struct{}{}
	}
	return b
}

func (b *Broker) shard(topic string) *shard {
	return &b.shards[maphash.String(b.seed, topic)%shards]
}

// now is how long ago the broker began.
func (b *Broker) now() time.Duration { return time.Since(b.began) }

// Start implements Broker.
func (b *Broker) Start(receive broker.Receiver) error {
	b.receive = receive
	return nil
}

// Publish implements Broker. The receiver is called before it returns.
func (b *Broker) Publish(_ context.Context, batch []broker.Publication) {
	for i := range batch {
		if b.publish(&batch[i]); batch[i].Position.Offset > 0 {
			b.makeRoom(batch[i].Topic)
		}
	}
}

func (b *Broker) publish(p *broker.Publication) {
	s := b.shard(p.Topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Nodes, p.Duplicate, p.Position, p.Err = 0, false, broker.Position{}, nil
	if s.closed {
		p.Err = broker.ErrClosed
		return
	}
	m := broker.Message{Topic: p.Topic, Payload: p.Payload}
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
func (b *Broker) record(s *shard, p *broker.Publication) (kept int64) {
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
func (b *Broker) Subscribe(_ context.Context, wanted ...broker.Subscription) error {
	for _, w := range wanted {
		if err := b.subscribe(w); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) subscribe(w broker.Subscription) error {
	s := b.shard(w.Topic)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return broker.ErrClosed
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
func (b *Broker) Unsubscribe(topics ...string) {
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
func (b *Broker) Up() bool { return true }

// UpFor implements broker.Broker.
func (b *Broker) UpFor(string) bool { return true }

// Close implements Broker.
func (b *Broker) Close() error {
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
