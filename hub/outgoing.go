package hub

import (
	"context"
	"sync"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/hub/internal/registry"
)

// outgoing carries receipts and replies to the nodes that wait for them, in
// batches, so that neither lanes nor connections wait for the broker. It has a
// goroutine only while there is something to carry.
type outgoing struct {
	hub  *Hub
	work sync.WaitGroup

	mu      sync.Mutex // guards all below
	queue   []report
	running bool
}

// report is one receipt, or a reply that is written already, for a node.
type report struct {
	to    string
	note  envelope.Receipt
	reply []byte
}

const (
	// maxReports bounds what waits; past it answers are lost, and who waits for
	// them says that his own is incomplete.
	maxReports = 1 << 14
	// reportsAtOnce bounds one batch.
	reportsAtOnce = 512
	// reportTimeout bounds the publishing of a batch.
	reportTimeout = time.Second
)

func newOutgoing(h *Hub) *outgoing { return &outgoing{hub: h} }

// add queues an answer and never waits.
func (o *outgoing) add(a report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) >= maxReports {
		o.hub.metrics.FanoutDropped.Inc()
		return
	}
	o.queue = append(o.queue, a)
	if !o.running {
		o.running = true
		o.work.Go(o.run)
	}
}

func (o *outgoing) run() {
	for batch := o.take(); batch != nil; batch = o.take() {
		ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
		o.hub.guard.Run("answers to nodes", func() { o.publish(ctx, merge(batch)) })
		cancel()
	}
}

func (o *outgoing) take() []report {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(o.queue), reportsAtOnce)
	if n == 0 {
		o.queue, o.running = nil, false
		return nil
	}
	batch := o.queue[:n:n]
	o.queue = o.queue[n:]
	return batch
}

// merge makes one receipt of all that one request gets: a push to a thousand users
// is reported on in one message.
func merge(batch []report) []report {
	type key struct {
		to      string
		request uint64
	}
	first := map[key]int{}
	out := batch[:0]
	for _, a := range batch {
		k := key{a.to, a.note.Request}
		if i, ok := first[k]; ok && a.reply == nil {
			n := &out[i].note
			n.Messages += a.note.Messages
			n.Matched = n.Matched || a.note.Matched
			n.Delivered += a.note.Delivered
			n.Slow += a.note.Slow
			n.Acked += a.note.Acked
			continue
		}
		if a.reply == nil {
			first[k] = len(out)
		}
		out = append(out, a)
	}
	return out
}

func (o *outgoing) publish(ctx context.Context, batch []report) {
	pubs := make([]broker.Publication, len(batch))
	for i := range batch {
		payload := batch[i].reply
		if payload == nil {
			payload = batch[i].note.Append(nil)
		}
		pubs[i] = broker.Publication{Topic: registry.NodeTopic + batch[i].to, Payload: payload}
	}
	o.hub.broker.Publish(ctx, pubs)
	for i := range pubs {
		if err := pubs[i].Err; err != nil {
			o.hub.log.Debug("answer to a node lost", "other_node", batch[i].to, "err", err)
		}
	}
}

// receipt reports to whoever waits for it.
func (h *Hub) receipt(to envelope.ReturnAddress, n envelope.Receipt) {
	n.Request, n.Node, n.Messages = to.Request, h.node, 1
	if to.Node == h.node {
		h.waiters.receipt(n)
		return
	}
	h.outgoing.add(report{to: to.Node, note: n})
}
