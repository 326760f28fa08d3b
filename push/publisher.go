package push

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/apierror"
)

// Push is one push whose fields were checked (SPEC §6.1).
type Push struct {
	to    targets
	kind  Kind
	data  []byte
	event string
	id    string // "" for none
	wait  time.Duration
}

// Result is the answer to one push.
type Result struct {
	ID        string  `json:"id"`
	Nodes     int     `json:"nodes"`
	Delivered *uint64 `json:"delivered,omitempty"`
	Slow      *uint64 `json:"slow,omitempty"`
	Duplicate bool    `json:"duplicate"`
}

// Publish sends a push to the nodes that hold its targets and says what became
// of it. The error is an *apierror.Error.
func (h *Hub) Publish(ctx context.Context, p *Push) (Result, error) {
	r, err := h.publish(ctx, p)
	h.metrics.Pushes.WithLabelValues(p.to.label(), resultLabel(r, err)).Inc()
	return r, err
}

func (h *Hub) publish(ctx context.Context, p *Push) (Result, error) {
	out := Result{ID: p.id}
	if out.ID == "" {
		out.ID = newID()
	}
	e := envelope{kind: p.kind, accepted: time.Now().UnixNano(), payload: p.data}
	if !p.to.plain() {
		e.targets = &p.to
	}
	topics := h.topicsOf(p)
	var w *waiter
	if p.wait > 0 || len(topics) > 1 || len(p.to.connections) > 0 {
		w = h.answers.begin()
		defer w.end()
		e.receipt = &returnAddress{node: h.node, request: w.number, wait: uint64(p.wait / time.Millisecond)}
	}
	batch := make([]broker.Publication, len(topics))
	for i, t := range topics {
		e.index = t.index
		batch[i] = broker.Publication{Topic: t.name, Payload: e.append(make([]byte, 0, 48+len(p.data))), ID: p.id}
		if p.id != "" {
			batch[i].Digest = p.digest()
		}
	}
	h.broker.Publish(ctx, batch)
	if err := failure(batch, p.id); err != nil {
		return out, err
	}
	out.Duplicate = len(batch) > 0
	for i := range batch {
		out.Nodes += batch[i].Nodes
		out.Duplicate = out.Duplicate && batch[i].Duplicate
	}
	if w != nil && !out.Duplicate {
		h.await(ctx, w, p, &out)
	}
	return out, nil
}

// await turns the counts of messages into those of nodes and connections.
func (h *Hub) await(ctx context.Context, w *waiter, p *Push, out *Result) {
	w.expect(out.Nodes)
	limit := gatherTimeout
	if p.wait > 0 {
		limit = p.wait + p.wait/4 + 50*time.Millisecond // for the way back of receipts
	}
	w.wait(ctx, limit)
	nodes, written, slow := w.collected()
	if !p.to.single() {
		out.Nodes = nodes
	}
	if p.wait > 0 {
		out.Delivered, out.Slow = &written, &slow
	}
}

// place is a topic of a push and the index of its first target there.
type place struct {
	name  string
	index int
}

// topicsOf lists where a push goes, in the order of its targets.
func (h *Hub) topicsOf(p *Push) []place {
	t := &p.to
	out := make([]place, 0, len(t.users)+len(t.channels)+1)
	for i, u := range t.users {
		out = append(out, place{userTopic + u, i})
	}
	for i, c := range t.channels {
		out = append(out, place{channelTopic + c, len(t.users) + i})
	}
	index := len(t.users) + len(t.channels)
	var seen []string
	for _, id := range t.connections {
		node, _, ok := parseConnectionID(id)
		if !ok || slices.Contains(seen, node) || node == h.node && h.noneHere(t.connections) {
			continue // nobody has it: not an error, and no node to ask
		}
		seen = append(seen, node)
		out = append(out, place{nodeTopic + node, index})
	}
	if t.all {
		out = append(out, place{topicAll, index + 1})
	}
	return out
}

func (h *Hub) noneHere(connections []string) bool {
	return !slices.ContainsFunc(connections, func(id string) bool { return h.connection(id) != nil })
}

// plain: nothing but the topic decides who gets it.
func (t *targets) plain() bool {
	return len(t.users)+len(t.channels)+boolInt(t.all) == 1 && len(t.connections) == 0 && !t.excepts()
}

// single: one topic that only nodes with such a connection are subscribed to, so
// that the broker's count is the number of nodes.
func (t *targets) single() bool {
	return len(t.users)+len(t.channels)+boolInt(t.all) == 1 && len(t.connections) == 0
}

func (t *targets) excepts() bool { return len(t.exceptUsers)+len(t.exceptConnection) > 0 }

// label is the push's kind of target, for the metric.
func (t *targets) label() string {
	kinds, label := 0, "none"
	for _, k := range []struct {
		is   bool
		name string
	}{{len(t.users) > 0, "user"}, {len(t.channels) > 0, "channel"}, {len(t.connections) > 0, "connection"}, {t.all, "all"}} {
		if k.is {
			kinds, label = kinds+1, k.name
		}
	}
	if kinds > 1 {
		return "mixed"
	}
	return label
}

func boolInt(b bool) int { return int(boolByte(b)) }

// digest tells the content of two pushes with one id apart.
func (p *Push) digest() uint64 {
	d := xxhash.New()
	_, _ = d.WriteString(strconv.Itoa(int(p.kind)) + ":" + strconv.Itoa(len(p.event)) + ":" + p.event)
	_, _ = d.Write(p.data)
	return d.Sum64()
}

// failure is the worst that happened to a push's publications.
func failure(batch []broker.Publication, id string) error {
	for i := range batch {
		if errors.Is(batch[i].Err, broker.ErrConflict) {
			return &apierror.Error{Code: apierror.Conflict, Message: "id was used for other content", Field: "id", ID: id}
		}
	}
	for i := range batch {
		if batch[i].Err != nil {
			return &apierror.Error{Code: apierror.Unavailable, Message: unconfirmed(id), ID: id}
		}
	}
	return nil
}

func unconfirmed(id string) string {
	const what = "the broker did not confirm: none, some or all destinations may get it"
	if id == "" {
		return what + "; give an id to make a retry safe"
	}
	return what + "; a retry with this id within 5 minutes reaches those that did not"
}

func resultLabel(r Result, err error) string {
	var e *apierror.Error
	switch {
	case errors.As(err, &e):
		return string(e.Code)
	case r.Duplicate:
		return "duplicate"
	}
	return "ok"
}

func newID() string {
	id, err := uuid.NewV7()
	if err != nil { // crypto/rand never fails
		return NewNodeID()
	}
	return id.String()
}
