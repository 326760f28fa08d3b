package tlsconf

import (
	"crypto/tls"
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
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, InsecureSkipVerify: t.Insecure}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.CAFile != "" {
		var err error
		if c.RootCAs, err = Pool(t.CAFile); err != nil {
			return nil, fmt.Errorf("%s.ca_file: %w", section, err)
		}
	}
	return c, nil
}

// Show adds the certificate that a client shows.
func Show(c *tls.Config, section, certFile, keyFile string) error {
	pair, certErr, keyErr := Pair(certFile, keyFile)
	if err := named(section, certErr, keyErr); err != nil {
		return err
	}
	c.Certificates = []tls.Certificate{pair}
	return nil
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
