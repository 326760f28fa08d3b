package proxy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestSlowHeads_AreShedAndOthersServed(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Client.HeadTimeout = 500 * time.Millisecond })
	var slow []*peer
	for range 400 {
		slow = append(slow, r.sends("GET / HTTP/1.1\r\nHost: app\r\nX: "))
	}
	r.next()
	for _, c := range slow {
		got, err := c.rest()
		if strings.Contains(got, "200") || err != nil && !isReset(err) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	r.next()
}

// A head of 64 KiB could have 16,000 lines; what was found out about them took 25
// times its size, for as long as the backend worked.
func TestManyHeaderLines_TakeNoMemoryWhileTheBackendWorks(t *testing.T) {
	const clients = 100
	r := newRig(t)
	head := "GET / HTTP/1.1\r\nHost: app\r\n" + strings.Repeat("a:"+strings.Repeat("b", 500)+"\r\n", 127) + "\r\n"
	before := live()
	for range clients {
		r.sends(head)
		_ = r.asked()
	}
	if each := (live() - before) / clients; each > 256<<10 {
		t.Errorf("a waiting request takes %d KiB", each>>10)
	}
}

// live is what of the heap is in use.
func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestBackend_ThatDoesNotReadIs504(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Backend.ResponseTimeout = 300 * time.Millisecond })
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 1000000000\r\n\r\n")
	b := r.asked()
	go pour(c)
	c.wants("HTTP/1.1 504 ")
	if n, _ := io.Copy(io.Discard, b.conn); n >= 1_000_000_000 {
		t.Error("a whole request reached the backend")
	}
	r.next()
}

func TestSlowBodies_AreShedAndOthersServed(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Client.BodyTimeout = time.Second })
	var slow, backends []*peer
	for i := range 400 {
		framing := []string{"Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"}[i%2]
		slow = append(slow, r.sends("POST / HTTP/1.1\r\nHost: app\r\n"+framing))
		backends = append(backends, r.asked())
	}
	r.next()
	for i, c := range slow {
		c.wants("HTTP/1.1 408 ")
		if got, err := backends[i].tryMessage(); err == nil {
			t.Errorf("a whole request reached the backend: %q", got)
		}
	}
	r.next()
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

func TestHeadTimeout_CountsFromTheFirstByteNotTheLast(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Client.HeadTimeout = 300 * time.Millisecond })
	c := r.sends("GET / HT")
	began := time.Now()
	for time.Since(began) < patience {
		_ = c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "timeout") {
			return // answered 408 or closed
		}
		_, _ = io.WriteString(c.conn, "x") // a byte now and then
	}
	t.Error("a head that never ends keeps its connection")
}

func TestSlowBody_IsShed(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Client.BodyTimeout = 300 * time.Millisecond })
	c := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nhello")
	b := r.asked()
	b.head()
	c.wants("HTTP/1.1 408 ")
	if got, _ := b.rest(); got != "hello" {
		t.Errorf("the backend got %q", got)
	}
}

func TestNonReadingClient_IsShed(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Client.SendTimeout = 300 * time.Millisecond })
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
	pour(b)
	b.ends()
	_ = c
	r.next()
}

func TestSlowReader_ThatReadsIsNotShed(t *testing.T) {
	// Longer than any of its pauses on a machine that is busy, shorter than all of them.
	const timeout, pauses = 1500 * time.Millisecond, 8
	r := newRig(t, func(c *config.Config) { c.Client.SendTimeout = timeout })
	c := r.sends(get)
	b := r.asked()
	b.head()
	const size = 24 << 20
	b.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size))
	go func() { _, _ = io.WriteString(b.conn, strings.Repeat("x", size)) }()
	c.head()
	for got, read := 0, 0; got < size; read++ {
		if read < pauses {
			<-time.After(timeout / (pauses - 2))
		}
		_ = c.conn.SetReadDeadline(time.Now().Add(patience))
		n, err := io.CopyN(io.Discard, c.in, 512<<10)
		got += int(n)
		if err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
	}
}

func TestIdleConnection_IsClosed(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Client.IdleTimeout = 200 * time.Millisecond })
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send(ok)
	c.wants(ok)
	c.ends()
}

func TestMaxConnections_OfClients(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Client.MaxConnections = 2 })
	first, _ := r.stream()
	second := r.dial()
	testkit.Eventually(t, "the third is refused", func() bool {
		got, _ := r.dial().rest()
		return strings.HasPrefix(got, "HTTP/1.1 503 ")
	})
	if limit, refused := r.gauge("pushcart_client_connections_limit"), r.gauge("pushcart_client_connections_refused_total"); limit != 2 || refused == 0 {
		t.Errorf("metrics have a limit of %v and %v refused", limit, refused)
	}
	_ = first.conn.Close()
	_ = second.conn.Close()
	testkit.Eventually(t, "there is room again", func() bool {
		c := r.dial()
		if _, err := io.WriteString(c.conn, get); err != nil {
			return false
		}
		select {
		case b := <-r.peers:
			b.head()
			b.send(ok)
			c.wants(ok)
			return true
		case <-time.After(quiet):
			return false
		}
	})
}

