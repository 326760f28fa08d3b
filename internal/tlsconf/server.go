package tlsconf

import (
	"bytes"
	"crypto/tls"
	"sync"
	"time"

	"github.com/pushcart/pushcart/internal/files"
)

// checkEvery is how often the certificate's files are looked at, at most.
const checkEvery = time.Second

// certificate is a listener's, read again when its files change; while they cannot
// be read the last good one is kept.
type certificate struct {
	certFile, keyFile string
	failed            func(error)

	mu      sync.Mutex // guards all below
	cert    *tls.Certificate
	read    [2][]byte // what the files held
	checked time.Time
}

// Server is the configuration of a listener whose certificate is in two files.
// They are read again when they change; failed is called when that does not succeed,
// and the last good certificate stays.
func Server(certFile, keyFile string, failed func(error)) (*tls.Config, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, failed: failed}
	if err := c.load(); err != nil {
		return nil, err
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
	for i, name := range []string{c.certFile, c.keyFile} {
		var err error
		if now[i], err = files.Read(name); err != nil {
			return err
		}
	}
	if bytes.Equal(now[0], c.read[0]) && bytes.Equal(now[1], c.read[1]) {
		return nil
	}
	if _, err := parsePool(c.certFile, now[0]); err != nil {
		return err
	}
	cert, err := parsePair(c.keyFile, now[0], now[1])
	if err != nil {
		return err
	}
	c.cert, c.read = &cert, now
	return nil
}

func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= checkEvery {
		c.checked = now
		if err := c.load(); err != nil { // a pair that is half written is read again next time
			c.failed(err)
		}
	}
	return c.cert
}
