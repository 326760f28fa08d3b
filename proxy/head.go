package proxy

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
)

// hop are the headers that are for the next hop only (RFC 9110 §7.6.1, SPEC §11), and
// those that CGI and its heirs take for framing. Framing headers are dealt with where
// bodies are.
func hop(k http1.Kind) bool {
	switch k {
	case http1.Connection, http1.KeepAlive, http1.ProxyConnection, http1.ProxyAuthenticate,
		http1.ProxyAuthorization, http1.TE, http1.Upgrade, http1.FramingTwin:
		return true
	}
	return false
}

// options are the header names, in lower case, that a Connection header takes away.
// nil, as nearly always, takes none.
type options map[string]bool

// connectionOptions reads Connection. Names that never pass, or always do, are left
// out.
func connectionOptions(fields http1.Fields) (named options) {
	for i := range fields {
		if fields[i].Kind != http1.Connection {
			continue
		}
		for list := fields[i].Value; len(list) > 0; {
			var item []byte
			item, list = http1.NextItem(list)
			if len(item) == 0 || namesNoField(item) {
				continue
			}
			if named == nil {
				named = options{}
			}
			named[strings.ToLower(string(item))] = true
		}
	}
	return named
}

func namesNoField(option []byte) bool {
	return http1.EqualFold(option, "keep-alive") || http1.EqualFold(option, "close") || http1.EqualFold(option, "upgrade")
}

// has says whether the field is named. Framing and Host are never given away like
// that.
func (named options) has(f *http1.Field) bool {
	if named == nil || f.Kind == http1.Host || f.Kind == http1.ContentLength || f.Kind == http1.TransferEncoding {
		return false
	}
	return named[strings.ToLower(string(f.Name))]
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
	// via adds Via.
	via bool
	// id, if there is one, is sent as X-Request-Id, in place of any other.
	id []byte
}

// append writes the head: the lines as they came, less those for this hop, and
// the forwarding headers last.
func (h *requestHead) append(b []byte) []byte {
	r := h.req
	b = append(append(b, r.Method...), ' ')
	b = append(append(b, originForm(r)...), " HTTP/1.1\r\n"...)
	named := connectionOptions(r.Fields)
	hosted := false
	for i := range r.Fields {
		f := &r.Fields[i]
		switch {
		case f.Kind == http1.Host:
			hosted = true
			b = h.appendHost(b, f)
		case hop(f.Kind):
			b = h.appendHop(b, f)
		case f.Kind == http1.XForwardedFor, f.Kind == http1.XForwardedProto, f.Kind == http1.XForwardedHost,
			f.Kind == http1.XRequestID && len(h.id) > 0:
		case named.has(f):
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
	if len(h.id) > 0 {
		b = append(append(b, "\r\nX-Request-Id: "...), h.id...)
	}
	if h.via {
		b = append(b, "\r\nVia: 1.1 pushcart"...)
	}
	return append(b, "\r\n\r\n"...)
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
	named := connectionOptions(r.Fields)
	tunnel := r.Status == http.StatusSwitchingProtocols
	framed := r.Status >= 200 && r.Status != http.StatusNoContent // RFC 9112 §6.1, RFC 9110 §8.6
	for i := range r.Fields {
		f := &r.Fields[i]
		switch {
		case tunnel && (f.Kind == http1.Upgrade || f.Kind == http1.Connection):
			b = append(b, head[f.Start:f.End]...)
		case f.Kind == http1.Upgrade && r.Status == http.StatusUpgradeRequired:
			b = append(b, head[f.Start:f.End]...)
			connection = withUpgrade(connection)
		case hop(f.Kind) || named.has(f):
		case f.Kind == http1.TransferEncoding && !(framed && chunks), f.Kind == http1.ContentLength && !framed:
		default:
			b = append(b, head[f.Start:f.End]...)
		}
	}
	if connection != "" {
		b = append(append(append(b, "Connection: "...), connection...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// withUpgrade adds the option that has to go with Upgrade (RFC 9110 §7.8).
func withUpgrade(connection string) string {
	switch {
	case connection == "":
		return "Upgrade"
	case strings.HasSuffix(connection, "Upgrade"):
		return connection
	}
	return connection + ", Upgrade"
}
