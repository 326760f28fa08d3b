package integration

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestTLS_HTTPAndWebSocketsAndANewCertificate(t *testing.T) {
	dir := t.TempDir()
	first := testkit.NewCertificate(t, dir, "localhost")
	b := newBackend(t, echo)
	s := sidecartest.Start(t, anonymous+b.hooked()+"\ntls: {cert_file: "+first.CertFile+", key_file: "+first.KeyFile+"}")
	conf := &tls.Config{RootCAs: first.Pool, ServerName: "localhost"}

	get := func() (serial int64) {
		t.Helper()
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: conf}, Timeout: 10 * time.Second}
		defer c.CloseIdleConnections()
		resp, err := c.Get("https://" + s.Public + "/hello")
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
		c, _, err := d.Dial("wss://"+s.Public+"/_push", nil)
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
	s.Pushed(t, `{"to":{"all":true},"text":"`+strings.Repeat("y", 300_000)+`"}`)
	for i, c := range conns {
		if _, got := next(t, c); len(got) != 300_000 {
			t.Errorf("connection %d: got %d bytes of the push", i, len(got))
		}
	}

	second := testkit.NewCertificate(t, dir, "localhost")
	conf = &tls.Config{RootCAs: second.Pool, ServerName: "localhost"}
	old := conf
	testkit.Eventually(t, "the new certificate is shown", func() bool {
		c, err := tls.Dial("tcp", s.Public, old)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	if n := get(); n != second.Pair.Leaf.SerialNumber.Int64() {
		t.Errorf("serial %d, want the new certificate", n)
	}
	_ = conns[0].WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
	if code := closed(t, conns[0]); code != 1000 {
		t.Errorf("closed with %d", code)
	}
	testkit.Eventually(t, "disconnected", func() bool { return len(b.got("disconnected")) == 1 })
}
