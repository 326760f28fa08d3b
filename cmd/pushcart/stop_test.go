package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// hanging is an app that never answers what it is asked on a path.
func hanging(t *testing.T) (url string, asked chan string) {
	t.Helper()
	asked = make(chan string, 8)
	letGo := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- r.URL.Path
		<-letGo
	}))
	t.Cleanup(func() {
		close(letGo)
		app.Close()
	})
	return app.URL, asked
}

// knock begins a handshake.
func knock(t *testing.T, r *running) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", r.public.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, _ = fmt.Fprint(conn, "GET /_push HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: a=eyJhbGciOiJFUzI1NiJ9.e30.AAAA\r\n\r\n")
	return conn
}

// A handshake that waited for its backend held the end of the process for
// handshake_timeout, also after the second signal.
func TestStop_DoesNotWaitForHandshakesBehindABackendThatHangs(t *testing.T) {
	f := func(name string, change func(c *config.Config, app string)) {
		t.Helper()
		for _, again := range []bool{false, true} {
			app, asked := hanging(t)
			r := startNode(t, func(c *config.Config) {
				c.WebSocket.HandshakeTimeout = time.Minute
				c.Shutdown.Drain = time.Second
				change(c, app)
			})
			conn := knock(t, r)
			<-asked
			testkit.Eventually(t, "a handshake", func() bool { return r.ws.Connections() > 0 })
			began := time.Now()
			if again {
				r.signals <- syscall.SIGTERM
				r.signals <- syscall.SIGINT
			} else {
				r.signals <- syscall.SIGTERM
			}
			if err := r.end(t); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s, second signal %v: took %v", name, again, took)
			}
			if answer, _ := io.ReadAll(conn); !again && !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") {
				t.Errorf("%s: the client got %q, want a 503", name, answer)
			}
		}
	}
	f("connect", func(c *config.Config, app string) {
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned, c.Webhook.Timeout = app+"/hook", []string{"connect"}, true, time.Minute
	})
	f("forward", func(c *config.Config, app string) {
		c.Auth.Forward.URL, c.Auth.Forward.User, c.Auth.Forward.Timeout = app+"/me", "/id", time.Minute
	})
	f("JWKS", func(c *config.Config, app string) {
		c.Auth.JWT.JWKSURL, c.Auth.JWT.Algorithms = app+"/keys", []string{"ES256"}
		c.Auth.JWT.Sources = []string{"cookie:a"}
	})
}

// Supervisors that signal a process and its group send two.
func TestStop_ASecondSIGTERMWithinASecondCountsAsOne(t *testing.T) {
	r := startNode(t, func(c *config.Config) { c.Shutdown.Delay = time.Minute })
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; !strings.Contains(r.log.String(), "stopping at once"); <-tick.C {
		select {
		case r.signals <- syscall.SIGTERM:
		default:
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("later ones do not count either")
		}
	}
	if took := time.Since(began); took < sameSignal {
		t.Errorf("it ended at once after %v", took)
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}
