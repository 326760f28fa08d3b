package tlsconf_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/internal/tlsconf"
)

func TestTrust_ClientVerifiesByTheSettings(t *testing.T) {
	cert := testkit.NewCertificate(t, t.TempDir(), "app.internal")
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert.Pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	f := func(trust tlsconf.Trust, host string, want bool) {
		t.Helper()
		c, err := trust.Client("backend.tls", host)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", ln.Addr().String(), c)
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != want {
			t.Errorf("%+v at %s: %v", trust, host, err)
		}
	}
	f(tlsconf.Trust{CAFile: cert.CertFile}, "app.internal", true)
	f(tlsconf.Trust{CAFile: cert.CertFile}, "other.internal", false)
	f(tlsconf.Trust{CAFile: cert.CertFile, ServerName: "app.internal"}, "other.internal", true)
	f(tlsconf.Trust{}, "app.internal", false)
	f(tlsconf.Trust{Insecure: true}, "other.internal", true)
}

func TestErrors_NameSettingAndFile(t *testing.T) {
	dir := t.TempDir()
	cert, other := testkit.NewCertificate(t, dir, "a.example"), testkit.NewCertificate(t, t.TempDir(), "b.example")
	none := filepath.Join(dir, "none.pem")
	f := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	client := func(ca string) error {
		_, err := tlsconf.Trust{CAFile: ca}.Client("redis.tls", "h")
		return err
	}
	show := func(cert, key string) error {
		_, err := tlsconf.NewClient("redis.tls", tlsconf.Trust{}, cert, key, nil)
		return err
	}
	server := func(cert, key string) error {
		_, err := tlsconf.Server(cert, key, nil)
		return err
	}
	f(client(none), "redis.tls.ca_file: "+none+": no such file")
	_, err := tlsconf.NewClient("redis.tls", tlsconf.Trust{CAFile: none}, "", "", nil)
	f(err, "redis.tls.ca_file: "+none+": no such file")
	f(client(cert.KeyFile), "redis.tls.ca_file: "+cert.KeyFile+": no PEM certificate in it")
	f(show(none, none), "redis.tls.cert_file: "+none+": no such file or directory\nredis.tls.key_file: "+none+": no such file")
	f(show(cert.KeyFile, cert.KeyFile), "redis.tls.cert_file: "+cert.KeyFile+": no PEM certificate in it")
	f(show(cert.CertFile, other.KeyFile), "redis.tls.key_file: "+other.KeyFile+": private key does not match")
	f(server(none, cert.KeyFile), none+": no such file")
	f(server(cert.CertFile, other.KeyFile), other.KeyFile+": private key does not match")
}

func TestServer_KeepsTheLastGoodCertificate(t *testing.T) {
	dir := t.TempDir()
	testkit.NewCertificate(t, dir, "one.example")
	failed := 0
	c, err := tlsconf.Server(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), func(error) { failed++ })
	if err != nil {
		t.Fatal(err)
	}
	name := func() string {
		cert, err := c.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf.DNSNames[0]
	}
	if got := name(); got != "one.example" {
		t.Errorf("got %s", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the broken file is noticed", func() bool {
		if got := name(); got != "one.example" {
			t.Fatalf("got %s", got)
		}
		return failed > 0
	})
	testkit.NewCertificate(t, dir, "two.example")
	testkit.Eventually(t, "the new certificate is shown", func() bool { return name() == "two.example" })
}

// Who rotates a client's certificate, or the authority of a server's, restarts nothing.
func TestNewClient_ShowsAndTrustsWhatTheFilesHoldNow(t *testing.T) {
	servers, clients := t.TempDir(), t.TempDir()
	testkit.NewCertificate(t, clients, "one.example")
	server := testkit.NewCertificate(t, servers, "redis.example")
	var failed atomic.Int64
	c, err := tlsconf.NewClient("redis.tls", tlsconf.Trust{CAFile: server.CertFile}, filepath.Join(clients, "cert.pem"), filepath.Join(clients, "key.pem"),
		func(error) { failed.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	// shown is what a server sees of a client, "" if that does not trust it.
	shown := func(server tls.Certificate) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		seen := make(chan string, 1)
		go func() {
			there, err := ln.Accept()
			if err != nil {
				seen <- err.Error()
				return
			}
			defer there.Close()
			conn := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAnyClientCert})
			if conn.Handshake() != nil {
				seen <- ""
				return
			}
			seen <- conn.ConnectionState().PeerCertificates[0].DNSNames[0]
		}()
		if conn, err := tls.Dial("tcp", ln.Addr().String(), c.Config("redis.example")); err == nil {
			defer conn.Close()
		}
		return <-seen
	}
	if got := shown(server.Pair); got != "one.example" {
		t.Fatalf("got %q", got)
	}
	if err := os.WriteFile(filepath.Join(clients, "cert.pem"), []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the broken file is noticed", func() bool {
		if got := shown(server.Pair); got != "one.example" {
			t.Fatalf("got %q", got)
		}
		return failed.Load() > 0
	})
	testkit.NewCertificate(t, clients, "two.example")
	testkit.Eventually(t, "the new certificate is shown", func() bool { return shown(server.Pair) == "two.example" })
	next := testkit.NewCertificate(t, servers, "redis.example")
	testkit.Eventually(t, "the new authority is trusted", func() bool { return shown(next.Pair) == "two.example" })
	if got := shown(server.Pair); got != "" {
		t.Errorf("the old one is still trusted: %q", got)
	}
}
