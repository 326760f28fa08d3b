package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/race"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// resident is what the process has in memory, in MiB.
func resident(t *testing.T, s *sidecartest.Sidecar) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	if err != nil {
		testkit.Missing(t, "/proc")
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
	kb, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kb >> 10
}

// crowd are connections, dialled by a few goroutines.
func crowd(t *testing.T, s *sidecartest.Sidecar, n int) []*websocket.Conn {
	t.Helper()
	all := make([]*websocket.Conn, n)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := g; i < n; i += 8 {
				c, err := tryDial(s, "/_push", nil)
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				all[i] = c
			}
		})
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, c := range all {
			if c != nil {
				_ = c.Close()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// TestBackPressure_ACrowdThatAsksABackendThatHangs: 2,000 connections say more than
// anybody takes. Others are served meanwhile, memory stays where it was, everybody gets
// an answer in time, and the breaker opens; then the backend is back. (go run ./bench hang
// has 10,000.)
func TestBackPressure_ACrowdThatAsksABackendThatHangs(t *testing.T) {
	const clients, timeout = 2_000, 4 * time.Second
	var hangs atomic.Bool
	hangs.Store(true)
	end := make(chan struct{})
	b := newBackend(t, func(w http.ResponseWriter, e event) {
		if hangs.Load() {
			<-end
		}
		_, _ = io.WriteString(w, "answer to "+e.body)
	})
	defer close(end)
	s := sidecartest.Start(t, anonymous+"\nbackend: {url: '"+b.URL+"'}\nwebhook: {url: /hooks/push, events: [message], unsigned: true, timeout: 4s, max_in_flight: 64, breaker: {pause: 1s}}")
	quiet, all := dial(t, s, nil), crowd(t, s, clients)
	before := resident(t, s)
	begin := time.Now()
	payload := strings.Repeat("x", 1000)
	var waited float64
	for i, c := range all {
		for range 20 { // 40 MB, of which one message each may be taken
			send(t, c, websocket.TextMessage, payload)
		}
		if i%100 == 99 { // a slow machine takes longer to say it all than the first wait
			waited = max(waited, s.Metric("pushcart_webhook_asked"))
		}
	}
	servesOthers(t, s, quiet)
	if waited > clients || waited < 64 {
		t.Errorf("%v messages waited", waited)
	}
	most := 60 // MiB; 2,000 times what was sent would be 40 alone
	if race.Enabled {
		most *= 5
	}
	if grown := resident(t, s) - before; grown > most {
		t.Errorf("memory grew by %d MiB", grown)
	}
	testkit.Eventually(t, "the breaker is open", func() bool { return s.Metric(`pushcart_webhook_breaker{event="message"}`) == 1 })
	for i, c := range all {
		if code := closed(t, c); code != websocket.CloseInternalServerErr {
			t.Fatalf("connection %d: closed with %d", i, code)
		}
	}
	if took := time.Since(begin); took > 3*timeout+4*time.Second {
		t.Errorf("the last was answered after %v", took)
	}
	servesOthers(t, s, quiet)
	if n := s.Metric(`pushcart_webhooks_total{event="message",result="breaker"}`); n < clients/2 {
		t.Errorf("%v were answered by the breaker", n)
	}
	hangs.Store(false)
	testkit.Eventually(t, "somebody is asked again", func() bool {
		c := dial(t, s, nil)
		send(t, c, websocket.TextMessage, "hello")
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, got, err := c.ReadMessage()
		return err == nil && string(got) == "answer to hello"
	})
	testkit.Eventually(t, "the breaker is closed", func() bool { return s.Metric(`pushcart_webhook_breaker{event="message"}`) == 0 })
	for _, want := range []string{"webhook breaker opened", "webhook.breaker, webhook.timeout", "webhook breaker closed"} {
		if !strings.Contains(s.Output(), want) {
			t.Errorf("no %q in the log", want)
		}
	}
}

// servesOthers holds a push and a request to a second each.
func servesOthers(t *testing.T, s *sidecartest.Sidecar, quiet *websocket.Conn) {
	t.Helper()
	begin := time.Now()
	s.Pushed(t, `{"to":{"all":true},"text":"news"}`)
	if _, got := next(t, quiet); got != "news" {
		t.Errorf("got %q", got)
	}
	if took := time.Since(begin); took > time.Second && !race.Enabled {
		t.Errorf("a push took %v", took)
	}
	begin = time.Now()
	if status, _ := call(t, "GET", "http://"+s.Public+"/page", "", ""); status != http.StatusOK {
		t.Errorf("a request: %d", status)
	}
	if took := time.Since(begin); took > time.Second && !race.Enabled {
		t.Errorf("a request took %v", took)
	}
}

// A storm of disconnects is a request for each batch, and the app's final no to one of
// them costs nobody else their event.
func TestBatch_AStormOfDisconnects(t *testing.T) {
	const clients = 1_000
	var requests atomic.Int32
	var mu sync.Mutex
	told := map[string]int{}
	b := newBackend(t, nil)
	id := regexp.MustCompile(`"connectionid":"([^"]+)"`)
	b.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := requests.Add(1)
		if bytes.HasPrefix(body, []byte("[")) && n == 2 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, m := range id.FindAllSubmatch(body, -1) {
			told[string(m[1])]++
		}
	})
	s := sidecartest.Start(t, anonymous+"\nbackend: {url: '"+b.URL+"'}\nwebhook: {url: /hooks/push, events: [disconnected], unsigned: true, format: structured, batch: {events: 100, wait: 500ms}}")
	for _, c := range crowd(t, s, clients) {
		_ = c.Close()
	}
	testkit.Eventually(t, "all are told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(told) == clients
	})
	// Ten batches and, on a slow machine, some that were not full; a hundred singly.
	if n := requests.Load(); n > 130 || n < 110 {
		t.Errorf("%d requests", n)
	}
	if !strings.Contains(s.Output(), "webhook batch refused: each of its events is sent by itself") {
		t.Error("the log does not say that a batch was refused")
	}
}

