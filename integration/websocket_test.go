package integration

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

const anonymous = "\nauth: {anonymous: true}"

func TestHandshake_IsRefusedInPlainHTTP(t *testing.T) {
	s := sidecartest.Start(t, withJWT)
	good := map[string]string{
		"Host": "app", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Authorization": "Bearer " + token("ann"),
	}
	f := func(name string, change map[string]string, want int, says string) {
		t.Helper()
		var req strings.Builder
		req.WriteString("GET /_push HTTP/1.1\r\n")
		for k, v := range good {
			if c, ok := change[k]; ok {
				v = c
			}
			if v != "" {
				fmt.Fprintf(&req, "%s: %s\r\n", k, v)
			}
		}
		for k, v := range change {
			if _, ok := good[k]; !ok {
				fmt.Fprintf(&req, "%s: %s\r\n", k, v)
			}
		}
		status, header, body := exchange(t, s.Public, req.String()+"\r\n")
		if status != want || !strings.Contains(body, says) {
			t.Errorf("%s: got %d %s, want %d with %q", name, status, body, want, says)
		}
		if status == http.StatusUpgradeRequired && header.Get("Sec-WebSocket-Version") != "13" {
			t.Errorf("%s: no Sec-WebSocket-Version in %v", name, header)
		}
	}
	exp := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	f("good", nil, 101, "")
	f("no key", map[string]string{"Sec-WebSocket-Key": ""}, 400, "Sec-WebSocket-Key")
	f("short key", map[string]string{"Sec-WebSocket-Key": "c2hvcnQ="}, 400, "Sec-WebSocket-Key")
	f("key not base64", map[string]string{"Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!!!"}, 400, "Sec-WebSocket-Key")
	f("no version", map[string]string{"Sec-WebSocket-Version": ""}, 400, "Sec-WebSocket-Version")
	f("version 12", map[string]string{"Sec-WebSocket-Version": "12"}, 426, "13")
	f("versions 13, 8", map[string]string{"Sec-WebSocket-Version": "13, 8"}, 426, "13")
	f("no Connection", map[string]string{"Connection": ""}, 400, "Connection")
	f("other origin", map[string]string{"Origin": "https://evil.example"}, 403, "Origin")
	f("own origin", map[string]string{"Origin": "http://app"}, 101, "")
	f("no token", map[string]string{"Authorization": ""}, 401, "no token")
	f("not a token", map[string]string{"Authorization": "Bearer nonsense"}, 401, "token")
	f("wrong signature", map[string]string{"Authorization": "Bearer " + token("ann") + "x"}, 401, "signature")
	f("expired", map[string]string{"Authorization": "Bearer " + sign(`{"alg":"HS256"}`, fmt.Sprintf(`{"sub":"ann","aud":"app","exp":%d}`, exp(-time.Minute)))}, 401, "expired")
	f("alg none", map[string]string{"Authorization": "Bearer " + unsigned(`{"sub":"ann","aud":"app","exp":9999999999}`)}, 401, "algorithm")
	f("wrong audience", map[string]string{"Authorization": "Bearer " + sign(`{"alg":"HS256"}`, fmt.Sprintf(`{"sub":"ann","aud":"other","exp":%d}`, exp(time.Hour)))}, 401, "audience")
	f("no exp", map[string]string{"Authorization": "Bearer " + sign(`{"alg":"HS256"}`, `{"sub":"ann","aud":"app"}`)}, 401, "exp")
}

