package streams

import (
	"sync/atomic"

	"github.com/pushcart/pushcart/broker"
)

// tail is the latest messages of a stream that came to this node, without a gap between
// them: whoever goes on with what comes reads the last few from here, and many who come
// back at once ask Redis for nothing. It is let go when a while passes without a message.
type tail struct {
	messages []broker.Message
	bytes    int
	used     bool          // since the last round
	of       *atomic.Int64 // the bytes of all tails of the node
}

// What a tail holds at most, and all together: past maxTails one starts over with each
// message.
const (
	maxTailMessages = 64
	maxTailBytes    = 64 << 10
	maxTails        = 64 << 20
)

// drop lets all go.
func (t *tail) drop() {
	t.of.Add(int64(-t.bytes))
	t.messages, t.bytes, t.used = nil, 0, false
}

func (t *tail) add(m broker.Message) {
	n := len(t.messages)
	if n > 0 && t.messages[n-1].Position.Offset+1 != m.Position.Offset || t.of.Load() > maxTails {
		t.drop()
	}
	if len(t.messages) >= maxTailMessages || t.bytes+len(m.Payload) > maxTailBytes {
		t.halve()
	}
	if len(m.Payload) > maxTailBytes {
		t.drop()
		return
	}
	t.messages = append(t.messages, m)
	t.bytes += len(m.Payload)
	t.of.Add(int64(len(m.Payload)))
	t.used = true
}

// halve lets the older half go, until there is room for half of everything.
func (t *tail) halve() {
	for len(t.messages) > maxTailMessages/2 || t.bytes > maxTailBytes/2 {
		t.bytes -= len(t.messages[0].Payload)
		t.of.Add(-int64(len(t.messages[0].Payload)))
		t.messages = t.messages[1:]
	}
	t.messages = append([]broker.Message(nil), t.messages...)
}

// age lets the tail of a stream go that is silent.
func (t *tail) age() {
	if !t.used {
		t.drop()
	}
	t.used = false
}

// read answers a query if the tail, which ends at a position, has all of the answer. now
// is Redis' clock in Unix milliseconds.
func (t *tail) read(q *broker.Query, at broker.Position, now int64) (r broker.Range, ok bool) {
	after := q.After.Offset
	switch {
	case q.End:
		return broker.Range{Current: at, Reached: at.Offset}, true
	case q.Whole:
		return broker.Range{}, false
	case q.Last > 0:
		after = at.Offset - min(at.Offset, uint64(q.Last))
	case q.After.Epoch != "" && q.After.Epoch != at.Epoch, after > at.Offset:
		return broker.Range{}, false
	}
	r.Current, r.Reached = at, after
	if after == at.Offset {
		return r, true
	}
	if len(t.messages) == 0 || t.messages[0].Position.Offset > after+1 {
		return broker.Range{}, false
	}
	t.used = true
	bytes := 0
	for _, m := range beyond(t.messages, after) {
		if q.Keep.Age > 0 && now-m.Time >= q.Keep.Age.Milliseconds() {
			return broker.Range{}, false // Redis knows what is left
		}
		if m.Ends > 0 && now >= m.Ends {
			r.Reached = m.Position.Offset
			continue
		}
		if len(r.Messages) == q.AtMost() || bytes > 0 && bytes+len(m.Payload) > broker.MaxReadBytes {
			r.More = true
			break
		}
		bytes += max(len(m.Payload), 1)
		r.Messages, r.Reached = append(r.Messages, m), m.Position.Offset
	}
	return r, true
}
