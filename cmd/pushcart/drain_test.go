package main

import (
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/sdnotify"
)

// join opens a WebSocket and returns what ends it.
func join(t *testing.T, r *running) (ended chan error) {
	t.Helper()
	c, _, err := websocket.DefaultDialer.Dial("ws://"+r.public.Addr().String()+"/_push", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ended = make(chan error, 1)
	go func() {
		_, _, err := c.ReadMessage() // which also answers the Close
		_ = c.Close()
		ended <- err
	}()
	return ended
}

// In a pod the sidecar gets SIGTERM after the app has ended: what the app is to know of
// the end of the WebSockets has to reach it before, from a hook.
func TestDrain_MovesWebSocketsAwayWhileTheAppLives(t *testing.T) {
	told := make(chan string, 8)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hook" {
			body, _ := io.ReadAll(r.Body)
			told <- string(body)
		}
		_, _ = io.WriteString(w, "app")
	}))
	defer app.Close()
	defer http.DefaultClient.CloseIdleConnections()
	r := startNode(t, func(c *config.Config) {
		c.Backend.URL, c.Auth.Anonymous = app.URL, true
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = app.URL+"/hook", []string{"disconnected"}, true
	})
	public, admin := r.public.Addr().String(), r.adminListener.Addr().String()
	get := func(url string) int {
		t.Helper()
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	first, second := join(t, r), join(t, r)
	for range 2 { // the second finds it done
		if code, out, errs := run(t, "drain", "--address", admin); code != 0 || out != "drained, 0 connections left\n" {
			t.Errorf("exit %d %q %q", code, out, errs)
		}
	}
	for _, ended := range []chan error{first, second} {
		if err := <-ended; !websocket.IsCloseError(err, 1012) {
			t.Errorf("ended by %v, want 1012", err)
		}
		if body := <-told; !strings.Contains(body, `"cause":"drain"`) {
			t.Errorf("the app was told %s", body)
		}
	}
	if ready, plain := get("http://"+admin+"/readyz"), get("http://"+public+"/"); ready != 503 || plain != 200 {
		t.Errorf("/readyz is %d, a plain request %d, want 503 and 200", ready, plain)
	}
	if _, resp, err := websocket.DefaultDialer.Dial("ws://"+public+"/_push", nil); err == nil || resp == nil || resp.StatusCode != 503 {
		t.Errorf("a handshake: %v, want 503", err)
	}
	r.signals <- syscall.SIGTERM
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}

// The shutdown.delay of a drain that a hook began is not waited for once more, and a
// second signal ends it at once, as it ends a drain by signal.
func TestDrain_ASignalJoinsTheOneUnderWay(t *testing.T) {
	r := startNode(t, func(c *config.Config) { c.Auth.Anonymous = true; c.Shutdown.Delay = time.Minute })
	ended := join(t, r)
	asked, leave := context.WithCancel(context.Background())
	left := make(chan int)
	go func() { left <- r.leave(asked) }()
	r.log.Await(t, "draining")
	leave()
	if n := <-left; n != 1 {
		t.Errorf("%d connections are left, want 1: the hook left, the drain goes on", n)
	}
	r.signals <- syscall.SIGTERM
	r.log.Await(t, "stopping")
	r.signals <- syscall.SIGINT
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if err := <-ended; !websocket.IsCloseError(err, 1001) {
		t.Errorf("ended by %v, want 1001", err)
	}
	if n := strings.Count(r.log.String(), "msg=draining"); n != 1 {
		t.Errorf("it drained %d times", n)
	}
}

func TestDrain_CommandSaysWhatFailed(t *testing.T) {
	r := startFiled(t, "").running
	if code, _, errs := run(t, "drain", "--address", "127.0.0.1:1"); code != 1 || !strings.Contains(errs, "the node cannot be asked") {
		t.Errorf("nobody there: exit %d %q", code, errs)
	}
	open := startNode(t, func(c *config.Config) { c.Admin.Listen = "0.0.0.0:0" })
	if code, _, errs := run(t, "drain", "--address", open.adminListener.Addr().String()); code != 1 || !strings.Contains(errs, "admin.tokens") {
		t.Errorf("without a token: exit %d %q", code, errs)
	}
	for _, n := range []*running{r, open} {
		if strings.Contains(n.log.String(), "draining") {
			t.Error("it drains")
		}
	}
	open.signals <- syscall.SIGTERM
	if err := open.end(t); err != nil {
		t.Error(err)
	}
}

func TestSupervisor_IsToldOfTheStartAndHowLongTheEndTakes(t *testing.T) {
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	told := func(want string) {
		t.Helper()
		b := make([]byte, 1024)
		if n, err := conn.Read(b); err != nil || string(b[:n]) != want {
			t.Errorf("%v: got %q, want %q", err, b[:n], want)
		}
	}
	file := filepath.Join(t.TempDir(), "pushcart.yaml")
	write(t, file, "listen: '127.0.0.1:0'\nbackend: {url: 'http://127.0.0.1:1'}\npush: {listen: '127.0.0.1:0'}\nadmin: {listen: '127.0.0.1:0'}\n"+
		"shutdown: {delay: 2ms, drain: 1s}\nwebhook: {timeout: 3s}\n")
	signals, ended := make(chan os.Signal, 1), make(chan int)
	p := process{args: []string{"run", "--config", file}, stdout: io.Discard, stderr: io.Discard, signals: signals, supervisor: sdnotify.New(address.Name)}
	go func() { ended <- p.main(context.Background()) }()
	told("READY=1")
	signals <- syscall.SIGTERM
	told("STOPPING=1\nEXTEND_TIMEOUT_USEC=9002000") // and 5 s that it may take besides
	if code := <-ended; code != 0 {
		t.Errorf("exit %d", code)
	}
}

// A container with 64 MiB and the default bounds would be killed by the kernel when
// clients read slowly.
func TestMemory_BoundsBeyondTheLimitAreWarnedOf(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(64 << 20))
	f := func(outbox config.Size, want bool) {
		t.Helper()
		r := startNode(t, func(c *config.Config) {
			c.WebSocket.Outbox.Total, c.WebSocket.InboundTotal = outbox, 16*config.MiB
		})
		r.signals <- syscall.SIGTERM
		if err := r.end(t); err != nil {
			t.Error(err)
		}
		log := r.log.String()
		warns := strings.Contains(log, "configured queues may exceed") && strings.Contains(log, `look_at="websocket.outbox.total, websocket.inbound_total"`)
		if warns != want || !strings.Contains(log, "memory_limit=64MiB") {
			t.Errorf("outbox.total %v: warns: %v, want %v\n%s", outbox, warns, want, log)
		}
	}
	f(32*config.MiB, false)
	f(64*config.MiB, true)
	debug.SetMemoryLimit(math.MaxInt64)
	r := startNode(t, nil)
	r.signals <- syscall.SIGTERM
	if err := r.end(t); err != nil || strings.Contains(r.log.String(), "memory_limit") {
		t.Errorf("%v\n%s", err, r.log)
	}
}
