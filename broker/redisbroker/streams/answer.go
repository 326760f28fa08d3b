package streams

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pushcart/pushcart/broker"

	"github.com/pushcart/pushcart/broker/internal/record"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

// answer is what Redis said to one reading of a stream.
type answer struct {
	record.Record
	exists bool
	asked  uint64 // the offset after which was read
	now    int64  // Redis' clock, in Unix milliseconds
	more   bool
	// messages may have gaps between them; one past its TTL has no payload.
	messages []broker.Message
}

// parseAnswer takes what readScript returned.
func parseAnswer(topic string, asked uint64, reply []any) (*answer, error) {
	if len(reply) != 1 && len(reply) < 6 {
		return nil, fmt.Errorf("read a stream: %d values", len(reply))
	}
	a := &answer{asked: asked, now: parseMillis(link.Text(reply, 0))}
	if len(reply) == 1 {
		return a, nil
	}
	a.exists = true
	a.Epoch, a.Offset, a.Forks = link.Text(reply, 1), parseOffset(link.Text(reply, 2)), parseForks(link.Text(reply, 3))
	a.Forgotten, a.more = parseOffset(link.Text(reply, 4)), link.Text(reply, 5) == "1"
	for i := 6; i+1 < len(reply); i += 2 {
		offset, left, _ := strings.Cut(link.Text(reply, i), "-")
		m := broker.Message{Topic: topic, Position: broker.Position{Offset: parseOffset(offset), Epoch: a.Epoch}, Time: clockEnd - parseMillis(left)}
		if payload, ok := reply[i+1].(string); ok {
			m.Payload = []byte(payload)
		}
		a.messages = append(a.messages, m)
	}
	return a, nil
}

func parseOffset(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// The forks of a record in Redis: EPOCH:OFFSET of each, an ! behind it if it is lossy,
// with commas between them.
func parseForks(s string) (forks []record.Fork) {
	for part := range strings.SplitSeq(s, ",") {
		epoch, end, ok := strings.Cut(part, ":")
		if !ok {
			continue
		}
		end, lossy := strings.CutSuffix(end, "!")
		forks = append(forks, record.Fork{Position: broker.Position{Offset: parseOffset(end), Epoch: epoch}, Lossy: lossy})
	}
	return forks
}

func parseMillis(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// since is what of the answer comes after an offset that it covers. Where messages are
// missing between, it ends before them: who reads on finds the gap.
func (a *answer) since(offset uint64) broker.Range {
	r := broker.Range{Current: a.Position, More: a.more, Reached: offset}
	for _, m := range beyond(a.messages, offset) {
		if m.Position.Offset != r.Reached+1 {
			if r.Reached > offset {
				r.More = true
				return r
			}
			r.Gap = true
		}
		r.Reached = m.Position.Offset
		if m.Payload != nil {
			r.Messages = append(r.Messages, m)
		}
	}
	switch {
	case r.More || r.Reached >= a.Offset:
	case r.Reached > offset:
		r.More = true
	default:
		r.Gap, r.Reached = true, a.Offset
	}
	return r
}

// kept is all of the answer, which begins with the oldest message that is kept.
func (a *answer) kept() broker.Range {
	from := a.Offset
	if len(a.messages) > 0 {
		from = a.messages[0].Position.Offset - 1
	}
	return a.since(from)
}

func size(r *broker.Range) (n int) {
	for i := range r.Messages {
		n += len(r.Messages[i].Payload)
	}
	return n
}

// join adds what was read after Reached, as far as there is room for it; false: there
// is not for all of it.
func join(r *broker.Range, rest broker.Range) bool {
	room := broker.MaxReadBytes - size(r)
	for _, m := range rest.Messages {
		if room -= len(m.Payload); room < 0 {
			return false
		}
		r.Messages, r.Reached = append(r.Messages, m), m.Position.Offset
	}
	r.More, r.Reached, r.Current = rest.More, rest.Reached, rest.Current
	return true
}

// cut leaves out what is too much for a query.
func cut(r *broker.Range, most int) {
	if len(r.Messages) > most {
		r.Messages, r.More = r.Messages[:most:most], true
		r.Reached = r.Messages[most-1].Position.Offset
	}
}
