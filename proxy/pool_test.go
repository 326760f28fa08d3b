package proxy_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestBackendConnection_IsKeptAndUsedByTheNext(t *testing.T) {
	r := newRig(t)
	first, second := r.dial(), r.dial()
	first.send(get)
	b := r.asked()
	b.head()
	b.send(ok)
	first.wants(ok)
	first.stays() // the connection is given back just after the answer
	second.send(get)
	b.head() // on the same connection
	b.send(ok)
	second.wants(ok)
}

func TestBackendConnection_IsNotKeptWhenItSaysSo(t *testing.T) {
	r := newRig(t)
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
	} {
		c := r.sends(get)
		b := r.asked()
		b.head()
		b.send(answer)
		c.wants(ok)
		b.ends()
		c.stays()
	}
}

func TestPool_KeepsNoMoreThanMaxConnections(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Backend.MaxConnections = 1 })
	var backends []*peer
	for range 3 {
		_, b := r.stream()
		backends = append(backends, b)
	}
	for _, b := range backends {
		b.send("0\r\n\r\n")
	}
	open := 0
	for _, b := range backends {
		_ = b.conn.SetReadDeadline(time.Now().Add(quiet))
		if _, err := b.in.ReadByte(); errors.Is(err, os.ErrDeadlineExceeded) {
			open++
		}
	}
	if open != 1 {
		t.Errorf("%d connections are kept", open)
	}
}

func TestBackendConnection_IsClosedWhenIdleTooLong(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Backend.IdleTimeout = 100 * time.Millisecond })
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send(ok)
	c.wants(ok)
	b.ends()
}

func TestMaxConnections_RequestsWaitAndThenGet503(t *testing.T) {
	r := newRig(t, func(c *config.Config) {
		c.Backend.MaxConnections = 1
		c.Backend.ConnectTimeout = 300 * time.Millisecond
	})
	first := r.sends(get)
	b := r.asked()
	b.head()
	second := r.sends(get)
	second.wants("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n")

	third := r.dial()
	third.send("GET /third HTTP/1.1\r\nHost: app\r\n\r\n")
	third.stays()
	b.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
	first.wants(ok)
	b = r.asked()
	if head := b.head(); !strings.HasPrefix(head, "GET /third ") { // it waited
		t.Errorf("head %q", head)
	}
	b.send(ok)
	third.wants(ok)
}

func TestMaxConnections_StreamsAndTunnelsDoNotCount(t *testing.T) {
	r := newRig(t, func(c *config.Config) {
		c.Backend.MaxConnections = 1
		c.Backend.ConnectTimeout = 300 * time.Millisecond
	})
	r.stream()
	r.tunnel()
	r.upload()
	r.next()
}

// upload leaves a request's body under way.
func (r *rig) upload() (client, backend *peer) {
	r.t.Helper()
	c := r.sends("POST /upload HTTP/1.1\r\nHost: app\r\nContent-Length: 3\r\n\r\na")
	b := r.asked()
	b.head()
	b.wants("a")
	return c, b
}

func TestMaxStreams_DoesNotRefuseUploads(t *testing.T) {
	r := newRig(t, func(c *config.Config) {
		c.Backend.MaxConnections, c.Backend.MaxStreams = 1, 1
		c.Backend.ConnectTimeout = 300 * time.Millisecond
	})
	r.stream()
	c, b := r.upload() // takes the only place of a request
	r.sends(get).wants("HTTP/1.1 503 ")
	c.send("bc")
	b.wants("bc")
	b.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
	c.wants(ok)
	r.next()
}

// stream leaves a response under way.
func (r *rig) stream() (client, backend *peer) {
	r.t.Helper()
	c := r.sends("GET /stream HTTP/1.1\r\nHost: app\r\n\r\n")
	b := r.asked()
	b.head()
	start := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
	b.send(start)
	c.wants(start)
	return c, b
}

func TestMaxStreams_BoundsStreamsAndTunnelsButNoPlainRequest(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Backend.MaxStreams = 1 })
	open, _ := r.stream()
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
	c.wants("HTTP/1.1 503 ")
	b.ends()
	c = r.sends(askTunnel)
	b = r.asked()
	b.head()
	b.send(switching)
	c.wants("HTTP/1.1 503 ")
	b.ends()
	r.next()
	_ = open.conn.Close()
	testkit.Eventually(t, "the stream's place is free", func() bool {
		c := r.sends(get)
		b := r.asked()
		b.head()
		b.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
		return strings.HasPrefix(c.head(), "HTTP/1.1 200 ")
	})
}

func TestBackend_ThatCannotBeReachedIs502(t *testing.T) {
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	_ = ln.Close()
	r := newRigAt(t, ln, "http://"+ln.Addr().String())
	c := r.sends(get)
	c.wants("HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\n")
	if head := c.head(); strings.Contains(head, "Connection: close") {
		t.Errorf("a client loses its connection for it: %q", head)
	}
}

func TestBackend_ThatDoesNotAnswerIs504(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Backend.ResponseTimeout = 200 * time.Millisecond })
	c := r.sends(get)
	b := r.asked()
	b.head()
	c.wants("HTTP/1.1 504 Gateway Timeout\r\nContent-Type: application/json\r\n")
	b.ends()
	r.next()
}

