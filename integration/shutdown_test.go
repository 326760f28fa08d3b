package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// TestShutdown_RequestsInFlightFinishAndStreamsAreCut: a request that is under way
// gets its whole answer; an endless stream ends with shutdown.drain.
func TestShutdown_RequestsInFlightFinishAndStreamsAreCut(t *testing.T) {
	arrived, goOn := make(chan string, 2), make(chan struct{})
	b := newBackend(t, nil)
	b.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- r.URL.Path
		if r.URL.Path == "/sse" {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		<-goOn
		fmt.Fprint(w, strings.Repeat("x", 100_000))
	})
	s := sidecartest.Start(t, anonymous+"\nbackend: {url: '"+b.URL+"'}\nshutdown: {drain: 2s}")

	sse, err := client.Get("http://" + s.Public + "/sse")
	if err != nil {
		t.Fatal(err)
	}
	defer sse.Body.Close()
	answer := make(chan string, 1)
	go func() {
		resp, err := client.Get("http://" + s.Public + "/slow")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		answer <- fmt.Sprint(resp.StatusCode, resp.Header["Connection"], resp.Close, len(body), err)
	}()
	<-arrived
	<-arrived
	began := time.Now()
	s.Signal(syscall.SIGTERM)
	testkit.Eventually(t, "readyz is 503", func() bool {
		status, _ := call(t, "GET", "http://"+s.Admin+"/readyz", "", "")
		return status == 503
	})
	close(goOn)
	if got := <-answer; !strings.HasPrefix(got, "200 ") || !strings.Contains(got, " true 100000 <nil>") {
		t.Errorf("the request in flight: got %s, want 200, closing, 100000 bytes", got)
	}
	text, err := io.ReadAll(sse.Body)
	if !strings.Contains(string(text), "data: 1") || err == nil {
		t.Errorf("the stream: %q %v, want a break", text, err)
	}
	code := s.AwaitExit(t, 5*time.Second)
	if d := time.Since(began); code != 0 || d < 1500*time.Millisecond || d > 4*time.Second {
		t.Errorf("exit %d after %v, want 0 after the 2 s of drain", code, d)
	}
}

// TestShutdown_NobodyHoldsItUp: a webhook backend that never answers, and
// connections to the push and admin listeners on which nothing was ever sent, do
// not delay the end beyond delay + drain + webhook.timeout.
func TestShutdown_NobodyHoldsItUp(t *testing.T) {
	release := make(chan struct{})
	b := newBackend(t, func(w http.ResponseWriter, e event) {
		if e.kind == "pushcart.disconnected" {
			<-release
		}
		w.WriteHeader(http.StatusNoContent)
	})
	defer close(release)
	s := sidecartest.Start(t, anonymous+strings.Replace(b.hooked(), "timeout: 2s", "timeout: 1s", 1))
	for _, addr := range []string{s.Push, s.Admin} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	for range 3 {
		dial(t, s, nil)
	}
	go func() { // a slow push, with which shutdown does not wait for all of its 30 s
		resp, err := client.Post("http://"+s.Push+"/v1/push", "", strings.NewReader(`{"to":{"users":["nobody"]},"text":"x","wait":"30s"}`))
		if err == nil {
			resp.Body.Close()
		}
	}()
	began := time.Now()
	s.Signal(syscall.SIGTERM)
	code := s.AwaitExit(t, 10*time.Second)
	if d := time.Since(began); code != 0 || d > 3*time.Second {
		t.Errorf("exit %d after %v, want 0 within drain 1s + timeout 1s", code, d)
	}
	if out := s.Output(); !strings.Contains(out, "webhook events lost") {
		t.Errorf("the lost events are not in the log:\n%s", out)
	}
}

// TestShutdown_HandshakesGoOnDuringTheDelayAndEndWithIt: the balancer has
// shutdown.delay to notice.
func TestShutdown_HandshakesGoOnDuringTheDelayAndEndWithIt(t *testing.T) {
	b := newBackend(t, func(w http.ResponseWriter, e event) { w.WriteHeader(http.StatusNoContent) })
	s := sidecartest.Start(t, anonymous+b.hooked()+"\nshutdown: {delay: 1s, drain: 3s}")
	stuck := dialStuck(t, s)
	defer stuck.Close()
	s.Signal(syscall.SIGTERM)
	testkit.Eventually(t, "readyz is 503", func() bool {
		status, _ := call(t, "GET", "http://"+s.Admin+"/readyz", "", "")
		return status == 503
	})
	c := dial(t, s, nil) // still taken
	if code := closed(t, c); code != 1012 {
		t.Errorf("closed with %d, want 1012", code)
	}
	// While the connection that does not answer its Close is awaited, plain requests
	// go on and handshakes do not.
	if _, err := tryDial(s, "/_push", nil); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a handshake while draining: %v, want 503", err)
	}
	if status, body := call(t, "GET", "http://"+s.Public+"/hello", "", ""); status != 200 {
		t.Errorf("a plain request while draining: %d %s", status, body)
	}
	s.AwaitExit(t, 10*time.Second)
}

// dialStuck opens a WebSocket that never answers anything.
func dialStuck(t *testing.T, s *sidecartest.Sidecar) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Public)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /_push HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("handshake: %v %v", resp, err)
	}
	return conn
}

func TestSIGHUP_WhileItStopsIsRefused(t *testing.T) {
	t.Parallel() // it mostly waits
	s := sidecartest.Start(t, anonymous+"\nshutdown: {delay: 2s, drain: 1s}")
	c := dial(t, s, nil)
	s.Signal(syscall.SIGTERM)
	testkit.Eventually(t, "readyz is 503", func() bool {
		status, _ := call(t, "GET", "http://"+s.Admin+"/readyz", "", "")
		return status == 503
	})
	s.Signal(syscall.SIGHUP)
	testkit.Eventually(t, "the log says why nothing is reloaded", func() bool { return len(s.Complaints()) == 1 })
	if got := s.Complaints()[0]; !strings.Contains(got, "configuration not reloaded") {
		t.Errorf("logged %q", got)
	}
	s.Pushed(t, `{"to":{"all":true},"text":"still here"}`)
	if kind, got := next(t, c); kind != websocket.TextMessage || got != "still here" {
		t.Errorf("got %q", got)
	}
	if code := closed(t, c); code != 1012 {
		t.Errorf("closed with %d, want 1012: SIGHUP is not a second signal to stop", code)
	}
	s.AwaitExit(t, 10*time.Second)
}

// TestShutdown_WithoutDrainStillSays1012: a zero that is written down is a zero.
func TestShutdown_WithoutDrainStillSays1012(t *testing.T) {
	b := newBackend(t, nil)
	s := sidecartest.Start(t, anonymous+b.hooked()+"\nshutdown: {drain: 0s}")
	conns := []*websocket.Conn{dial(t, s, nil), dial(t, s, nil)}
	began := time.Now()
	s.Signal(syscall.SIGTERM)
	for _, c := range conns {
		if code := closed(t, c); code != 1012 {
			t.Errorf("closed with %d, want 1012", code)
		}
	}
	code := s.AwaitExit(t, 10*time.Second)
	if d := time.Since(began); code != 0 || d > 3*time.Second {
		t.Errorf("exit %d after %v, want 0 within webhook.timeout", code, d)
	}
	if n := len(b.got("disconnected")); n != 2 {
		t.Errorf("%d disconnected events, want 2", n)
	}
}
