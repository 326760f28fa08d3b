package hub

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/hub/internal/registry"
	"github.com/pushcart/pushcart/internal/apierror"
)

const (
	// publishAtOnce bounds what one call hands to the broker, and publishBytes its
	// payloads, unless one alone has more: what is kept goes to each destination whole.
	publishAtOnce = 1024
	publishBytes  = 8 << 20
	// countTimeout is how long pushes without a wait wait for nodes to say that they
	// had one of several targets, which only tells how many nodes that were.
	countTimeout = 250 * time.Millisecond
)

// outcome is what became of one push: a result or an error.
type Published struct {
	Result
	Err *apierror.Error
}

// publishing is what a call of publish needs while it runs; pooled.
type publishing struct {
	plans []plan
	pubs  []broker.Publication
}

var publishings = sync.Pool{New: func() any { return new(publishing) }}

// publish sends pushes, in order, to the nodes that hold their targets, and says
// what became of each in out, which is as long as pushes.
func (h *Hub) Publish(ctx context.Context, pushes []*Push, out []Published) {
	w := publishings.Get().(*publishing)
	now := time.Now()
	for _, p := range pushes {
		var one plan
		one, w.pubs = h.plan(p, now, w.pubs)
		w.plans = append(w.plans, one)
	}
	confirmed := h.handOver(ctx, w.pubs)
	var counted time.Time // until when nodes may answer where they are only counted
	for i := range w.plans {
		p := &w.plans[i]
		if p.waiter != nil && p.push.Wait == 0 {
			if counted.IsZero() {
				counted = time.Now().Add(countTimeout)
			}
			p.deadline = counted
		}
		out[i] = h.outcome(ctx, p, w.pubs[p.first:p.end])
		h.pushes.count(p.push.To.label(), &out[i])
	}
	if confirmed && cap(w.pubs) <= publishAtOnce { // else the broker may still hold some
		clear(w.plans)
		clear(w.pubs)
		w.plans, w.pubs = w.plans[:0], w.pubs[:0]
		publishings.Put(w)
	}
}

// handOver publishes in parts, and does what publishers have to do for the lanes.
// After a part that the broker did not confirm the rest is not tried.
func (h *Hub) handOver(ctx context.Context, pubs []broker.Publication) (confirmed bool) {
	confirmed = true
	for len(pubs) > 0 {
		part := nextPart(pubs)
		pubs = pubs[len(part):]
		h.broker.Publish(ctx, part)
		for i := range part {
			if err := part[i].Err; err != nil && !errors.Is(err, broker.ErrConflict) {
				confirmed = false
			} else if part[i].Nodes > 0 && !isBulk(&part[i]) {
				h.lanes.published(ctx, h.lanes.to(part[i].Topic, envelope.PushKind))
			}
		}
		if !confirmed {
			for i := range pubs {
				pubs[i].Err = broker.ErrUnavailable
			}
			return false
		}
	}
	return confirmed
}

// nextPart is what goes to the broker at once. A bulk goes alone, as what refers to it
// must not be sent without it.
func nextPart(pubs []broker.Publication) []broker.Publication {
	n, size := 0, 0
	for n < len(pubs) && n < publishAtOnce && !isBulk(&pubs[n]) {
		if size += len(pubs[n].Payload); size > publishBytes {
			break
		}
		n++
	}
	return pubs[:max(n, 1)]
}

func isBulk(p *broker.Publication) bool { return envelope.KindOf(p.Payload) == envelope.BulkKind }

// outcome waits for the receipts of a push, where it needs them.
func (h *Hub) outcome(ctx context.Context, p *plan, pubs []broker.Publication) Published {
	out := Published{Result: Result{ID: p.id, Waited: p.push.Wait > 0, Asked: p.push.Ack}}
	if p.waiter != nil {
		defer p.waiter.End()
	}
	if out.Err = failure(pubs, p.push.ID); out.Err != nil {
		return out
	}
	out.Duplicate = len(pubs) > 0
	sum := 0
	for i := range pubs {
		sum += pubs[i].Nodes
		out.Duplicate = out.Duplicate && pubs[i].Duplicate
		if p := pubs[i].Position; p.Offset > 0 {
			out.Positions = append(out.Positions, Placed{pubs[i].Topic, p})
		}
	}
	out.Nodes = sum
	if h.alone {
		out.Nodes = min(sum, 1)
	}
	if p.waiter == nil || sum == 0 {
		return out
	}
	p.waiter.Expect(sum)
	p.waiter.Wait(ctx, p.deadline)
	t := p.waiter.Collected()
	out.Delivered, out.Slow, out.Acked = t.Delivered, t.Slow, t.Acked
	if !h.alone && !exact(pubs) {
		// A node that is silent was sent each destination once at most.
		missing := sum - int(t.Messages)
		out.Nodes = len(t.Nodes) + (missing+len(pubs)-1)/len(pubs)
	}
	return out
}

// exact: there is one destination, to which exactly those nodes are subscribed
// that the push is for, so that the broker's count is the number of nodes.
func exact(pubs []broker.Publication) bool {
	kind, _ := registry.SplitTopic(pubs[0].Topic)
	return len(pubs) == 1 && kind != registry.NodeTopic
}

// failure is the worst that happened to a push's publications; id is the push's own.
func failure(pubs []broker.Publication, id string) *apierror.Error {
	var err *apierror.Error
	for i := range pubs {
		switch e := pubs[i].Err; {
		case e == nil:
		case errors.Is(e, broker.ErrConflict):
			return &apierror.Error{
				Code: apierror.Conflict, Field: "id", ID: id,
				Message: "id: was used with different content in the last 5 minutes",
			}
		default:
			err = &apierror.Error{Code: apierror.Unavailable, ID: id, Message: unconfirmedPush + adviceWithout}
			if id != "" {
				err.Message = unconfirmedPush + adviceWith
			}
		}
	}
	return err
}

// What is said of a push that the broker did not confirm (SPEC §6.3).
const (
	unconfirmedPush = "the broker did not confirm: none, some or all destinations may get it; "
	adviceWith      = "a retry with this id within 5 minutes reaches exactly those that did not"
	adviceWithout   = "as the push has no id, a retry may deliver it twice"
)
