package integration

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// dialTLS starts a sidecar with TLS and connects n clients.
func dialTLS(t *testing.T, yaml string, n int) (*sidecartest.Sidecar, []*websocket.Conn) {
	t.Helper()
	cert := testkit.NewCertificate(t, t.TempDir(), "localhost")
	s := sidecartest.Start(t, yaml+"\ntls: {cert_file: "+cert.CertFile+", key_file: "+cert.KeyFile+"}")
	d := &websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: cert.Pool, ServerName: "localhost"}, HandshakeTimeout: 10 * time.Second}
	var all []*websocket.Conn
	for range n {
		c, _, err := d.Dial("wss://"+s.Public+"/_push", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		all = append(all, c)
	}
	return s, all
}

// Messages that TLS has decrypted, or holds undecrypted, while the connection is
// not read are where epoll cannot see them.
func TestTLS_MessagesBehindASlowAnswerAllArriveInOrder(t *testing.T) {
	b := newBackend(t, func(w http.ResponseWriter, e event) {
		if strings.HasPrefix(e.body, "0 ") {
			time.Sleep(200 * time.Millisecond) // the backend is slow; the rest piles up
		}
		echo(w, e)
	})
	_, conns := dialTLS(t, anonymous+b.hooked(), 2)
	const messages = 200
	for _, c := range conns {
		go func() {
			for i := range messages {
				_ = c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", i*40)))
			}
		}()
	}
	for n, c := range conns {
		for i := range messages {
			if _, got := next(t, c); got != fmt.Sprintf("%d %s", i, strings.Repeat("x", i*40)) {
				t.Fatalf("connection %d, message %d: got %.20q", n, i, got)
			}
		}
	}
}

func TestTLS_LargePushesToAClientThatReadsLateArriveWhole(t *testing.T) {
	s, conns := dialTLS(t, anonymous+"\nwebsocket: {outbox: {messages: 1000, bytes: 64MiB}}", 2)
	const pushes = 40
	for i := range pushes {
		s.Pushed(t, fmt.Sprintf(`{"to":{"all":true},"text":"%d %s"}`, i, strings.Repeat("y", 500_000)))
	}
	for n, c := range conns {
		for i := range pushes {
			if _, got := next(t, c); !strings.HasPrefix(got, fmt.Sprint(i, " ")) || len(got) < 500_000 {
				t.Fatalf("connection %d, push %d: got %.20q of %d bytes", n, i, got, len(got))
			}
		}
	}
}

func TestTLS_ASlowConsumerIsClosedAndTheOthersAreServed(t *testing.T) {
	b := newBackend(t, nil)
	s, conns := dialTLS(t, anonymous+strings.Replace(b.hooked(), "['*']", "[disconnected]", 1)+
		"\nwebsocket: {outbox: {messages: 8, bytes: 1MiB}}", 2)
	fine := conns[1] // the other one never reads
	for i := 0; i < 200 && len(b.got("disconnected")) == 0; i++ {
		s.Pushed(t, fmt.Sprintf(`{"to":{"all":true},"text":"%d %s"}`, i, strings.Repeat("x", 100_000)))
		if _, got := next(t, fine); !strings.HasPrefix(got, fmt.Sprint(i, " ")) {
			t.Fatalf("the other one got %.20q for push %d", got, i)
		}
	}
	testkit.Eventually(t, "disconnected with cause slow", func() bool {
		d := b.got("disconnected")
		return len(d) == 1 && strings.Contains(d[0].body, `"cause":"slow"`)
	})
}

func TestTLS_ClosesInWebSocketInTLSAndInTCP(t *testing.T) {
	t.Parallel() // it mostly waits
	s, conns := dialTLS(t, anonymous, 2)
	s.Pushed(t, `{"to":{"all":true},"text":"last","wait":"5s"}`)
	s.Stop(t)
	for _, c := range conns {
		if _, got := next(t, c); got != "last" {
			t.Errorf("got %q", got)
		}
		if code := closed(t, c); code != 1012 {
			t.Errorf("closed with %d, want 1012", code)
		}
		// After close_notify TLS reads a clean end; without it, an unexpected one.
		if _, err := c.UnderlyingConn().Read(make([]byte, 1)); !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("TLS ended with %v", err)
		}
	}
}

func TestTLS_SilenceEndsWith3008AndPongsKeepAlive(t *testing.T) {
	_, conns := dialTLS(t, anonymous+"\nwebsocket: {ping_interval: 300ms, pong_timeout: 200ms}", 2)
	pings := make(chan struct{}, 100)
	conns[0].SetPingHandler(func(data string) error {
		pings <- struct{}{}
		return conns[0].WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
	})
	conns[1].SetPingHandler(func(string) error { return nil })
	go func() { _, _, _ = conns[0].ReadMessage() }()
	if code := closed(t, conns[1]); code != 3008 {
		t.Errorf("the silent one is closed with %d, want 3008", code)
	}
	for range 5 {
		select {
		case <-pings:
		case <-time.After(10 * time.Second):
			t.Fatal("no more pings to the one that answers")
		}
	}
}