// Each wrong answer to connect refuses the client, and the log says what to change.
func TestConnect_WrongAnswers(t *testing.T) {
	t.Parallel() // it mostly waits
	var answer atomic.Value
	b := newBackend(t, nil)
	b.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, answer.Load().(string))
	})
	f := func(name, raw string, status int, lines ...string) {
		t.Run(name, func(t *testing.T) {
			s := sidecartest.Start(t, "\nbackend: {url: '"+b.URL+"'}\nwebhook: {url: '/hooks/{event}', events: [connect], unsigned: true, timeout: 1s, max_answer: 100B}")
			answer.Store(raw)
			_, err := tryDial(s, "/_push", nil)
			if status == 101 && err != nil || status != 101 && (err == nil || !strings.HasPrefix(err.Error(), strconv.Itoa(status))) {
				t.Errorf("got %v, want %d", err, status)
			}
			for _, want := range lines {
				testkit.Eventually(t, "the log says "+want, func() bool { return strings.Contains(s.Output(), want) })
			}
		})
	}
	ok := func(body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	f("good", ok(`{"user_id":7}`), 101)
	f("not JSON", ok("<html>"), 503, "connect answer", "webhook.on_error.connect")
	f("wrong type", ok(`{"user_id":{}}`), 503, "user_id", "webhook.on_error.connect")
	f("too big", ok(`{"user_id":"`+strings.Repeat("x", 100)+`"}`), 503, "webhook.max_answer")
	f("redirect", "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", 503, "it leads to /login", "webhook.url")
	f("cut", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", 503, "broke off", "webhook.url")
	f("gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", 503, "is compressed", "webhook.url")
	f("early hints", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 101)
}

// While the app does not say who may come in, handshakes are answered at once by
// webhook.on_error.connect, and it is asked again when it is back.
func TestBreaker_OfConnect(t *testing.T) {
	t.Parallel() // it mostly waits
	f := func(onError string, status int) {
		t.Run(onError, func(t *testing.T) {
			var away atomic.Bool
			away.Store(true)
			var asked atomic.Int32
			b := newBackend(t, func(w http.ResponseWriter, _ event) {
				asked.Add(1)
				if away.Load() {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				w.WriteHeader(http.StatusNoContent)
			})
			s := sidecartest.Start(t, anonymous+"\nbackend: {url: '"+b.URL+"'}\nwebhook: {url: /hooks/push, events: [connect], unsigned: true, on_error: {connect: "+onError+"}, breaker: {failures: 4, pause: 2s}}")
			for i := range 12 {
				_, err := tryDial(s, "/_push", nil)
				if status == 101 && err != nil || status != 101 && (err == nil || !strings.HasPrefix(err.Error(), strconv.Itoa(status))) {
					t.Errorf("handshake %d: got %v, want %d", i, err, status)
				}
			}
			if n := asked.Load(); n < 4 || n > 8 { // more than 4 where these took longer than the pause
				t.Errorf("the app was asked %d times", n)
			}
			if s.Metric(`pushcart_webhook_breaker{event="connect"}`) != 1 || s.Metric(`pushcart_webhook_breaker{event="message"}`) != 0 {
				t.Error("not the breaker of connect alone is open")
			}
			away.Store(false)
			testkit.Eventually(t, "the breaker is closed", func() bool {
				_, err := tryDial(s, "/_push", nil)
				return err == nil && s.Metric(`pushcart_webhook_breaker{event="connect"}`) == 0
			})
		})
	}
	f("deny", http.StatusServiceUnavailable)
	f("allow", http.StatusSwitchingProtocols)
}

// What a trusted front says of its trace goes on, what a stranger says does not.
func TestTrace_OfAFront(t *testing.T) {
	const front = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	f := func(trusted string, kept bool) {
		b := newBackend(t, nil)
		s := sidecartest.Start(t, anonymous+b.hooked()+"\ntrusted_proxies: ["+trusted+"]")
		c := dial(t, s, http.Header{"Traceparent": {front}, "Tracestate": {"a=1"}})
		send(t, c, websocket.TextMessage, "hello")
		testkit.Eventually(t, "three events", func() bool {
			return len(b.got("connect")) == 1 && len(b.got("connected")) == 1 && len(b.got("message")) == 1
		})
		for _, kind := range []string{"connect", "connected", "message"} {
			h := b.got(kind)[0].header
			if got := h.Get("traceparent"); (got == front) != kept || len(got) != len(front) || (h.Get("tracestate") == "a=1") != kept {
				t.Errorf("trusted [%s]: %s has %q, %q", trusted, kind, got, h.Get("tracestate"))
			}
		}
	}
	f("127.0.0.1", true)
	f("", false)
}

// The path up to {event}, and all below, is closed from outside.
func TestWall_CoversEveryEventsPath(t *testing.T) {
	b := newBackend(t, nil)
	s := sidecartest.Start(t, anonymous+"\nbackend: {url: '"+b.URL+"'}\nwebhook: {url: '/hooks/{event}/push', events: ['*'], unsigned: true}")
	for _, path := range []string{"/hooks/message/push", "/hooks/batch/push", "/hooks/x", "/hooks", "/hooks/", "/HOOKS//message/push", "/%68ooks/message"} {
		if status, body := call(t, "GET", "http://"+s.Public+path, "", ""); status != http.StatusNotFound || !strings.Contains(body, "not_found") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _ := call(t, "GET", "http://"+s.Public+"/hooksters", "", ""); status != http.StatusOK {
		t.Errorf("another path: %d", status)
	}
}
