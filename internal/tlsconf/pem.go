package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/pushcart/pushcart/internal/files"
)

// Pool reads a bundle of CA certificates.
func Pool(file string) (*x509.CertPool, error) {
	b, err := files.Read(file)
	if err != nil {
		return nil, err
	}
	return parsePool(file, b)
}

func parsePool(file string, b []byte) (*x509.CertPool, error) {
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s: no PEM certificate in it", file)
	}
	return p, nil
}

// Pair reads a certificate with its chain, and its key. Each file has its error; that
// they do not fit is the key's.
func Pair(certFile, keyFile string) (pair tls.Certificate, certErr, keyErr error) {
	cert, certErr := files.Read(certFile)
	if certErr == nil {
		_, certErr = parsePool(certFile, cert)
	}
	key, keyErr := files.Read(keyFile)
	if certErr == nil && keyErr == nil {
		pair, keyErr = parsePair(keyFile, cert, key)
	}
	return pair, certErr, keyErr
}

func parsePair(keyFile string, cert, key []byte) (tls.Certificate, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		err = fmt.Errorf("%s: %s", keyFile, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return pair, err
}
