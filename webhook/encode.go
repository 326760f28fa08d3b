package webhook

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/httpclient"
	"github.com/pushcart/pushcart/internal/traceparent"
)

// timeFormat is RFC 3339 with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z"

// scratch holds one header value at a time.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// encode writes what is sent as a CloudEvent in the HTTP mode of the settings, or as a
// batch of them, and signs it.
//
// fasthttp would take Cookie apart and leave out what it does not like, such as
// quoted values, so no header gets its special treatment, and Host, Content-Type
// and Content-Length are written here. It turns line breaks in values into spaces.
func (d *Dispatcher) encode(req *fasthttp.Request, j *job, now time.Time) {
	ev, h, set := j.event, &req.Header, j.set
	h.DisableNormalizing()
	h.DisableSpecialHeader()
	h.SetMethod(fasthttp.MethodPost)
	req.SetURI(set.targets[j.name()])
	addHeader(h, "Host", set.to.Host(ev.RequestHost))

	p := scratch.Get().(*[]byte)
	b := (*p)[:0]
	id := j.id
	if len(j.with) > 0 {
		id = batchID(j)
		d.encodeBatch(req, j, id)
	} else {
		d.encodeOne(req, j)
	}
	var room [idSize]byte
	text := appendID(room[:0], id)
	b = strconv.AppendInt(b, int64(len(req.Body())), 10)
	h.AddBytesV("Content-Length", b)
	h.AddBytesV("webhook-id", text)
	b = strconv.AppendInt(b[:0], now.Unix(), 10)
	h.AddBytesV("webhook-timestamp", b)
	if b = set.signer.appendSignatures(b[:0], text, now.Unix(), req.Body()); len(b) > 0 {
		h.AddBytesV("webhook-signature", b)
	}
	*p = b
	scratch.Put(p)
}

// encodeOne writes an event by itself, and what only that has of its connection.
func (d *Dispatcher) encodeOne(req *fasthttp.Request, j *job) {
	ev, h := j.event, &req.Header
	var room [traceparent.Size]byte
	trace := j.appendTrace(room[:0])
	if j.set.structured {
		addHeader(h, "Content-Type", contentEvent)
		req.SetBodyRaw(d.appendEvent(nil, j, trace))
	} else {
		d.encodeBinary(req, j)
	}
	h.AddBytesV("traceparent", trace)
	if ev.Trace != nil {
		addHeader(h, "tracestate", ev.Trace.State)
	}
	addHeader(h, "X-Forwarded-For", ev.ForwardedFor)
	addHeader(h, "X-Forwarded-Proto", ev.Proto)
	addHeader(h, "X-Forwarded-Host", ev.Host)
	for _, f := range ev.Header {
		if !ownHeader(f.Name) { // a client must not speak for the sidecar
			h.Add(f.Name, f.Value)
			if httpclient.BindsConnection(f.Name, f.Value) {
				h.SetConnectionClose()
			}
		}
	}
}

// encodeBinary writes attributes as headers, the payload as the body.
func (d *Dispatcher) encodeBinary(req *fasthttp.Request, j *job) {
	ev, h := j.event, &req.Header
	req.SetBodyRaw(ev.Body)
	addHeader(h, "Content-Type", ev.ContentType)
	p := scratch.Get().(*[]byte)
	h.Add("ce-specversion", "1.0")
	b := appendID((*p)[:0], j.id)
	h.AddBytesV("ce-id", b)
	h.Add("ce-type", eventType(ev.Name))
	h.Add("ce-source", d.sourceOf(ev))
	h.Add("ce-subject", attribute(ev.subject()))
	b = j.time().UTC().AppendFormat(b[:0], timeFormat)
	h.AddBytesV("ce-time", b)
	addHeader(h, "ce-connectionid", ev.ConnectionID)
	addHeader(h, "ce-userid", attribute(ev.UserID))
	if ev.Sequence > 0 {
		b = appendSequence(b[:0], ev.Sequence)
		h.AddBytesV("ce-sequence", b)
	}
	addHeader(h, "ce-event", attribute(ev.MessageEvent))
	if len(ev.State) > 0 {
		b = base64.StdEncoding.AppendEncode(b[:0], ev.State)
		h.AddBytesV("ce-state", b)
	}
	*p = b
	scratch.Put(p)
}

// sourceOf is ce-source.
func (d *Dispatcher) sourceOf(ev *Event) string {
	if ev.Node == "" {
		return d.source
	}
	return sourcePrefix + ev.Node
}

const sourcePrefix = "/nodes/"

// appendTrace appends the traceparent of the handshake, or one that begins a trace,
// whose id is that of the event: the same on each try.
func (j *job) appendTrace(b []byte) []byte {
	if kept := j.event.Trace; kept != nil {
		return append(b, kept.Parent...)
	}
	return traceparent.Append(b, j.id)
}

// idSize is that of an id as text.
const idSize = 36

// appendID appends an id as UUIDs are written.
func appendID(b []byte, id uuid.UUID) []byte {
	for i, part := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

// addHeader leaves out what has no value.
func addHeader(h *fasthttp.RequestHeader, name, value string) {
	if value != "" {
		h.Add(name, value)
	}
}

func eventType(name string) string {
	switch name { // constants, so that the usual ones are not built each time
	case Message:
		return "pushcart." + Message
	case Connect:
		return "pushcart." + Connect
	}
	return "pushcart." + name
}

// appendSequence writes 20 digits, so that text sorts like numbers.
func appendSequence(b []byte, n uint64) []byte {
	var digits [20]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, digits[:]...)
}

// ownHeader: those that the sidecar writes itself, and those that frame the
// request.
func ownHeader(name string) bool {
	n := strings.ToLower(name)
	return n == "traceparent" || n == "tracestate" || strings.HasPrefix(n, "ce-") || strings.HasPrefix(n, "webhook-") || httpclient.OwnHeader(n)
}

// attribute percent-encodes a value as the CloudEvents HTTP binding says (§3.1.3.2):
// space, double quote, percent, and all that is not printable ASCII.
func attribute(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && plainByte(s[i])
	}
	if plain {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		if c := s[i]; plainByte(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func plainByte(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '%' }