func unsigned(claims string) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"alg":"none"}`)) + "." + enc.EncodeToString([]byte(claims)) + "."
}

// exchange sends raw bytes and reads one response.
func exchange(t *testing.T, addr, request string) (int, http.Header, string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == 101 {
		return 101, resp.Header, ""
	}
	return resp.StatusCode, resp.Header, readAll(resp.Body)
}

func TestHandshake_WithoutAnyWayInIs401AndSaysWhy(t *testing.T) {
	s := sidecartest.Start(t, "")
	if _, err := tryDial(s, "/_push", nil); err == nil || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), "auth.jwt") {
		t.Errorf("got %v, want 401 that names the keys", err)
	}
	if _, err := tryDial(s, "/_push", nil); err == nil {
		t.Error("the second was let in")
	}
	testkit.Eventually(t, "both are in the log", func() bool { return len(s.Complaints()) >= 2 })
	if c := s.Complaints(); len(c) != 2 || !strings.Contains(c[0], "no way in") || !strings.Contains(c[1], "handshake refused") {
		t.Errorf("got warnings %q, want one at the start and one of the refusals", c)
	}
}

func TestMessages_TooBigOrNotUTF8AreClosed(t *testing.T) {
	s := sidecartest.Start(t, anonymous+newBackend(t, nil).hooked())
	f := func(name string, kind int, message string, want int) {
		t.Helper()
		c := dial(t, s, nil)
		send(t, c, kind, message)
		if got := closed(t, c); got != want {
			t.Errorf("%s: closed with %d, want %d", name, got, want)
		}
	}
	f("65 KiB", websocket.BinaryMessage, strings.Repeat("x", 65<<10), 1009)
	f("invalid UTF-8", websocket.TextMessage, "\xff\xfe", 1007)
}

func TestConnection_HalfAFrameAndSilenceEndsWith3008(t *testing.T) {
	t.Parallel() // it mostly waits
	s := sidecartest.Start(t, anonymous+"\nwebsocket: {ping_interval: 400ms, pong_timeout: 200ms}")
	conn, err := net.Dial("tcp", s.Public)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /_push HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\xfe\x10")
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("handshake: %v %v", resp, err)
	}
	rest := []byte(readAll(r))
	if !bytes.Contains(rest, []byte{0x89, 0}) || !bytes.Contains(rest, []byte{3008 >> 8, 3008 & 0xff}) {
		t.Errorf("got % x, want a ping and a Close with 3008", rest)
	}
}

// echo answers every message with itself.
func echo(w http.ResponseWriter, e event) {
	if e.kind != "pushcart.message" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", e.contentType)
	_, _ = w.Write([]byte(e.body))
}

func TestRaw_EchoIsByteForByte(t *testing.T) {
	s := sidecartest.Start(t, anonymous+newBackend(t, echo).hooked())
	a, b := dial(t, s, nil), dial(t, s, nil)
	for i, m := range []string{"plain", "κόσμε\n\t\"", strings.Repeat("x", 60_000), `{"a": 1.0,  "b":[]}`} {
		for _, c := range []*websocket.Conn{a, b} {
			send(t, c, websocket.TextMessage, m)
			if kind, got := next(t, c); kind != websocket.TextMessage || got != m {
				t.Errorf("text %d: got kind %d, %.40q", i, kind, got)
			}
			send(t, c, websocket.TextMessage, "") // an empty answer sends nothing
			binary := m + "\x00\xff\x80"
			send(t, c, websocket.BinaryMessage, binary)
			if kind, got := next(t, c); kind != websocket.BinaryMessage || got != binary {
				t.Errorf("binary %d: got kind %d, %.40q", i, kind, got)
			}
		}
	}
}

func TestWebhooks_TellAConnectionsLifeInOrder(t *testing.T) {
	b := newBackend(t, func(w http.ResponseWriter, e event) {
		switch e.kind {
		case "pushcart.connect":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"user_id":"zoë","state":{"step":1},"channels":["news"],"messages":["welcome",{"n":1}]}`)
		case "pushcart.message":
			w.Header().Set("ce-state", base64.StdEncoding.EncodeToString([]byte(`{"step":2}`)))
			fmt.Fprint(w, "ok "+e.body)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	s := sidecartest.Start(t, strings.Replace(b.hooked(), "['*']", "[connect, connected, message, disconnected]", 1))
	c := dial(t, s, http.Header{"Cookie": {"sid=1"}, "User-Agent": {"test"}})
	for _, want := range []string{"welcome", `{"n":1}`} {
		if _, got := next(t, c); got != want {
			t.Errorf("first messages: got %q, want %q", got, want)
		}
	}
	for i := range 3 {
		send(t, c, websocket.TextMessage, fmt.Sprint("m", i))
		if _, got := next(t, c); got != fmt.Sprint("ok m", i) {
			t.Errorf("reply: got %q", got)
		}
	}
	_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4500, "done"), time.Now().Add(time.Second))
	closed(t, c)
	testkit.Eventually(t, "disconnected is told", func() bool { return len(b.got("disconnected")) == 1 })

	b.mu.Lock()
	defer b.mu.Unlock()
	kinds := []string{"connect", "connected", "message", "message", "message", "disconnected"}
	if len(b.events) != len(kinds) {
		t.Fatalf("got %d events, want %v", len(b.events), kinds)
	}
	for i, e := range b.events {
		if e.kind != "pushcart."+kinds[i] || e.sequence != fmt.Sprintf("%020d", i+1) {
			t.Errorf("event %d: got %s %s, want %s", i, e.kind, e.sequence, kinds[i])
		}
		if e.header.Get("webhook-signature") == "" || e.header.Get("X-Forwarded-For") != "127.0.0.1" || e.header.Get("webhook-id") != e.id {
			t.Errorf("event %d: headers %v", i, e.header)
		}
		if i > 0 && e.user != "zo%C3%AB" {
			t.Errorf("event %d: user %q", i, e.user)
		}
	}
	if h := b.events[0].header; h.Get("Cookie") != "sid=1" || h.Get("User-Agent") != "test" || b.events[2].header.Get("Cookie") != "" {
		t.Errorf("forwarded headers: %v", h)
	}
	var body struct {
		Path     string
		RemoteIP string `json:"remote_ip"`
	}
	if err := json.Unmarshal([]byte(b.events[0].body), &body); err != nil || body.Path != "/_push" || body.RemoteIP != "127.0.0.1" {
		t.Errorf("connect body: %s", b.events[0].body)
	}
	for i, want := range []string{"", `{"step":1}`, `{"step":1}`, `{"step":2}`, `{"step":2}`, `{"step":2}`} {
		if got, _ := base64.StdEncoding.DecodeString(b.events[i].state); string(got) != want {
			t.Errorf("event %d: state %q, want %q", i, got, want)
		}
	}
	var end struct {
		Code          int
		Reason, Cause string
	}
	if err := json.Unmarshal([]byte(b.events[5].body), &end); err != nil || end.Code != 4500 || end.Reason != "done" || end.Cause != "client" {
		t.Errorf("disconnected body: %s", b.events[5].body)
	}
}

