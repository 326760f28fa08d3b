package tlsconf

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Trust says how a server is verified.
type Trust struct {
	// CAFile is a PEM bundle trusted instead of the system's.
	CAFile string
	// ServerName is verified instead of the host's name, and sent as SNI.
	ServerName string
	// Insecure skips verification.
	Insecure bool
}

// Client is the configuration for connections to host; section is where the
// configuration has t.
func (t Trust) Client(section, host string) (*tls.Config, error) {
	c := t.config(host)
	if t.CAFile != "" {
		var err error
		if c.RootCAs, err = Pool(t.CAFile); err != nil {
			return nil, fmt.Errorf("%s.ca_file: %w", section, err)
		}
	}
	return c, nil
}

func (t Trust) config(host string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cmp.Or(t.ServerName, host), InsecureSkipVerify: t.Insecure}
}

// Client makes the configurations of connections to several hosts, each verified under its
// own name unless Trust has one for all. Its methods may be called concurrently.
type Client struct {
	trust Trust
	roots *reread[*x509.CertPool]   // nil: the system's
	shown *reread[*tls.Certificate] // nil: none
}

// NewClient returns one that shows a certificate, unless certFile is "". The files are read
// again when they change, for connections to come; failed is called when that does not
// succeed, and what they held stays. section is where the configuration has all of it.
func NewClient(section string, t Trust, certFile, keyFile string, failed func(error)) (*Client, error) {
	c := &Client{trust: t}
	if t.CAFile != "" {
		c.roots = newPool(t.CAFile, func(err error) { failed(fmt.Errorf("%s.ca_file: %w", section, err)) })
		if err := c.roots.load(); err != nil {
			return nil, fmt.Errorf("%s.ca_file: %w", section, err)
		}
	}
	if certFile == "" {
		return c, nil
	}
	if _, certErr, keyErr := Pair(certFile, keyFile); certErr != nil || keyErr != nil {
		return nil, named(section, certErr, keyErr)
	}
	c.shown = newCertificate(certFile, keyFile, func(err error) { failed(fmt.Errorf("%s.cert_file: %w", section, err)) })
	return c, c.shown.load()
}

// Config is the configuration for a connection to host.
func (c *Client) Config(host string) *tls.Config {
	config := c.trust.config(host)
	if c.roots != nil {
		config.RootCAs = c.roots.current()
	}
	if c.shown != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.shown.current(), nil }
	}
	return config
}

func named(section string, certErr, keyErr error) error {
	if certErr != nil {
		certErr = fmt.Errorf("%s.cert_file: %w", section, certErr)
	}
	if keyErr != nil {
		keyErr = fmt.Errorf("%s.key_file: %w", section, keyErr)
	}
	return errors.Join(certErr, keyErr)
}
