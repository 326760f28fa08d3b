package push

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// answers are what this node waits to hear from others.
type answers struct {
	mu   sync.Mutex // guards all below, and the fields of every waiter
	last uint64
	open map[uint64]*waiter
}

// waiter collects what nodes say to one push or request.
type waiter struct {
	number  uint64
	of      *answers
	want    int // messages to come; -1: not known yet
	got     int
	nodes   map[string]bool // of those that had a connection
	slow    uint64
	written uint64
	replies []reply
	done    chan struct{} // closed when got reached want
}

func newAnswers() *answers { return &answers{open: map[uint64]*waiter{}} }

// begin makes a waiter; the caller must end it.
func (a *answers) begin() *waiter {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	w := &waiter{number: a.last, of: a, want: -1, nodes: map[string]bool{}, done: make(chan struct{})}
	a.open[w.number] = w
	return w
}

func (w *waiter) end() {
	w.of.mu.Lock()
	delete(w.of.open, w.number)
	w.of.mu.Unlock()
}

// expect says how many answers will come.
func (w *waiter) expect(n int) {
	w.of.mu.Lock()
	w.want = n
	w.checkLocked()
	w.of.mu.Unlock()
}

func (w *waiter) checkLocked() {
	if w.want >= 0 && w.got >= w.want {
		select {
		case <-w.done:
		default:
			close(w.done)
		}
	}
}

// wait returns when all came, or after at most d, or when ctx ends; true: all
// came.
func (w *waiter) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.done:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

func (a *answers) receipt(n receiptNote) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.open[n.request]
	if w == nil {
		return // the publisher waits no longer
	}
	w.got++
	w.written += n.delivered
	w.slow += n.slow
	if n.matched {
		w.nodes[n.node] = true
	}
	w.checkLocked()
}

func (a *answers) reply(b []byte) {
	var r reply
	if json.Unmarshal(b, &r) != nil {
		return // of another version; the one who asked says that it is incomplete
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.open[r.Request]; w != nil {
		w.got++
		w.replies = append(w.replies, r)
		w.checkLocked()
	}
}

// collected are the sums so far.
func (w *waiter) collected() (nodes int, written, slow uint64) {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	return len(w.nodes), w.written, w.slow
}

func (w *waiter) heard() []reply {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	return append([]reply(nil), w.replies...)
}

// answer sends a receipt to where it is waited for.
func (h *Hub) answer(to returnAddress, n receiptNote) {
	if to.node == h.node {
		h.answers.receipt(n)
		return
	}
	h.sendBack(to.node, n.append(nil))
}

// answerTimeout bounds the publishing of an answer; who asked waits no longer.
const answerTimeout = time.Second

// sendBack publishes to a node's inbox without keeping the caller, who may hold
// a lane.
func (h *Hub) sendBack(node string, payload []byte) {
	h.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
		defer cancel()
		p := []broker.Publication{{Topic: nodeTopic + node, Payload: payload}}
		h.broker.Publish(ctx, p)
		if p[0].Err != nil {
			h.log.Debug("answer to a node lost", "node", node, "err", p[0].Err)
		}
	})
}
