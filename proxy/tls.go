package proxy

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/pushcart/pushcart/config"
)

// certCheck is how often the certificate's files are looked at, at the most.
const certCheck = time.Second

// certificate is the listener's, read anew when its files change; while they
// cannot be read the last good one is kept.
type certificate struct {
	cfg config.TLS

	mu      sync.Mutex // guards all below
	cert    *tls.Certificate
	read    [2]time.Time // change times of the files
	checked time.Time
}

// serverTLS is nil where no certificate is configured.
func serverTLS(cfg config.TLS) (*tls.Config, error) {
	if cfg.CertFile == "" {
		return nil, nil
	}
	c := &certificate{cfg: cfg}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current(), nil
		},
	}, nil
}

func (c *certificate) load() error {
	cert, err := tls.LoadX509KeyPair(c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		return err
	}
	c.cert, c.read = &cert, c.changed()
	return nil
}

func (c *certificate) changed() (at [2]time.Time) {
	for i, f := range []string{c.cfg.CertFile, c.cfg.KeyFile} {
		if st, err := os.Stat(f); err == nil {
			at[i] = st.ModTime()
		}
	}
	return at
}

func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= certCheck {
		c.checked = now
		if c.changed() != c.read {
			_ = c.load() // a pair that is half written is read again next time
		}
	}
	return c.cert
}
