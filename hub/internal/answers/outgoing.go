package answers

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/hub/internal/registry"
	"github.com/pushcart/pushcart/internal/guard"
)

// Outgoing carries receipts and replies to the nodes that wait for them, in
// batches, so that neither lanes nor connections wait for the broker. It has a
// goroutine only while there is something to carry.
type Outgoing struct {
	broker broker.Broker
	guard  *guard.Guard
	log    *slog.Logger
	lost   prometheus.Counter // answers that found no room
	work   sync.WaitGroup

	mu      sync.Mutex // guards all below
	queue   []Report
	running bool
}

// Report is one receipt, or a reply that is written already, for a node.
type Report struct {
	To    string
	Note  envelope.Receipt
	Reply []byte
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

// NewOutgoing returns the way out of a node; lost counts answers that found no room.
func NewOutgoing(b broker.Broker, g *guard.Guard, log *slog.Logger, lost prometheus.Counter) *Outgoing {
	return &Outgoing{broker: b, guard: g, log: log, lost: lost}
}

// Wait waits until what was added is sent, or lost.
func (o *Outgoing) Wait() { o.work.Wait() }

// Add queues an answer and never waits.
func (o *Outgoing) Add(a Report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) >= maxReports {
		o.lost.Inc()
		return
	}
	o.queue = append(o.queue, a)
	if !o.running {
		o.running = true
		o.work.Go(o.run)
	}
}

func (o *Outgoing) run() {
	for batch := o.take(); batch != nil; batch = o.take() {
		ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
		o.guard.Run("answers to nodes", func() { o.publish(ctx, merge(batch)) })
		cancel()
	}
}

func (o *Outgoing) take() []Report {
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
func merge(batch []Report) []Report {
	type key struct {
		to      string
		request uint64
	}
	first := map[key]int{}
	out := batch[:0]
	for _, a := range batch {
		k := key{a.To, a.Note.Request}
		if i, ok := first[k]; ok && a.Reply == nil {
			n := &out[i].Note
			n.Messages += a.Note.Messages
			n.Matched = n.Matched || a.Note.Matched
			n.Delivered += a.Note.Delivered
			n.Slow += a.Note.Slow
			n.Acked += a.Note.Acked
			continue
		}
		if a.Reply == nil {
			first[k] = len(out)
		}
		out = append(out, a)
	}
	return out
}

func (o *Outgoing) publish(ctx context.Context, batch []Report) {
	pubs := make([]broker.Publication, len(batch))
	for i := range batch {
		payload := batch[i].Reply
		if payload == nil {
			payload = batch[i].Note.Append(nil)
		}
		pubs[i] = broker.Publication{Topic: registry.NodeTopic + batch[i].To, Payload: payload}
	}
	o.broker.Publish(ctx, pubs)
	for i := range pubs {
		if err := pubs[i].Err; err != nil {
			o.log.Debug("answer to a node lost", "other_node", batch[i].To, "err", err)
		}
	}
}
