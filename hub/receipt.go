package hub

import (
	"sync"
	"sync/atomic"
	"time"
)

// receipt counts what becomes of one message on this node, and reports once:
// when every Send has its outcome, or when the publisher waits no longer.
type receipt struct {
	of        *receipts
	pending   atomic.Int64 // Sends without outcome, confirmations to come, and 1 until all are begun
	delivered atomic.Uint64
	slow      atomic.Uint64
	acked     atomic.Uint64
	reported  atomic.Bool
	report    func(*receipt)
	timer     *time.Timer // guarded by of.mu
}

// receipts are those that this node still counts for.
type receipts struct {
	mu   sync.Mutex // guards open
	open map[*receipt]struct{}
	work sync.WaitGroup
}

// begin makes a receipt over some Sends to come; all of them are begun when
// begun is called.
func (s *receipts) begin(sends int, wait time.Duration, report func(*receipt)) *receipt {
	r := &receipt{of: s, report: report}
	r.pending.Store(int64(sends) + 1)
	s.work.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*receipt]struct{}{}
	}
	s.open[r] = struct{}{}
	r.timer = time.AfterFunc(wait, r.finish)
	return r
}

// close reports what is still counted, as it stands, and waits until everything
// is reported.
func (s *receipts) close() {
	s.mu.Lock()
	left := make([]*receipt, 0, len(s.open))
	for r := range s.open {
		left = append(left, r)
	}
	s.mu.Unlock()
	for _, r := range left {
		r.finish()
	}
	s.work.Wait()
}

func (r *receipt) begun() { r.settle() }

func (r *receipt) done(o Outcome) {
	switch o {
	case Written:
		r.delivered.Add(1)
	case Slow:
		r.slow.Add(1)
	case Gone:
	}
	r.settle()
}

func (r *receipt) settle() {
	if r.pending.Add(-1) == 0 {
		r.finish()
	}
}

func (r *receipt) finish() {
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
