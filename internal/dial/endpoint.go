package dial

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync/atomic"

	"github.com/pushcart/pushcart/internal/hostport"
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

// TLS says how an https:// server is verified.
type TLS struct {
	// CAFile is a PEM bundle trusted instead of the system's.
	CAFile string
	// ServerName is verified instead of the URL's host, and sent as SNI.
	ServerName string
	// Insecure skips verification.
	Insecure bool
}

// New reads an http://, https:// or unix: URL; a path in it does not count. t
// applies to https://.
func New(rawURL string, t TLS) (*Endpoint, error) {
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
		e.TLS, err = t.config(u.Hostname())
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

func (t TLS) config(host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, InsecureSkipVerify: t.Insecure}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("tls.ca_file: no certificate in it")
		}
	}
	return c, nil
}
