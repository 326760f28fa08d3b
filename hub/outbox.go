package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/pushcart/pushcart/hub/internal/registry"
)

// Outbox holds the events that this node has to send to the backend. Its functions must
// not block.
type Outbox interface {
	// Waiting returns the events behind a rank, "" for all, in order of rank, at most
	// limit; more: there are others.
	Waiting(after string, limit int) (page []Pending, more bool)
	// Find returns one by its id, Hurry also makes it due now, and Drop has it not told;
	// false: none of this id waits here.
	Find(id string) (Pending, bool)
	Hurry(id string) (Pending, bool)
	Drop(id string) (Pending, bool)
}

// Pending is an event that waits for delivery to the backend, or was given up, as the API
// shows it.
type Pending struct {
	// ID is its ce-id, Event its name.
	ID    string `json:"id"`
	Event string `json:"event"`
	// Connection, User and Channel are what it is about.
	Connection string `json:"connection_id,omitempty"`
	User       string `json:"user_id,omitempty"`
	Channel    string `json:"channel,omitempty"`
	// Time is when it happened.
	Time time.Time `json:"time"`
	// Data is its payload.
	Data json.RawMessage `json:"data,omitempty"`
	// Tries is how often it was sent, Due when it is sent next, where that is known, and
	// Reason why it was not taken.
	Tries  int       `json:"tries,omitempty"`
	Due    time.Time `json:"due,omitzero"`
	Reason string    `json:"reason,omitempty"`
	// GivenUp is when it became a dead letter.
	GivenUp time.Time `json:"given_up,omitzero"`
	// Rank orders those that wait, over all nodes.
	Rank string `json:"rank,omitempty"`
	// Node has it.
	Node string `json:"node_id,omitempty"`
}

// SetOutbox sets this node's outbox. Call it before Start.
func (h *Hub) SetOutbox(o Outbox) { h.outbox = o }

// ListWaiting returns a page of the events that wait on all nodes, in order, after a
// rank; next is the rank to continue after, "" at the end.
func (h *Hub) ListWaiting(ctx context.Context, after string, limit int) (page []Pending, next string, complete bool, err error) {
	replies, complete, err := h.gather(ctx, registry.AllTopic, request{Op: opWaiting, After: after, Most: limit})
	if err != nil {
		return nil, "", false, err
	}
	page, next = mergeWaiting(replies, limit)
	return page, next, complete, nil
}

// mergeWaiting puts the pages of several nodes in order. What is behind the end of a
// page that goes on is left for the next.
func mergeWaiting(replies []reply, limit int) (page []Pending, next string) {
	certain := ""
	for _, r := range replies {
		page = append(page, r.Waiting...)
		if n := len(r.Waiting); r.More && n > 0 {
			if last := r.Waiting[n-1].Rank; certain == "" || last < certain {
				certain = last
			}
		}
	}
	slices.SortFunc(page, func(a, b Pending) int { return cmp.Compare(a.Rank, b.Rank) })
	n := len(page)
	if certain != "" {
		page = slices.DeleteFunc(page, func(p Pending) bool { return p.Rank > certain })
	}
	page = page[:min(len(page), limit)]
	if (certain != "" || len(page) < n) && len(page) > 0 {
		next = page[len(page)-1].Rank
	}
	return page, next
}

// FindWaiting returns the event with an id, if it waits on a node. complete means that
// all nodes answered.
func (h *Hub) FindWaiting(ctx context.Context, id string) (p Pending, found, complete bool, err error) {
	return h.askWaiting(ctx, opFindWaiting, id)
}

// HurryWaiting makes the event due now.
func (h *Hub) HurryWaiting(ctx context.Context, id string) (p Pending, found, complete bool, err error) {
	return h.askWaiting(ctx, opHurryWaiting, id)
}

// DropWaiting drops the event.
func (h *Hub) DropWaiting(ctx context.Context, id string) (p Pending, found, complete bool, err error) {
	return h.askWaiting(ctx, opDropWaiting, id)
}

// askWaiting asks all nodes, as nobody knows which has it.
func (h *Hub) askWaiting(ctx context.Context, op, id string) (p Pending, found, complete bool, err error) {
	replies, complete, err := h.gather(ctx, registry.AllTopic, request{Op: op, Event: id})
	for _, r := range replies {
		if len(r.Waiting) > 0 {
			p, found = r.Waiting[0], true
		}
	}
	return p, found, complete, err
}

// serveWaiting is this node's part of it.
func (h *Hub) serveWaiting(q *request, out *reply) {
	if h.outbox == nil {
		return
	}
	one := map[string]func(string) (Pending, bool){
		opFindWaiting: h.outbox.Find, opHurryWaiting: h.outbox.Hurry, opDropWaiting: h.outbox.Drop,
	}[q.Op]
	if one == nil {
		out.Waiting, out.More = h.outbox.Waiting(q.After, q.Most)
	} else if p, ok := one(q.Event); ok {
		out.Waiting = []Pending{p}
	}
	for i := range out.Waiting {
		out.Waiting[i].Node = h.node
	}
}
