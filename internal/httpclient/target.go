package httpclient

import (
	"strings"

	"github.com/pushcart/pushcart/internal/dial"
	"github.com/pushcart/pushcart/internal/tlsconf"
)

// Backend is the app behind the sidecar, as the configuration has it.
type Backend struct {
	URL          string
	TLS          tlsconf.Trust
	PreserveHost bool
}

// preserve as a Host asks for the handshake's.
const preserve = "preserve"

// Target is a URL of the configuration: whom to ask, for what, by which name.
type Target struct {
	Endpoint *dial.Endpoint
	// URL is absolute; its path is as it was written.
	URL string
	// OfBackend: it was a path alone.
	OfBackend bool
	host      string // "": the handshake's
}

// Resolve reads a URL of the configuration; a path alone is the backend's. host is
// what SPEC §3 says of auth.forward.host: "", a name, or "preserve".
func Resolve(url, host string, b Backend) (*Target, error) {
	at, tls := url, tlsconf.Trust{}
	own := strings.HasPrefix(url, "/")
	if own {
		at, tls = b.URL, b.TLS
	}
	e, err := dial.New(at, tls)
	if err != nil {
		return nil, err
	}
	t := &Target{Endpoint: e, URL: url, OfBackend: own, host: host}
	if own {
		t.URL = e.Scheme() + "://" + e.Host + url
	}
	switch {
	case host == preserve, host == "" && own && b.PreserveHost:
		t.host = ""
	case host == "":
		t.host = e.Host
	}
	return t, nil
}

// Host is the Host header for a handshake that came with asked; "" where there was
// none.
func (t *Target) Host(asked string) string {
	switch {
	case t.host != "":
		return t.host
	case asked != "":
		return asked
	}
	return t.Endpoint.Host
}

// OwnHeader says whether the named header belongs to the sidecar in what it asks:
// it frames the request, is for one hop, or says who the client is.
func OwnHeader(name string) bool {
	n := strings.ToLower(name)
	switch n {
	case "host", "content-length", "transfer-encoding", "connection", "content-type",
		"expect", "upgrade", "trailer", "te", "keep-alive", "proxy-connection":
		return true
	}
	return strings.HasPrefix(n, "x-forwarded-")
}

// BindsConnection says whether a request with this header authenticates the
// connection it comes on, as NTLM and Negotiate do: nobody else may use that again.
func BindsConnection(name, value string) bool {
	if !strings.EqualFold(name, "Authorization") {
		return false
	}
	scheme, _, _ := strings.Cut(value, " ")
	return strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate")
}
