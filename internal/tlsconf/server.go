package tlsconf

import "crypto/tls"

// Server is the configuration of a listener whose certificate is in two files.
// They are read again when they change; failed is called when that does not succeed,
// and the last good certificate stays.
func Server(certFile, keyFile string, failed func(error)) (*tls.Config, error) {
	c := newCertificate(certFile, keyFile, failed)
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
