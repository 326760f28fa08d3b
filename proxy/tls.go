package proxy

import (
	"crypto/tls"
	"fmt"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/tlsconf"
)

// serverTLS is nil where no certificate is configured.
func serverTLS(cfg config.TLS, quiet *ratelog.Logger) (*tls.Config, error) {
	if cfg.CertFile == "" {
		return nil, nil
	}
	c, err := tlsconf.Server(cfg.CertFile, cfg.KeyFile, func(err error) {
		quiet.Warn("certificate", "the new certificate cannot be used; the last good one stays",
			"err", err, "setting", "tls.cert_file, tls.key_file")
	})
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return c, nil
}
