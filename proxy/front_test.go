package proxy_test

import (
	"crypto/tls"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

func withTLS(dir string) func(*config.Config) {
	return func(c *config.Config) {
		c.TLS = config.TLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	}
}

const clientHello = "\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03"

func TestOtherProtocols_AreCalledByTheirNames(t *testing.T) {
	f := func(sent, name, setting string) {
		t.Helper()
		r := newRig(t)
		for range 2 {
			c := r.sends(sent)
			if got, _ := c.rest(); !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, name) {
				t.Errorf("%q: got %q", sent, got)
			}
		}
		r.untouched()
		r.wantsLog("WARN", name, "status=400", "ip=127.0.0.1", "setting="+setting)
	}
	f("PROXY TCP4 192.0.2.1 192.0.2.2 40000 80\r\n"+get, "PROXY protocol (version 1)", "trusted_proxies")
	f("PROXY UNKNOWN\r\n"+get, "PROXY protocol (version 1)", "trusted_proxies")
	f("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x00\x00\x00\x50"+get, "PROXY protocol (version 2)", "trusted_proxies")
	f(clientHello+strings.Repeat("x", 40), "TLS", "tls")
	f(clientHello+"\r\n\r\n", "TLS", "tls")
	f("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "HTTP/2", "listen")
}

func TestPlainProtocols_OnTheTLSPort(t *testing.T) {
	f := func(sent, name string) {
		t.Helper()
		dir := t.TempDir()
		testkit.NewCertificate(t, dir, "one.example")
		r := newRig(t, withTLS(dir))
		got, _ := r.sends(sent).rest()
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, name) {
			t.Errorf("%q: got %q", sent, got)
		}
		r.wantsLog("WARN", name, "setting=tls")
	}
	f(get, "this is plain HTTP, but TLS is spoken here: use https://")
	f("POST / HTTP/1.0\r\n\r\n", "this is plain HTTP")
	f("PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n", "PROXY protocol (version 1)")
	f("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "PROXY protocol (version 2)")
	f("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2")
}

func TestForwardedLines_OfAFrontThatIsNotTrusted(t *testing.T) {
	f := func(request string, warns bool, change ...func(*config.Config)) {
		t.Helper()
		r := newRig(t, append(change, func(c *config.Config) { c.WebSocket.Paths = []string{"/ws"} })...)
		for range 2 {
			r.sends(request)
			select {
			case b := <-r.peers:
				b.head()
			case <-r.taken:
			case <-time.After(patience):
				t.Fatal("it went nowhere")
			}
		}
		if warns {
			r.wantsLog("WARN", "X-Forwarded-*", "ip=127.0.0.1", "setting=trusted_proxies")
		} else if all := r.log.with("WARN"); len(all) > 0 {
			t.Errorf("%q: %q", request, all)
		}
	}
	forwarded := "X-Forwarded-For: 192.0.2.1\r\n"
	f("GET / HTTP/1.1\r\nHost: app\r\n"+forwarded+"\r\n", true)
	f("GET / HTTP/1.1\r\nHost: app\r\nx-forwarded-proto: https\r\n\r\n", true)
	f("GET /ws HTTP/1.1\r\n"+forwarded+strings.TrimPrefix(handshake, " HTTP/1.1\r\n"), true)
	f(get, false)
	f("GET / HTTP/1.1\r\nHost: app\r\n"+forwarded+"\r\n", false, func(c *config.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
}

func TestFrontThatDropsUpgrade_IsNamed(t *testing.T) {
	f := func(request string, warns bool) {
		t.Helper()
		r := newRig(t)
		c := r.sends(request)
		b := r.asked() // it is an ordinary request all the same
		b.head()
		b.send(ok)
		c.wants("HTTP/1.1 200 ")
		if warns {
			r.wantsLog("WARN", "Upgrade", "path=/_push", "setting=websocket.paths")
		} else if all := r.log.with("WARN"); len(all) > 0 {
			t.Errorf("%q: %q", request, all)
		}
	}
	key := "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	f("GET /_push HTTP/1.0\r\nHost: app\r\nConnection: close\r\n"+key, true)
	f("GET /_push HTTP/1.1\r\nHost: app\r\n"+key, true)
	f("GET /other HTTP/1.1\r\nHost: app\r\n"+key, false)
	f("GET /_push HTTP/1.1\r\nHost: app\r\n\r\n", false)
}

// A newcomer's page that connects to /ws, where /_push was meant, saw the app's 404
// and no word in the log.
func TestHandshakeForTheBackend_ThatItDoesNotTake(t *testing.T) {
	f := func(path, answer string, warns bool) {
		t.Helper()
		r := newRig(t, func(c *config.Config) { c.WebSocket.Paths = []string{"/_push"} })
		for range 2 {
			r.sends("GET " + path + " HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
			b := r.asked()
			b.head()
			b.send(answer)
			_ = b.conn.Close()
		}
		if warns {
			r.wantsLog("WARN", "handshake", "path=/ws", "status="+answer[9:12], "ip=127.0.0.1", "setting=websocket.paths")
			return
		}
		r.sends(get)
		b := r.asked()
		b.head()
		b.send(ok)
		if all := r.log.with("WARN"); len(all) > 0 {
			t.Errorf("%s, %q: %q", path, answer, all)
		}
	}
	f("/ws", "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n", true)
	f("/ws?a=SECRET", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", true)
	f("/ws", "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n", false)
	f("/ws", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false)
}

// One line per failed request filled disks while the app was being deployed.
func TestBackendThatIsAway_IsLoggedOnceAMinute(t *testing.T) {
	r := newRig(t)
	_ = r.backend.Close()
	c := r.dial()
	for range 20 {
		c.send(get)
		c.wants("HTTP/1.1 502 ")
		c.head()
		c.wants(`{"error":{"code":"backend_error","message":"the backend cannot be reached"}}`)
	}
	r.wantsLog("WARN request failed", "status=502", "the backend cannot be reached", "backend=http://"+r.backend.Addr().String(), "refused", "setting=backend.url")
}

func TestBrokenAnswer_IsLoggedWithTheBackend(t *testing.T) {
	f := func(answer string, parts ...string) {
		t.Helper()
		r := newRig(t)
		r.sends(get)
		b := r.asked()
		b.head()
		b.send(answer)
		_ = b.conn.Close()
		r.wantsLog(append(parts, "WARN", "backend=http://", "setting=backend.url")...)
	}
	f("HTTP/1.1 200 OK\r\nX: 1", "backend broke off")
	f("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "response broke off")
	f("HTTP/1.1 200 OK\r\nX : 1\r\n\r\n", "the backend's answer cannot be read")
}

func TestCertificate_IsReadAgainByItsContent(t *testing.T) {
	dir := t.TempDir()
	testkit.NewCertificate(t, dir, "one.example")
	cert := filepath.Join(dir, "cert.pem")
	before, err := os.Stat(cert)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, withTLS(dir))
	name := func() string {
		conn, err := tls.Dial("tcp", r.address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	if got := name(); got != "one.example" {
		t.Errorf("certificate of %s", got)
	}
	testkit.NewCertificate(t, dir, "two.example")
	for _, file := range []string{cert, filepath.Join(dir, "key.pem")} {
		if err := os.Chtimes(file, before.ModTime(), before.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "the new certificate is shown", func() bool { return name() == "two.example" })

	if err := os.WriteFile(cert, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the log says that it cannot be read", func() bool {
		if got := name(); got != "two.example" {
			t.Fatalf("certificate of %s", got)
		}
		return len(r.log.with("WARN", "certificate", "setting=tls.cert_file")) > 0
	})
}
