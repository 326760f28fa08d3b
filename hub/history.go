package hub

import (
	"context"
	"errors"
	"fmt"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/envelope"
)

// ErrNoHistory means that the rules keep no history of the topic.
var ErrNoHistory = errors.New("hub: nothing is kept")

// Kept is a message of a stream as history returns it.
type Kept struct {
	// Position is its place in the stream.
	Position
	// Kind and Data are the payload.
	Kind Kind
	Data []byte
	// ID names the message; Event is what the push calls it, "" if nothing.
	ID, Event string
	// From is the user that published it, "" for the backend.
	From string
	// Except are the users that are not to get it.
	Except []string
	// Accepted is when the push was accepted, in Unix nanoseconds.
	Accepted int64
}

// HistoryQuery asks for messages of a stream.
type HistoryQuery struct {
	// Topic is whose, like "channel:news".
	Topic string
	// After is the position to read from, nil for the oldest message that is kept.
	// Without an epoch the current one is meant.
	After *Position
	// Limit bounds the messages; 0, or more than broker.MaxRead, is that.
	Limit int
}

// HistoryPage is the kept part of a stream from some position on.
type HistoryPage struct {
	// Messages are in order. Their payloads are about broker.MaxReadBytes at most.
	Messages []Kept
	// Position is the stream's end.
	Position Position
	// Gap: messages after HistoryQuery.After are lost, and Messages begin with the oldest
	// that is kept.
	Gap bool
	// More: there are others after the last of Messages.
	More bool
}

// History reads messages of a stream. The error wraps ErrNoHistory, or the broker's error
// if it does not answer.
func (h *Hub) History(ctx context.Context, q HistoryQuery) (page HistoryPage, err error) {
	keep, err := h.kept(q.Topic)
	if err != nil {
		return HistoryPage{}, fmt.Errorf("read history: %w", err)
	}
	ask := broker.Query{Topic: q.Topic, Keep: keep, Whole: q.After == nil, Limit: q.Limit}
	if q.After != nil {
		ask.After = *q.After
	}
	for {
		r, err := h.broker.Read(ctx, ask)
		if err != nil {
			return HistoryPage{}, fmt.Errorf("read history: %w", err)
		}
		page.Messages, page.Position, page.More = h.readable(q.Topic, r.Messages), r.Current, r.More
		page.Gap = page.Gap || r.Gap
		if len(page.Messages) > 0 || !page.More {
			return page, nil
		}
		// A page without messages, as all were past their TTL or another version's, has no
		// place from which its reader could go on.
		ask.Whole, ask.After = false, Position{Offset: r.Reached, Epoch: r.Current.Epoch}
	}
}

// Forget deletes the history of a topic. Its position stays, and earlier positions become
// gaps. Errors are those of History.
func (h *Hub) Forget(ctx context.Context, topic string) error {
	_, err := h.kept(topic)
	if err == nil {
		err = h.broker.Forget(ctx, topic)
	}
	if err != nil {
		return fmt.Errorf("forget history: %w", err)
	}
	return nil
}

// kept is what the rules keep of a topic.
func (h *Hub) kept(topic string) (broker.Retention, error) {
	keep := h.rules.Load().Retention(topic)
	if !keep.Keeps() {
		return keep, ErrNoHistory
	}
	return keep, nil
}

// readable are the messages that this version can read.
func (h *Hub) readable(topic string, messages []broker.Message) []Kept {
	out := make([]Kept, 0, len(messages))
	for i := range messages {
		m := &messages[i]
		e, err := parseKept(m.Payload)
		if err != nil {
			h.unreadable(topic, err)
			continue
		}
		out = append(out, Kept{
			Position: m.Position, Kind: e.Kind, Data: e.Payload, ID: e.ID, Event: e.Event, From: e.From, Except: e.Except.Users, Accepted: e.Accepted,
		})
	}
	return out
}

// parseKept reads an envelope that was kept: a push that stands alone.
func parseKept(b []byte) (envelope.Envelope, error) {
	if envelope.KindOf(b) != envelope.PushKind {
		return envelope.Envelope{}, envelope.ErrUnreadable
	}
	e, err := envelope.Parse(b)
	if err == nil && e.Bulk != nil && !e.Bulk.Whole {
		err = envelope.ErrUnreadable
	}
	return e, err
}
