package tlsconf

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"sync"
	"time"

	"github.com/pushcart/pushcart/internal/files"
)

// checkEvery is how often files are looked at, at most.
const checkEvery = time.Second

// reread is what files hold, read again when they change; while they cannot be read the
// last good value is kept. Its methods may be called concurrently.
type reread[T any] struct {
	files  []string
	parse  func(contents [][]byte) (T, error)
	failed func(error)

	mu      sync.Mutex // guards all below
	value   T
	read    [][]byte // what the files held
	checked time.Time
}

// load reads the files. Only what they hold tells whether they changed: those who
// renew certificates copy them with their times, or swap a link.
func (r *reread[T]) load() error {
	now := make([][]byte, len(r.files))
	for i, name := range r.files {
		var err error
		if now[i], err = files.Read(name); err != nil {
			return err
		}
	}
	if slices.EqualFunc(now, r.read, bytes.Equal) {
		return nil
	}
	value, err := r.parse(now)
	if err != nil {
		return err
	}
	r.value, r.read = value, now
	return nil
}

func (r *reread[T]) current() T {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.checked) >= checkEvery {
		r.checked = now
		if err := r.load(); err != nil { // a pair that is half written is read again next time
			r.failed(err)
		}
	}
	return r.value
}

// newCertificate is a certificate with its key. The caller loads it.
func newCertificate(certFile, keyFile string, failed func(error)) *reread[*tls.Certificate] {
	return &reread[*tls.Certificate]{
		files: []string{certFile, keyFile}, failed: failed,
		parse: func(contents [][]byte) (*tls.Certificate, error) {
			if _, err := parsePool(certFile, contents[0]); err != nil {
				return nil, err
			}
			pair, err := parsePair(keyFile, contents[0], contents[1])
			return &pair, err
		},
	}
}

// newPool is a bundle of CA certificates. The caller loads it.
func newPool(file string, failed func(error)) *reread[*x509.CertPool] {
	return &reread[*x509.CertPool]{
		files: []string{file}, failed: failed,
		parse: func(contents [][]byte) (*x509.CertPool, error) { return parsePool(file, contents[0]) },
	}
}
