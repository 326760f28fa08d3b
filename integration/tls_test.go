package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
)

// certificate writes a self-signed pair for 127.0.0.1 and returns its files and a
// pool that trusts it.
func certificate(t *testing.T, dir string, serial int64) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return certFile, keyFile, pool
}

func TestTLS_HTTPAndWebSocketsAndANewCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key, pool := certificate(t, dir, 1)
	b := newBackend(t, echo)
	s := start(t, anonymous+b.hooked()+"\ntls: {cert_file: "+cert+", key_file: "+key+"}")
	conf := &tls.Config{RootCAs: pool, ServerName: "localhost"}

	get := func() (serial int64) {
		t.Helper()
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: conf}, Timeout: 10 * time.Second}
		defer c.CloseIdleConnections()
		resp, err := c.Get("https://" + s.public + "/hello")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); string(body) != "GET /hello" {
			t.Errorf("got %q", body)
		}
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	get()

	d := &websocket.Dialer{TLSClientConfig: conf, HandshakeTimeout: 10 * time.Second}
	var conns []*websocket.Conn
	for range 2 {
		c, _, err := d.Dial("wss://"+s.public+"/_push", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for i, c := range conns {
		for _, m := range []string{"small", strings.Repeat("x", 60_000), "x"} {
			send(t, c, websocket.BinaryMessage, m)
			if _, got := next(t, c); got != m {
				t.Errorf("connection %d: got %d bytes, want %d", i, len(got), len(m))
			}
		}
	}
	if e := b.got("message")[0]; e.header.Get("X-Forwarded-Proto") != "https" {
		t.Errorf("X-Forwarded-Proto: %q", e.header.Get("X-Forwarded-Proto"))
	}
	s.pushed(t, `{"to":{"all":true},"text":"`+strings.Repeat("y", 300_000)+`"}`)
	for i, c := range conns {
		if _, got := next(t, c); len(got) != 300_000 {
			t.Errorf("connection %d: got %d bytes of the push", i, len(got))
		}
	}

	_, _, pool2 := certificate(t, dir, 2)
	conf = &tls.Config{RootCAs: pool2, ServerName: "localhost"}
	old := conf
	eventually(t, "the new certificate is shown", func() bool {
		c, err := tls.Dial("tcp", s.public, old)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	if n := get(); n != 2 {
		t.Errorf("serial %d, want the new certificate", n)
	}
	_ = conns[0].WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
	if code := closed(t, conns[0]); code != 1000 {
		t.Errorf("closed with %d", code)
	}
	eventually(t, "disconnected", func() bool { return len(b.got("disconnected")) == 1 })
}
