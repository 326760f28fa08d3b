package webhook

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// encode writes the event as a CloudEvent in HTTP binary mode: attributes are
// headers, the payload is the body.
func (d *Dispatcher) encode(req *fasthttp.Request, j *job, now time.Time) {
	ev, h := j.event, &req.Header
	h.DisableNormalizing()
	h.SetMethod(fasthttp.MethodPost)
	req.SetRequestURI(d.uri(ev.Name))
	req.SetTimeout(d.cfg.Timeout)
	if ev.ContentType != "" {
		h.SetContentType(ev.ContentType)
	}
	h.Set("ce-specversion", "1.0")
	h.Set("ce-id", j.id)
	h.Set("ce-type", "pushcart."+ev.Name)
	h.Set("ce-source", d.source)
	h.Set("ce-subject", ev.ConnectionID)
	h.Set("ce-time", j.born.UTC().Format("2006-01-02T15:04:05.000Z"))
	h.Set("ce-connectionid", ev.ConnectionID)
	if ev.UserID != "" {
		h.Set("ce-userid", attribute(ev.UserID))
	}
	h.Set("ce-sequence", fmt.Sprintf("%020d", ev.Sequence))
	if ev.MessageEvent != "" {
		h.Set("ce-event", attribute(ev.MessageEvent))
	}
	if len(ev.State) > 0 {
		h.Set("ce-state", base64.StdEncoding.EncodeToString(ev.State))
	}
	timestamp, signature := d.signer.sign(j.id, now, ev.Body)
	h.Set("webhook-id", j.id)
	h.Set("webhook-timestamp", timestamp)
	if signature != "" {
		h.Set("webhook-signature", signature)
	}
	setHeader(h, "X-Forwarded-For", ev.ForwardedFor)
	setHeader(h, "X-Forwarded-Proto", ev.Proto)
	setHeader(h, "X-Forwarded-Host", ev.Host)
	for _, f := range ev.Header {
		if ownHeader(f.Name) {
			continue // a client must not speak for the sidecar
		}
		h.Add(f.Name, f.Value) // fasthttp turns line breaks in values into spaces
	}
	req.SetBodyRaw(ev.Body)
}

func setHeader(h *fasthttp.RequestHeader, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

// ownHeader: those that the sidecar writes itself, and those that frame the
// request.
func ownHeader(name string) bool {
	n := strings.ToLower(name)
	switch n {
	case "host", "content-length", "transfer-encoding", "connection", "content-type":
		return true
	}
	return strings.HasPrefix(n, "ce-") || strings.HasPrefix(n, "webhook-") || strings.HasPrefix(n, "x-forwarded-")
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

// uri is where an event goes.
func (d *Dispatcher) uri(event string) string { return strings.ReplaceAll(d.cfg.URL, "{event}", event) }
