package dial

import (
	"crypto/tls"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/pushcart/pushcart/internal/hostport"
	"github.com/pushcart/pushcart/internal/tlsconf"
)

// Endpoint is an HTTP server: where it listens and how it is spoken to.
type Endpoint struct {
	// Host is the Host header that names the server.
	Host string
	// TLS is nil for plain HTTP.
	TLS *tls.Config

	network string
	addr    string
	good    atomic.Pointer[netip.Addr] // of several, the one that is tried first
}

// New reads an http://, https:// or unix: URL; a path in it does not count. t
// applies to https://.
func New(rawURL string, t tlsconf.Trust) (*Endpoint, error) {
	if path, ok := strings.CutPrefix(rawURL, "unix:"); ok {
		return &Endpoint{Host: "localhost", network: "unix", addr: path}, nil
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if port == "" {
		port = hostport.DefaultPort(u.Scheme)
	}
	e := &Endpoint{Host: u.Host, network: "tcp", addr: net.JoinHostPort(u.Hostname(), port)}
	if u.Scheme == "https" {
		e.TLS, err = t.Client("backend.tls", u.Hostname())
	}
	return e, err
}

// Scheme is http or https.
func (e *Endpoint) Scheme() string {
	if e.TLS != nil {
		return "https"
	}
	return "http"
}
