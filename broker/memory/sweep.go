package memory

import (
	"sync"
	"time"
)

// sweepEvery is how often one shard is swept. Readers do not depend on it.
const sweepEvery = time.Second

// sweeper frees what nobody will read any more: one shard after the other. It
// runs from the first stream on.
type sweeper struct {
	running, ended sync.Once
	stop           chan struct{}
	done           sync.WaitGroup
}

// start begins it, under the lock of a shard that is not closed.
func (w *sweeper) start(b *Broker) {
	w.running.Do(func() { w.done.Go(func() { w.run(b) }) })
}

// end stops it and waits. All shards are closed.
func (w *sweeper) end() {
	w.ended.Do(func() { close(w.stop) })
	w.done.Wait()
}

func (w *sweeper) run(b *Broker) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for next := 0; ; next = (next + 1) % shards {
		select {
		case <-w.stop:
			return
		case <-ticker.C:
			b.sweep(&b.shards[next])
		}
	}
}

func (b *Broker) sweep(s *shard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := b.now()
	for _, st := range s.streams {
		if st.over(now) {
			b.remove(s, st)
			continue
		}
		b.dropAged(st, now)
		if st.mortal {
			b.dropExpired(st, now)
		}
		s.unused.settle(st)
	}
}

// dropExpired frees the payloads of messages past their TTL. The messages stay, as
// their place counts.
func (b *Broker) dropExpired(st *stream, now time.Duration) {
	freed := int64(0)
	st.mortal = false
	for i := range st.kept.n {
		switch m := st.kept.get(i); {
		case m.expired(now):
			freed += int64(cap(m.payload))
			m.payload = nil
		case m.expires > 0:
			st.mortal = true
		}
	}
	b.account(st, -freed)
}