func TestShutdown_LetsRequestsInFlightFinish(t *testing.T) {
	r := newRig(t)
	idle := r.sends(get)
	b0 := r.asked()
	b0.head()
	b0.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
	idle.wants(ok)
	half := r.sends("GET / HT")
	c := r.sends(get)
	b := r.asked()
	b.head()

	r.server.BeginDrain()
	late := r.sends(get) // still taken
	b2 := r.asked()
	b2.head()
	b2.send(ok)
	late.wants("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	late.ends()

	done := make(chan error, 1)
	go func() { done <- r.server.Shutdown(context.Background()) }()
	idle.ends()
	b.send(ok)
	c.wants("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	c.ends()
	_ = half.conn.Close()
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := net.Dial("tcp", r.address); err == nil {
		t.Error("connections are still taken")
	}
}

func TestShutdown_CutsWhatIsLeftInTheEnd(t *testing.T) {
	r := newRig(t)
	stream, _ := r.stream()
	c, b := r.tunnel()
	waiting := r.sends(get)
	r.asked().head()
	upload := r.sends("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nhello")
	r.asked().head()
	half := r.sends("GET / HT")
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := r.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	b.ends()
	for _, p := range []*peer{stream, c, waiting, upload, half} {
		if _, err := p.rest(); err != nil && !isReset(err) {
			t.Errorf("still open: %v", err)
		}
	}
}

// The end of the time to drain used to look like a stale connection: the request
// was sent again, and Shutdown waited for its answer.
func TestShutdown_DoesNotSendAgainWhatItCuts(t *testing.T) {
	r := newRig(t)
	c, b := r.kept()
	c.send(get)
	b.head()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.server.Shutdown(ctx) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("Shutdown does not return")
	}
	b.ends()
	r.untouched()
}

// A request that got its connection to the backend just after the cut used to be
// waited for.
func TestShutdown_CutsWhatStillConnects(t *testing.T) {
	dir := t.TempDir()
	cert := testkit.NewCertificate(t, dir, "app.internal").Pair
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRigAt(t, ln, "https://"+ln.Addr().String(), func(c *config.Config) {
		c.Backend.TLS.Insecure, c.Backend.ConnectTimeout = true, patience
	})
	r.sends(get)
	b := r.asked()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.server.Shutdown(ctx) }()
	cancel()
	<-time.After(quiet)
	_, _ = b.tryHead() // now the handshake is made
	select {
	case <-done:
	case <-time.After(patience / 2):
		t.Fatal("Shutdown does not return")
	}
}

func TestTLS_OnThePublicListener(t *testing.T) {
	dir := t.TempDir()
	testkit.NewCertificate(t, dir, "one.example")
	r := newRig(t, func(c *config.Config) {
		c.TLS = config.TLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	})
	dial := func() (*peer, string) {
		conn, err := tls.Dial("tcp", r.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if p := conn.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
			t.Errorf("protocol %q", p)
		}
		return newPeer(t, conn), conn.ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	c, name := dial()
	if name != "one.example" {
		t.Errorf("certificate of %s", name)
	}
	c.send("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\nhel")
	b := r.asked()
	if head := b.head(); !strings.Contains(head, "\r\nX-Forwarded-Proto: https\r\n") {
		t.Errorf("head %q", head)
	}
	c.send("lo")
	b.wants("hello")
	b.send(ok)
	c.wants(ok)
	c.send(get)
	b.head()
	b.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
	c.head()
	c.wants("1\r\na\r\n")
	_ = c.conn.Close()
	b.ends() // the client's end is seen through TLS

	c, _ = dial()
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	<-time.After(1200 * time.Millisecond) // it is looked at once a second
	if _, name := dial(); name != "one.example" {
		t.Errorf("while the files are broken, the certificate is of %s", name)
	}
	testkit.NewCertificate(t, dir, "two.example")
	testkit.Eventually(t, "the new certificate is shown", func() bool {
		_, name := dial()
		return name == "two.example"
	})
	c.send(get) // the old connection goes on
	b = r.asked()
	b.head()
	b.send(ok)
	c.wants(ok)
}

func TestManyClients_NeverGetEachOthersAnswers(t *testing.T) {
	r := newRig(t)
	go func() {
		for p := range r.peers {
			go func() {
				for {
					head, err := p.tryHead()
					if err != nil {
						return
					}
					path := strings.Fields(head)[1]
					_, _ = fmt.Fprintf(p.conn, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(path), path)
				}
			}()
		}
	}()
	var wg sync.WaitGroup
	for client := range 16 {
		wg.Go(func() {
			conn, err := net.Dial("tcp", r.address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			p := newPeer(t, conn)
			for i := range 100 {
				path := fmt.Sprintf("/%d/%d", client, i)
				_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: app\r\n\r\n", path)
				want := fmt.Sprintf("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(path), path)
				got := make([]byte, len(want))
				if _, err := io.ReadFull(p.in, got); err != nil || string(got) != want {
					t.Errorf("%s: got %q, %v", path, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