func TestResponseTimeout_IsForTheHeadOnly(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Backend.ResponseTimeout = 200 * time.Millisecond })
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
	c.wants("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
	for range 4 {
		c.stays()
	}
	b.send("k")
	c.wants("k")
}

func TestResponseTimeout_HoldsAfterA100ThatComesBehindTheBody(t *testing.T) {
	r := newRig(t, func(c *config.Config) {
		c.Backend.ResponseTimeout, c.Client.BodyTimeout = 300*time.Millisecond, time.Hour
	})
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\n")
	b := r.asked()
	b.head()
	c.send("hello")
	b.wants("hello")
	c.stays()                               // the upload is over
	b.send("HTTP/1.1 100 Continue\r\n\r\n") // and nothing more
	c.wants("HTTP/1.1 100 Continue\r\n\r\n")
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 504 ") {
		t.Errorf("head %q", head)
	}
}

func TestBodyTimeout_IsOverWhenTheBodyIs(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Client.BodyTimeout = 200 * time.Millisecond })
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\n")
	b := r.asked()
	b.head()
	c.send("hello")
	b.wants("hello")
	c.stays() // the upload is over
	b.send("HTTP/1.1 100 Continue\r\n\r\n")
	c.wants("HTTP/1.1 100 Continue\r\n\r\n")
	for range 3 {
		c.stays()
	}
	b.send(ok)
	c.wants(ok)
}

func TestResponseTimeout_DoesNotCountAClientThatUploadsSlowly(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Backend.ResponseTimeout = 200 * time.Millisecond })
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 4\r\n\r\na")
	b := r.asked()
	b.head()
	for range 3 {
		c.stays()
		c.stays()
		c.send("x")
	}
	b.wants("axxx")
	b.send(ok)
	c.wants(ok)
}

func TestBackend_OnAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	newRigAt(t, ln, "unix:"+path).next()
}

func TestBackend_OnIPv6(t *testing.T) {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		testkit.Missing(t, "IPv6")
	}
	newRigAt(t, ln, "http://"+ln.Addr().String()).next()
}

func TestBackend_OverTLSIsVerified(t *testing.T) {
	dir := t.TempDir()
	cert := testkit.NewCertificate(t, dir, "app.internal").Pair
	f := func(change func(*config.BackendTLS), works bool) {
		t.Helper()
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
		if err != nil {
			t.Fatal(err)
		}
		r := newRigAt(t, ln, "https://"+ln.Addr().String(), func(c *config.Config) { change(&c.Backend.TLS) })
		if works {
			c := r.sends(get)
			b := r.asked()
			for range 3 { // on the kept connection, with session tickets on it
				b.head()
				b.send(ok)
				c.wants(ok)
				c.send(get)
			}
			return
		}
		c := r.sends(get)
		go func() { _ = r.asked().conn.(*tls.Conn).Handshake() }()
		c.wants("HTTP/1.1 502 ")
	}
	ca := filepath.Join(dir, "cert.pem")
	f(func(c *config.BackendTLS) { c.CAFile, c.ServerName = ca, "app.internal" }, true)
	f(func(c *config.BackendTLS) { c.Insecure = true }, true)
	f(func(c *config.BackendTLS) { c.CAFile = ca }, false)
	f(func(c *config.BackendTLS) { c.ServerName = "app.internal" }, false)
}

// corked is a connection whose writes can be held back, to go out as one.
type corked struct {
	net.Conn
	cork bool
	held []byte
}

func (c *corked) Write(p []byte) (int, error) {
	c.held = append(c.held, p...)
	if c.cork {
		return len(p), nil
	}
	_, err := c.Conn.Write(c.held)
	c.held = nil
	return len(p), err
}

type corkedTLS struct {
	net.Listener
	cfg *tls.Config
}

func (l corkedTLS) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(&corked{Conn: conn}, l.cfg), nil
}

// What came with the answer, but in another TLS record, was read off the socket
// and waited where no look at the socket could find it.
func TestBackend_OverTLS_SurplusRecordsAreNobodysAnswer(t *testing.T) {
	cert := testkit.NewCertificate(t, t.TempDir(), "app.internal").Pair
	for _, surplus := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "x", ""} {
		ln := testkit.Listen(t)
		r := newRigAt(t, corkedTLS{ln, &tls.Config{Certificates: []tls.Certificate{cert}}}, "https://"+ln.Addr().String(),
			func(c *config.Config) { c.Backend.TLS.Insecure = true })
		c := r.sends(get)
		b := r.asked()
		b.head()
		wire := b.conn.(*tls.Conn).NetConn().(*corked)
		wire.cork = true
		b.send(ok)
		if surplus != "" {
			b.send(surplus)
		} else {
			_ = b.conn.(*tls.Conn).CloseWrite()
		}
		wire.cork = false
		_ = wire.SetWriteDeadline(time.Time{}) // CloseWrite leaves one
		_, _ = wire.Write(nil)
		c.wants(ok)
		r.next()
	}
}
