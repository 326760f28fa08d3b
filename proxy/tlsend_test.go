package proxy_test

import (
	"crypto/tls"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// Whoever sits between can cut a body that ends with its connection; close_notify
// tells (RFC 9112 §9.8). crypto/tls itself takes the socket's end for one.
func TestBackend_OverTLS_EndWithoutCloseNotifyIsABrokenTransfer(t *testing.T) {
	cert := testkit.NewCertificate(t, t.TempDir(), "app.internal").Pair
	f := func(notify bool) {
		t.Helper()
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
		if err != nil {
			t.Fatal(err)
		}
		r := newRigAt(t, ln, "https://"+ln.Addr().String(), func(c *config.Config) { c.Backend.TLS.Insecure = true })
		c := r.sends(get)
		b := r.asked()
		b.head()
		b.send("HTTP/1.1 200 OK\r\n\r\nabc")
		if c.head(); notify {
			_ = b.conn.(*tls.Conn).CloseWrite()
		}
		c.wants("abc")
		_ = b.conn.(*tls.Conn).NetConn().Close()
		rest, err := c.rest()
		if rest != "" || (err == nil) != notify {
			t.Errorf("close_notify %v: the client's transfer ends with %q, %v", notify, rest, err)
		}
		if err != nil && !isReset(err) {
			t.Errorf("close_notify %v: %v", notify, err)
		}
	}
	f(true)
	f(false)
}
