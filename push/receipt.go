package push

import (
	"sync/atomic"
	"time"
)

// receipt counts what becomes of one message on this node, and reports once:
// when every Send has its outcome, or when the publisher waits no longer.
type receipt struct {
	pending   atomic.Int64 // Sends without outcome, and 1 until all are begun
	delivered atomic.Uint64
	slow      atomic.Uint64
	reported  atomic.Bool
	report    func(delivered, slow uint64)
	timer     *time.Timer
}

func newReceipt(wait time.Duration, report func(delivered, slow uint64)) *receipt {
	r := &receipt{report: report}
	r.pending.Store(1)
	r.timer = time.AfterFunc(wait, r.finish)
	return r
}

// expect announces n Sends.
func (r *receipt) expect(n int) { r.pending.Add(int64(n)) }

// begun says that all Sends are announced.
func (r *receipt) begun() { r.settle() }

func (r *receipt) done(o Outcome) {
	switch o {
	case Written:
		r.delivered.Add(1)
	case Slow:
		r.slow.Add(1)
	}
	r.settle()
}

func (r *receipt) settle() {
	if r.pending.Add(-1) == 0 {
		r.timer.Stop()
		r.finish()
	}
}

func (r *receipt) finish() {
	if !r.reported.Swap(true) {
		r.report(r.delivered.Load(), r.slow.Load())
	}
}