// TestWebhooks_OneAtATimePerConnection sends faster than the backend answers:
// nothing is lost, the order holds, and another connection does not wait.
func TestWebhooks_OneAtATimePerConnection(t *testing.T) {
	const messages = 200
	hold := make(chan struct{})
	b := newBackend(t, func(w http.ResponseWriter, e event) {
		if e.kind == "pushcart.message" && e.body == "0" {
			<-hold
		}
		echo(w, e)
	})
	s := sidecartest.Start(t, anonymous+b.hooked())
	slow, quick := dial(t, s, nil), dial(t, s, nil)
	for i := range messages {
		send(t, slow, websocket.TextMessage, fmt.Sprint(i))
	}
	testkit.Eventually(t, "the first message is with the backend", func() bool { return len(b.got("message")) == 1 })
	send(t, quick, websocket.TextMessage, "hello")
	if _, got := next(t, quick); got != "hello" {
		t.Errorf("the other connection: got %q", got)
	}
	if n := len(b.got("message")); n != 2 {
		t.Errorf("%d messages went to the backend, want 2: one of each connection", n)
	}
	close(hold)
	for i := range messages {
		if _, got := next(t, slow); got != fmt.Sprint(i) {
			t.Fatalf("reply %d: got %q", i, got)
		}
	}
}

