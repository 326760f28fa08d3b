package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// limited makes cmd run with so many file descriptors.
func limited(cmd *exec.Cmd, descriptors int) *exec.Cmd {
	args := append([]string{"-c", `ulimit -n "$0" && exec "$@"`, strconv.Itoa(descriptors)}, cmd.Args...)
	within := exec.Command("sh", args...)
	within.Env = cmd.Env
	return within
}

// hoarder is a backend whose answers do not end before the test does.
func hoarder(t *testing.T) *backend {
	t.Helper()
	end := make(chan struct{})
	b := newBackend(t, func(w http.ResponseWriter, _ event) { w.WriteHeader(http.StatusNoContent) })
	hooks := b.Config.Handler
	b.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		flow := http.NewResponseController(w)
		switch r.URL.Path {
		case "/hang":
		case "/download":
			_, _ = io.WriteString(w, "some")
			_ = flow.Flush()
		case "/tunnel":
			conn, _, err := flow.Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			go func() {
				<-end
				_ = conn.Close()
			}()
			_, _ = io.Copy(io.Discard, conn)
			return
		default:
			hooks.ServeHTTP(w, r)
			return
		}
		select {
		case <-end:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(end) })
	return b
}

// floods are what clients take descriptors with.
var floods = map[string]string{
	"hanging GETs": "GET /hang HTTP/1.1\r\nHost: a\r\n\r\n",
	"downloads":    "GET /download HTTP/1.1\r\nHost: a\r\n\r\n",
	"tunnels":      "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
	"WebSockets": "GET /_push HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	"idle connections": "",
	"kept-alive ones":  "GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
}

// flood opens n connections and sends text on each.
func flood(t *testing.T, addr, text string, n int) (end func()) {
	t.Helper()
	var conns []net.Conn
	for range n {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		_, _ = io.WriteString(conn, text) // it may be refused by now
	}
	return func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

// fresh calls without a connection that is open already.
func fresh(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// TestDescriptors_CannotBeUsedUpFromOutside: at ulimit -n 100, 75 hanging GETs and
// one connection to the push listener used to end the process.
func TestDescriptors_CannotBeUsedUpFromOutside(t *testing.T) {
	for _, limit := range []int{64, 100, 256} {
		t.Run(strconv.Itoa(limit), func(t *testing.T) {
			t.Parallel()
			b := hoarder(t)
			s := sidecartest.Run(t, limited(sidecartest.Command(t, anonymous+b.hooked()), limit))
			for name, text := range floods {
				end := flood(t, s.Public, text, limit*3/2)
				for range 3 {
					if status, body := fresh(t, "POST", "http://"+s.Push+"/v1/push", `{"to":{"all":true},"text":"x"}`); status != 200 {
						t.Errorf("push beside %s: %d %s", name, status, body)
					}
					if status, body := fresh(t, "GET", "http://"+s.Admin+"/readyz", ""); status != 200 {
						t.Errorf("readyz beside %s: %d %s", name, status, body)
					}
				}
				end()
				testkit.Eventually(t, "clients are served after "+name, func() bool {
					status, _ := fresh(t, "GET", "http://"+s.Public+"/y", "")
					return status == 200
				})
			}
			if n := strings.Count(s.Output(), "cannot be accepted"); n > 3 {
				t.Errorf("%d lines about three listeners:\n%s", n, s.Output())
			}
		})
	}
}

// TestDescriptors_RequestsAreServedBesideIdleConnections: what idle clients may take
// leaves some for the backend.
func TestDescriptors_RequestsAreServedBesideIdleConnections(t *testing.T) {
	b := hoarder(t)
	s := sidecartest.Run(t, limited(sidecartest.Command(t, anonymous+b.hooked()), 100))
	conn, err := net.Dial("tcp", s.Public)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer flood(t, s.Public, "", 150)()
	testkit.Eventually(t, "the node is full", func() bool {
		status, _ := fresh(t, "GET", "http://"+s.Public+"/y", "")
		return status == http.StatusServiceUnavailable
	})
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	fmt.Fprint(conn, "GET /y HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("got %v, %v", resp, err)
	}
}

func TestDescriptors_TooFewAreAStartUpError(t *testing.T) {
	var out strings.Builder
	cmd := limited(sidecartest.Command(t, anonymous), 24)
	cmd.Stderr = &out
	err := cmd.Run()
	if cmd.ProcessState.ExitCode() <= 0 || !strings.Contains(out.String(), "ulimit -n") || !strings.Contains(out.String(), "at least") {
		t.Errorf("%v: %s", err, &out)
	}
	if sys, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && sys.Signaled() {
		t.Errorf("killed by %v", sys.Signal())
	}
}
