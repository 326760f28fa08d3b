package webhook

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Record is what a connection's node leaves with the broker, so that another node can
// report the connection's end if this one dies.
type Record struct {
	// Since is when the connection began.
	Since time.Time
	// Events are still to be told, in their order. The last is disconnected: without a
	// body and a time while the connection lives, so that who tells it says how it
	// ended.
	Events []*Event
}

// ErrRecord means that bytes are not an event or record that this version can read.
var ErrRecord = errors.New("webhook: unreadable record")

// recordVersion begins each record.
const recordVersion = 1

// maxRecordEvents is more than a connection has that are told.
const maxRecordEvents = 16

// AppendRecord appends the record for ParseRecord.
func AppendRecord(b []byte, r *Record) []byte {
	b = append(b, recordVersion)
	b = appendTime(b, r.Since)
	b = binary.AppendUvarint(b, uint64(len(r.Events)))
	for _, ev := range r.Events {
		b = appendFields(b, ev)
	}
	return b
}

// ParseRecord reads what AppendRecord wrote. Its error wraps ErrRecord. The record keeps
// parts of b.
func ParseRecord(b []byte) (Record, error) {
	in := reader{rest: b}
	in.version()
	r := Record{Since: in.time()}
	n := in.number()
	if n > maxRecordEvents {
		in.fail()
	}
	for ; n > 0 && in.err == nil; n-- {
		r.Events = append(r.Events, in.event())
	}
	if err := in.end(); err != nil {
		return Record{}, err
	}
	return r, nil
}

// AppendEvent appends a notification for ParseEvent. It omits Kept and Entry, and the
// fields that only requests have: MessageEvent and Header.
func AppendEvent(b []byte, ev *Event) []byte {
	return appendFields(append(b, recordVersion), ev)
}

// ParseEvent reads what AppendEvent wrote. Its error wraps ErrRecord. The event keeps
// parts of b.
func ParseEvent(b []byte) (*Event, error) {
	in := reader{rest: b}
	in.version()
	ev := in.event()
	if err := in.end(); err != nil {
		return nil, err
	}
	return ev, nil
}

// appendFields appends the event's fields in the order in which event reads them.
func appendFields(b []byte, ev *Event) []byte {
	b = append(b, byte(slices.Index(eventNames[:], ev.Name)))
	b = binary.AppendUvarint(b, ev.Sequence)
	b = appendTime(b, ev.Time)
	trace := ev.Trace
	if trace == nil {
		trace = &Trace{}
	}
	for _, s := range [...]string{
		ev.ConnectionID, ev.UserID, ev.ForwardedFor, ev.Proto, ev.Host, ev.RequestHost,
		trace.Parent, trace.State, ev.Channel, ev.Node, ev.ContentType,
	} {
		b = appendString(b, s)
	}
	b = appendBytes(b, ev.State)
	return appendBytes(b, ev.Body)
}

// event reads what appendFields wrote.
func (r *reader) event() *Event {
	name := r.byte()
	if int(name) >= len(eventNames) {
		r.fail()
		return nil
	}
	ev := &Event{Name: eventNames[name], Sequence: r.number(), Time: r.time()}
	var trace Trace
	for _, s := range [...]*string{
		&ev.ConnectionID, &ev.UserID, &ev.ForwardedFor, &ev.Proto, &ev.Host, &ev.RequestHost,
		&trace.Parent, &trace.State, &ev.Channel, &ev.Node, &ev.ContentType,
	} {
		*s = string(r.bytes())
	}
	if trace.Parent != "" {
		ev.Trace = &trace
	}
	ev.State, ev.Body = r.bytes(), r.bytes()
	return ev
}

// appendTime appends milliseconds since 1970, 0 for the zero time.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendUvarint(b, 0)
	}
	return binary.AppendUvarint(b, uint64(max(0, t.UnixMilli())))
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBytes(b, p []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(p))), p...)
}

// reader takes a record apart; once something is wrong all it reads is empty.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail() {
	r.rest = nil
	if r.err == nil {
		r.err = ErrRecord
	}
}

func (r *reader) version() {
	if v := r.byte(); r.err == nil && v != recordVersion {
		r.err = fmt.Errorf("%w: version %d", ErrRecord, v)
		r.fail()
	}
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) time() time.Time {
	ms := r.number()
	if ms == 0 {
		return time.Time{}
	}
	if ms > uint64(farAway.Milliseconds())*100 { // year 2970
		r.fail()
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}

// bytes is nil for none.
func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.fail()
	}
	if n == 0 || r.err != nil {
		return nil
	}
	p := r.rest[:n:n]
	r.rest = r.rest[n:]
	return p
}

// end is what was wrong, rest included.
func (r *reader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		r.fail()
	}
	return r.err
}
