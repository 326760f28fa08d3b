package proxy

import (
	"bytes"

	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
)

// hop are the headers that are for the next hop only (RFC 9110 §7.6.1, SPEC §11).
// Framing headers are dealt with where bodies are.
func hop(k http1.Kind) bool {
	switch k {
	case http1.Connection, http1.KeepAlive, http1.ProxyConnection, http1.ProxyAuthenticate,
		http1.ProxyAuthorization, http1.TE, http1.Upgrade:
		return true
	}
	return false
}

// named says whether a Connection header names the field. Framing and Host are
// never given away like that.
func named(connection []byte, f *http1.Field) bool {
	switch {
	case len(connection) == 0:
		return false
	case f.Kind == http1.Host, f.Kind == http1.ContentLength, f.Kind == http1.TransferEncoding:
		return false
	}
	for len(connection) > 0 {
		var item []byte
		if item, connection = http1.NextItem(connection); bytes.EqualFold(item, f.Name) {
			return true
		}
	}
	return false
}

// connectionList joins the values of Connection; nearly always there is one line
// at most.
func connectionList(fields http1.Fields) (list []byte) {
	for i := range fields {
		if fields[i].Kind != http1.Connection {
			continue
		}
		if list == nil {
			list = fields[i].Value
		} else {
			list = append(append(bytes.Clone(list), ','), fields[i].Value...)
		}
	}
	return list
}

// requestHead is what a request's head needs to be written for the backend.
type requestHead struct {
	req  *http1.Request
	head []byte // that req was parsed from
	from clientaddr.Origin
	// host replaces Host where the backend's own is wanted.
	host string
	// tunnel keeps Upgrade.
	tunnel bool
}

// append writes the head: the lines as they came, less those for this hop, and
// the forwarding headers last.
func (h *requestHead) append(b []byte) []byte {
	r := h.req
	b = append(append(b, r.Method...), ' ')
	b = append(append(b, originForm(r)...), " HTTP/1.1\r\n"...)
	connection := connectionList(r.Fields)
	hosted := false
	for i := range r.Fields {
		f := &r.Fields[i]
		switch {
		case f.Kind == http1.Host:
			hosted = true
			b = h.appendHost(b, f)
		case hop(f.Kind):
			b = h.appendHop(b, f)
		case f.Kind == http1.XForwardedFor, f.Kind == http1.XForwardedProto, f.Kind == http1.XForwardedHost:
		case named(connection, f):
		default:
			b = append(b, h.head[f.Start:f.End]...)
		}
	}
	if !hosted {
		b = append(append(append(b, "Host: "...), h.hostFor()...), "\r\n"...)
	}
	if h.tunnel {
		b = append(b, "Connection: Upgrade\r\n"...)
	}
	b = append(append(b, "X-Forwarded-For: "...), h.from.ForwardedFor...)
	b = append(append(b, "\r\nX-Forwarded-Proto: "...), h.from.Proto...)
	if h.from.Host != "" {
		b = append(append(b, "\r\nX-Forwarded-Host: "...), h.from.Host...)
	}
	return append(b, "\r\nVia: 1.1 pushcart\r\n\r\n"...)
}

func (h *requestHead) hostFor() string {
	if h.host != "" {
		return h.host
	}
	return string(h.req.Host)
}

func (h *requestHead) appendHost(b []byte, f *http1.Field) []byte {
	if h.host == "" && bytes.Equal(h.req.Host, f.Value) {
		return append(b, h.head[f.Start:f.End]...)
	}
	return append(append(append(b, "Host: "...), h.hostFor()...), "\r\n"...)
}

// appendHop keeps what of the hop's headers the next hop is told too.
func (h *requestHead) appendHop(b []byte, f *http1.Field) []byte {
	switch {
	case f.Kind == http1.TE && (http1.Fields{*f}).Has(http1.TE, "trailers"):
		return append(b, "TE: trailers\r\n"...)
	case h.tunnel && f.Kind == http1.Upgrade:
		return append(b, h.head[f.Start:f.End]...)
	}
	return b
}

// originForm is the target as a backend gets it.
func originForm(r *http1.Request) []byte {
	if !r.Absolute {
		return r.Target
	}
	rest := r.Target[bytes.Index(r.Target, []byte("://"))+3:]
	i := bytes.IndexAny(rest, "/?#")
	switch {
	case i >= 0 && rest[i] == '/':
		return rest[i:]
	case i >= 0:
		return append([]byte("/"), rest[i:]...)
	case string(r.Method) == "OPTIONS":
		return []byte("*") // RFC 9112 §3.2.4
	}
	return []byte("/")
}

// appendResponse writes for the client the response head that r was parsed from.
// connection, if not "", is our own Connection header; chunks says that the client
// knows chunked bodies.
func appendResponse(b, head []byte, r *http1.Response, connection string, chunks bool) []byte {
	b = append(append(b, "HTTP/1.1 "...), head[len("HTTP/1.1 "):r.LineEnd]...)
	list := connectionList(r.Fields)
	tunnel := r.Status == 101
	chunks = chunks && r.Status >= 200 && r.Status != 204 // RFC 9112 §6.1
	for i := range r.Fields {
		f := &r.Fields[i]
		switch {
		case tunnel && (f.Kind == http1.Upgrade || f.Kind == http1.Connection):
			b = append(b, head[f.Start:f.End]...)
		case hop(f.Kind) || named(list, f):
		case !chunks && f.Kind == http1.TransferEncoding:
		default:
			b = append(b, head[f.Start:f.End]...)
		}
	}
	if connection != "" {
		b = append(append(append(b, "Connection: "...), connection...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}
