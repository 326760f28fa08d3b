package receipt

import (
	"sync"
	"sync/atomic"
	"time"
)

// Outcome is what became of one Send.
type Outcome uint8

// The outcomes of Send.
const (
	Written Outcome = iota // handed to the socket whole
	Slow                   // the outbox was full; the connection is closed
	Gone                   // the connection ended before
)

// Receipt counts what becomes of one message on this node, and reports once:
// when every Send has its outcome, or when the publisher waits no longer.
type Receipt struct {
	of        *Receipts
	pending   atomic.Int64 // Sends without outcome, confirmations to come, and 1 until all are begun
	delivered atomic.Uint64
	slow      atomic.Uint64
	acked     atomic.Uint64
	reported  atomic.Bool
	report    func(*Receipt)
	timer     *time.Timer // guarded by of.mu
}

// Receipts are those that are still open.
type Receipts struct {
	mu   sync.Mutex // guards open
	open map[*Receipt]struct{}
	work sync.WaitGroup
}

// Begin makes a receipt over some Sends to come; all of them are begun when
// begun is called.
func (s *Receipts) Begin(sends int, wait time.Duration, report func(*Receipt)) *Receipt {
	r := &Receipt{of: s, report: report}
	r.pending.Store(int64(sends) + 1)
	s.work.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*Receipt]struct{}{}
	}
	s.open[r] = struct{}{}
	r.timer = time.AfterFunc(wait, r.finish)
	return r
}

// Close reports what is still counted, as it stands, and waits until everything
// is reported.
func (s *Receipts) Close() {
	s.mu.Lock()
	left := make([]*Receipt, 0, len(s.open))
	for r := range s.open {
		left = append(left, r)
	}
	s.mu.Unlock()
	for _, r := range left {
		r.finish()
	}
	s.work.Wait()
}

// Begun says that every Send is begun.
func (r *Receipt) Begun() { r.settle() }

// Done takes the outcome of one Send.
func (r *Receipt) Done(o Outcome) {
	switch o {
	case Written:
		r.delivered.Add(1)
	case Slow:
		r.slow.Add(1)
	case Gone:
	}
	r.settle()
}

// Counts are the connections it was written to, those that were slow, and those whose
// clients confirmed it.
func (r *Receipt) Counts() (delivered, slow, acked uint64) {
	return r.delivered.Load(), r.slow.Load(), r.acked.Load()
}

func (r *Receipt) settle() {
	if r.pending.Add(-1) == 0 {
		r.finish()
	}
}

func (r *Receipt) finish() {
	if r.reported.Swap(true) {
		return
	}
	r.of.mu.Lock()
	r.timer.Stop()
	delete(r.of.open, r)
	r.of.mu.Unlock()
	r.report(r)
	r.of.work.Done()
}
