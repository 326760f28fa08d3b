package proxy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/ratelog"
)

// certCheck is how often the certificate's files are looked at, at most.
const certCheck = time.Second

// certificate is the listener's, read again when its files change; while they cannot
// be read the last good one is kept.
type certificate struct {
	cfg   config.TLS
	quiet *ratelog.Logger

	mu      sync.Mutex // guards all below
	cert    *tls.Certificate
	read    [2][]byte // what the files held
	checked time.Time
}

// serverTLS is nil where no certificate is configured.
func serverTLS(cfg config.TLS, quiet *ratelog.Logger) (*tls.Config, error) {
	if cfg.CertFile == "" {
		return nil, nil
	}
	c := &certificate{cfg: cfg, quiet: quiet}
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

// load reads the files. Only what they hold tells whether they changed: those who
// renew certificates copy them with their times, or swap a link.
func (c *certificate) load() error {
	var now [2][]byte
	for i, name := range []string{c.cfg.CertFile, c.cfg.KeyFile} {
		var err error
		if now[i], err = os.ReadFile(name); err != nil {
			return err
		}
	}
	if bytes.Equal(now[0], c.read[0]) && bytes.Equal(now[1], c.read[1]) {
		return nil
	}
	cert, err := tls.X509KeyPair(now[0], now[1])
	if err != nil {
		return err
	}
	c.cert, c.read = &cert, now
	return nil
}

func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= certCheck {
		c.checked = now
		if err := c.load(); err != nil { // a pair that is half written is read again next time
			c.quiet.Warn("certificate", "the new certificate cannot be used; the last good one stays",
				"err", err, "setting", "tls.cert_file, tls.key_file")
		}
	}
	return c.cert
}
