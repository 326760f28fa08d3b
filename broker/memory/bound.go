package memory

import (
	"sync"
	"sync/atomic"
)

const (
	// defaultHistory is how many bytes are kept at most, of all streams together.
	defaultHistory = 256 << 20
	// messageCost and recordCost are what a message takes beside its payload, and a
	// stream beside its messages and topic, as BenchmarkMemory_KeptBytes measures.
	messageCost = 64
	recordCost  = 224
)

// bound is the bound over all streams. Past it those go that were not used
// for the longest time.
type bound struct {
	limit int64
	bytes atomic.Int64  // may be over the limit while a publish runs
	uses  atomic.Uint64 // numbers the uses of streams
	// evicting is taken by whoever makes room, before a shard's mu and never under one.
	evicting sync.Mutex
}

// LimitHistory bounds the bytes of all that is kept: messages, and the records of
// streams. 0 keeps nothing. Call it before Start; the default is 256 MiB.
func (b *Broker) LimitHistory(bytes int64) { b.history.limit = bytes }

// HistoryBytes is about how much memory all that is kept takes.
func (b *Broker) HistoryBytes() int64 { return b.history.bytes.Load() }

// HistoryStreams counts the streams that are known, with messages or without.
func (b *Broker) HistoryStreams() (n int) {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		n += len(s.streams)
		s.mu.Unlock()
	}
	return n
}

func (b *Broker) account(st *stream, bytes int64) {
	st.bytes += bytes
	b.history.bytes.Add(bytes)
}

func (b *Broker) use(s *shard, st *stream) { s.unused.use(st, b.history.uses.Add(1)) }

// makeRoom drops streams until the rest is within the bound. Of the one just
// published to only the oldest messages go, as long as that is enough. No shard may
// be locked.
func (b *Broker) makeRoom(published string) {
	if !b.tooMuch() {
		return
	}
	b.history.evicting.Lock()
	defer b.history.evicting.Unlock()
	for b.tooMuch() {
		s, used := b.longestUnused()
		if s == nil {
			return // nothing is left to drop
		}
		s.mu.Lock()
		if st := s.unused.oldest; st != nil && st.place.used == used { // else it was used just now
			b.evict(s, st, st.topic == published)
		}
		s.mu.Unlock()
	}
}

// longestUnused is the shard of the stream that was not used for the longest time, and
// the number of that use; nil if there is nothing to drop.
func (b *Broker) longestUnused() (found *shard, oldest uint64) {
	for i := range b.shards {
		if used := b.shards[i].unused.since.Load(); used != 0 && (found == nil || used < oldest) {
			found, oldest = &b.shards[i], used
		}
	}
	return found, oldest
}

// evict drops what is kept of a stream, with its record unless somebody holds its
// position; of one that is spared only as much as is needed.
func (b *Broker) evict(s *shard, st *stream, spared bool) {
	for spared && b.tooMuch() && st.kept.n > 0 {
		b.drop(st, 1)
	}
	switch {
	case spared && !b.tooMuch():
	case st.subscribed:
		b.drop(st, st.kept.n)
	default:
		b.remove(s, st)
		return
	}
	s.unused.settle(st)
}

func (b *Broker) tooMuch() bool { return b.history.bytes.Load() > b.history.limit }