func TestWebhooks_AnswersEndConnections(t *testing.T) {
	b := newBackend(t, func(w http.ResponseWriter, e event) {
		switch e.body {
		case "gone":
			w.WriteHeader(http.StatusGone)
		case "broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "no":
			w.WriteHeader(http.StatusUnprocessableEntity)
		case "":
			w.WriteHeader(http.StatusNoContent)
		default:
			fmt.Fprint(w, e.body)
		}
	})
	s := sidecartest.Start(t, anonymous+strings.Replace(b.hooked(), "['*']", "[message, disconnected]", 1))
	f := func(message string, code int, cause string) {
		t.Helper()
		before := len(b.got("disconnected"))
		c := dial(t, s, nil)
		send(t, c, websocket.TextMessage, message)
		if got := closed(t, c); got != code {
			t.Errorf("%s: closed with %d, want %d", message, got, code)
		}
		testkit.Eventually(t, "disconnected", func() bool { return len(b.got("disconnected")) > before })
		if got := b.got("disconnected")[before].body; !strings.Contains(got, `"cause":"`+cause+`"`) {
			t.Errorf("%s: told %s, want cause %s", message, got, cause)
		}
	}
	f("gone", 1000, "backend")
	f("broken", 1011, "error")
	c := dial(t, s, nil)
	send(t, c, websocket.TextMessage, "no") // raw: nothing
	send(t, c, websocket.TextMessage, "after")
	if _, got := next(t, c); got != "after" {
		t.Errorf("after a 4xx: got %q", got)
	}
}

func TestConnect_RefusalsReachTheClient(t *testing.T) {
	t.Parallel() // it mostly waits
	var mode atomic.Value
	mode.Store("")
	b := newBackend(t, func(w http.ResponseWriter, e event) {
		switch mode.Load() {
		case "teapot":
			w.Header().Set("Content-Type", "text/x-reason")
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, "no tea")
		case "garbage":
			fmt.Fprint(w, "not json")
		case "500":
			w.WriteHeader(500)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	s := sidecartest.Start(t, b.hooked())
	f := func(m, want string) {
		t.Helper()
		mode.Store(m)
		c, err := tryDial(s, "/_push", nil)
		if c != nil {
			_ = c.Close()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", m, err, want)
		}
	}
	f("in", "")
	f("teapot", "418 no tea")
	f("garbage", "503")
	f("500", "503")
	b.Close()
	f("down", "503")
}

func TestForward_AsksTheBackendWhoItIs(t *testing.T) {
	t.Parallel() // it mostly waits
	me := http.NewServeMux()
	me.HandleFunc("/me", func(w http.ResponseWriter, r *http.Request) {
		switch c, _ := r.Cookie("sid"); {
		case c == nil:
			w.WriteHeader(401)
		case c.Value == "banned":
			w.WriteHeader(403)
		default:
			fmt.Fprintf(w, `{"user":{"id":%s}}`, c.Value)
		}
	})
	b := newBackend(t, nil)
	b.Config.Handler = me
	s := sidecartest.Start(t, "\nauth: {forward: {url: '"+b.URL+"/me', user: /user/id}}")
	f := func(cookie, want string) {
		t.Helper()
		_, err := tryDial(s, "/_push", http.Header{"Cookie": {cookie}})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", cookie, err, want)
		}
	}
	f("sid=42", "")
	testkit.Eventually(t, "the push reaches user 42", func() bool { return s.Pushed(t, `{"to":{"users":["42"]},"text":"x"}`).Nodes == 1 })
	f("other=1", "401")
	f("sid=banned", "403")
	f("sid=null", "401")
}
