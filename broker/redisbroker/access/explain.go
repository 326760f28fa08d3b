package access

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// probeWait bounds how long a server is asked what it speaks, after it did not speak what it
// was expected to.
const probeWait = 300 * time.Millisecond

// refusedTLS says why a handshake, or what came at once after it, failed.
func refusedTLS(server string, err error) error {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var verification *tls.CertificateVerificationError
	text := strings.TrimPrefix(err.Error(), "tls: failed to verify certificate: ")
	text = strings.TrimPrefix(text, "x509: ")
	switch {
	case errors.As(err, &unknown):
		return NewFault("redis.tls.ca_file", err, "the certificate of redis at %s is not trusted: %s", server, text)
	case errors.As(err, &name):
		return NewFault("redis.tls.server_name", err, "the certificate of redis at %s is for another name: %s", server, text)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return NewFault("redis.tls", err, "the certificate of redis at %s is to be renewed there: %s", server, text)
	case errors.As(err, &verification):
		return NewFault("redis.tls.ca_file", err, "the certificate of redis at %s is refused: %s", server, text)
	case strings.Contains(err.Error(), "remote error: tls: "):
		_, alert, _ := strings.Cut(err.Error(), "remote error: tls: ")
		return NewFault("redis.tls.cert_file", err, "redis at %s refuses the client certificate, or requires one: %s", server, alert)
	case isSpokenPlainly(server):
		return NewFault("redis.tls.enabled", err, "redis at %s does not speak TLS", server)
	}
	return fmt.Errorf("no TLS with redis at %s: %w", server, err)
}

// silentPlain says why a connection without TLS ended before anything came.
func silentPlain(server string, err error) error {
	if isSpokenTLS(server) {
		return speaksTLS(server)
	}
	return fmt.Errorf("redis at %s closed the connection before it answered: %w", server, err)
}

func speaksTLS(server string) error {
	return NewFault("redis.tls.enabled", nil, "redis at %s speaks TLS only", server)
}

// isTLSAlert: bytes begin a record of type alert, of TLS 1.0 or newer (RFC 8446 §5.1).
func isTLSAlert(b []byte) bool { return len(b) >= 2 && b[0] == 21 && b[1] == 3 }

// isSpokenTLS asks a server whether it answers a handshake, in whatever way.
func isSpokenTLS(server string) bool {
	spoken := false
	probe(server, func(conn net.Conn) {
		heard := &countReads{Conn: conn}
		err := tls.Client(heard, &tls.Config{InsecureSkipVerify: true}).Handshake()
		var record tls.RecordHeaderError
		spoken = heard.bytes > 0 && !errors.As(err, &record)
	})
	return spoken
}

// isSpokenPlainly asks a server whether it answers as Redis does without TLS.
func isSpokenPlainly(server string) bool {
	spoken := false
	probe(server, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "PING\r\n")
		said, _ := bufio.NewReader(conn).ReadByte()
		spoken = said == '+' || said == '-'
	})
	return spoken
}

func probe(server string, ask func(net.Conn)) {
	ctx, cancel := context.WithTimeout(context.Background(), probeWait)
	defer cancel()
	conn, err := open(ctx, server)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(probeWait))
	ask(conn)
}

type countReads struct {
	net.Conn
	bytes int
}

func (c *countReads) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes += n
	return n, err
}
