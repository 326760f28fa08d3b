package webhook

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/plainjson"
	"github.com/pushcart/pushcart/internal/traceparent"
)

// Content types of the CloudEvents JSON format.
const (
	contentEvent = "application/cloudevents+json"
	contentBatch = "application/cloudevents-batch+json"
)

// encodeBatch writes j and what goes with it as one body with an id of its own. What of
// a request belongs to one connection is left out: X-Forwarded-* and the handshake's
// headers.
func (d *Dispatcher) encodeBatch(req *fasthttp.Request, j *job, id uuid.UUID) {
	var room [traceparent.Size]byte
	b := d.appendEvent([]byte{'['}, j, j.appendTrace(room[:0]))
	for _, o := range j.with {
		b = d.appendEvent(append(b, ','), o, o.appendTrace(room[:0]))
	}
	req.SetBodyRaw(append(b, ']'))
	addHeader(&req.Header, "Content-Type", contentBatch)
	req.Header.AddBytesV("traceparent", traceparent.Append(room[:0], id))
}

// appendEvent appends an event in the CloudEvents JSON format.
func (d *Dispatcher) appendEvent(b []byte, j *job, trace []byte) []byte {
	ev := j.event
	b = appendID(append(b, `{"specversion":"1.0","id":"`...), j.id)
	b = append(append(b, `","type":"`...), eventType(ev.Name)...)
	b = append(append(b, `","source":"`...), d.sourceOf(ev)...)
	b = j.time().UTC().AppendFormat(append(b, `","time":"`...), timeFormat)
	if ev.Sequence > 0 {
		b = appendSequence(append(b, `","sequence":"`...), ev.Sequence)
	}
	b = append(append(b, `","traceparent":"`...), trace...)
	b = append(b, '"')
	if ev.Trace != nil {
		b = appendMember(b, "tracestate", ev.Trace.State)
	}
	b = appendMember(b, "subject", ev.subject())
	b = appendMember(b, "connectionid", ev.ConnectionID)
	b = appendMember(b, "userid", ev.UserID)
	b = appendMember(b, "event", ev.MessageEvent)
	if len(ev.State) > 0 {
		b = base64.StdEncoding.AppendEncode(append(b, `,"state":"`...), ev.State)
		b = append(b, '"')
	}
	b = appendMember(b, "datacontenttype", ev.ContentType)
	return append(appendData(b, ev), '}')
}

// appendMember leaves out what has no value.
func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendText(append(append(append(b, `,"`...), name...), `":`...), value)
}

func appendText(b []byte, s string) []byte {
	b, _ = plainjson.Append(b, s) // a string does not fail
	return b
}

// appendData appends the payload: JSON as it is, text as a string, else as base64.
func appendData(b []byte, ev *Event) []byte {
	kind, _, _ := strings.Cut(ev.ContentType, ";")
	switch {
	case ev.ContentType == "":
		return b
	case kind == "application/json" && json.Valid(ev.Body):
		return append(append(b, `,"data":`...), ev.Body...)
	case strings.HasPrefix(kind, "text/") && utf8.Valid(ev.Body):
		return appendText(append(b, `,"data":`...), string(ev.Body))
	}
	b = base64.StdEncoding.AppendEncode(append(b, `,"data_base64":"`...), ev.Body)
	return append(b, '"')
}
