package push

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/hub/hubtest"
	panics "github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

// served is an API that listens.
type served struct {
	t       testing.TB
	network string
	address string
}

func serve(t testing.TB, h *hub.Hub, change ...func(*config.Push)) *served {
	t.Helper()
	ln := testkit.Listen(t)
	return serveOn(t, newAPI(t, h, change...), ln)
}

func serveOn(t testing.TB, a *API, ln net.Listener) *served {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- a.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return &served{t: t, network: ln.Addr().Network(), address: ln.Addr().String()}
}

// response is what came back.
type response struct {
	status int
	header http.Header
	body   string
	close  bool
}

func (r *response) errorCode(t testing.TB) (code, field string) {
	t.Helper()
	var e struct {
		Error struct{ Code, Message, Field string }
	}
	if err := json.Unmarshal([]byte(r.body), &e); err != nil || e.Error.Message == "" {
		t.Errorf("not an error in JSON: %q", r.body)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type of an error: %q", got)
	}
	return e.Error.Code, e.Error.Field
}

// raw writes bytes to a new connection and reads one response.
func (s *served) raw(request string) *response {
	s.t.Helper()
	conn, err := net.Dial(s.network, s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(conn, request) }() // the server may answer before it read all
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatalf("%.200q: %v", request, err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return &response{r.StatusCode, r.Header, string(body), r.Close}
}

// call makes a request whose path goes out as it is. Headers are "Name: value".
func (s *served) call(method, path, body string, headers ...string) *response {
	s.t.Helper()
	hasHost := false
	for _, h := range headers {
		hasHost = hasHost || strings.HasPrefix(h, "Host:")
	}
	if !hasHost {
		headers = append(headers, "Host: 127.0.0.1:8081")
	}
	head := method + " " + path + " HTTP/1.1\r\n" + strings.Join(headers, "\r\n")
	return s.raw(fmt.Sprintf("%s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body))
}

func (s *served) want(status int, method, path, body string, headers ...string) *response {
	s.t.Helper()
	r := s.call(method, path, body, headers...)
	if r.status != status {
		s.t.Errorf("%s %s %.100q: got %d %s, want %d", method, path, body, r.status, r.body, status)
	}
	return r
}

func (s *served) wantError(status int, code, field, method, path, body string, headers ...string) *response {
	s.t.Helper()
	r := s.want(status, method, path, body, headers...)
	if gotCode, gotField := r.errorCode(s.t); gotCode != code || gotField != field {
		s.t.Errorf("%s %s %.100q: got %s, field %q; want %s, field %q", method, path, body, gotCode, gotField, code, field)
	}
	return r
}

func TestAPI_Push(t *testing.T) {
	h := hubtest.Alone(t)
	c := hubtest.Join(t, h, "42", "news")
	s := serve(t, h)
	f := func(body, want string) {
		t.Helper()
		r := s.want(200, "POST", "/v1/push", body)
		if got := r.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("Content-Type: %q", got)
		}
		if r.header.Get("Server") != "" {
			t.Errorf("Server: %q", r.header.Get("Server"))
		}
		if r.body != want {
			t.Errorf("%s: got %s, want %s", body, r.body, want)
		}
	}
	f(`{"to":{"users":["42"]},"data":{ "b" :1.50, "a":"<\u00e9>"},"id":"k1"}`, `{"id":"k1","nodes":1,"duplicate":false}`)
	f(`{"to":{"users":["42"]},"data":{ "b" :1.50, "a":"<\u00e9>"},"id":"k1"}`, `{"id":"k1","nodes":0,"duplicate":true}`)
	f(`{"to":{"users":["43"]},"text":"x","id":"k2","wait":"1s"}`, `{"id":"k2","nodes":0,"delivered":0,"slow":0,"duplicate":false}`)
	f(`{"to":{"channels":["news"]},"text":"x","id":"k3","wait":"1s"}`, `{"id":"k3","nodes":1,"delivered":1,"slow":0,"duplicate":false}`)
	f(`{"pushes":[{"to":{"all":true},"text":"y","id":"k4"},{"to":{"all":true},"text":"z","id":"k4"}]}`,
		`{"results":[{"id":"k4","nodes":1,"duplicate":false},{"error":{"code":"conflict",`+
			`"message":"id: was used with different content in the last 5 minutes","field":"id","id":"k4"}}]}`)
	f(`{"pushes":[]}`, `{"results":[]}`)
	hubtest.WantFrames(t, c, `{ "b" :1.50, "a":"<\u00e9>"}`, "x", "y")
	s.wantError(409, "conflict", "id", "POST", "/v1/push", `{"to":{"all":true},"text":"other","id":"k4"}`)
	s.wantError(400, "invalid_argument", "to.users[1]", "POST", "/v1/push", `{"to":{"users":["42",""]},"text":"x"}`)
	s.wantError(400, "invalid_argument", "pushes[1].to.users[0]", "POST", "/v1/push",
		`{"pushes":[{"to":{"users":["42"]},"text":"not sent"},{"to":{"users":[""]},"text":"x"}]}`)
	r := s.want(200, "POST", "/v1/push", `{"to":{"users":["42"]},"text":"last"}`)
	if !strings.HasPrefix(r.body, `{"id":"0`) || len(r.body) != len(`{"id":"","nodes":1,"duplicate":false}`)+36 {
		t.Errorf("an id of our own: %s", r.body)
	}
	waitForFrames(t, c, 4) // of the refused batch nothing was sent
}

func TestAPI_PushContentType(t *testing.T) {
	h := hubtest.Alone(t)
	s := serve(t, h)
	const body = `{"to":{"all":true},"text":"x"}`
	for _, ok := range []string{
		"application/json", "Application/JSON; charset=utf-8", "application/x-www-form-urlencoded",
		"text/plain", "text/plain;charset=UTF-8",
	} {
		s.want(200, "POST", "/v1/push", body, "Content-Type: "+ok)
	}
	s.want(200, "POST", "/v1/push", body)
	for _, bad := range []string{"text/html", "application/octet-stream", "application/jsonp", "multipart/form-data; boundary=x"} {
		s.wantError(415, "unsupported_type", "", "POST", "/v1/push", body, "Content-Type: "+bad)
	}
	s.wantError(415, "unsupported_type", "", "POST", "/v1/push", body, "Content-Encoding: gzip")
	s.wantError(415, "unsupported_type", "", "POST", "/v1/all/push", "x", "Content-Encoding: gzip", "Content-Type: application/octet-stream")
}

func TestAPI_RawRoutes(t *testing.T) {
	h := hubtest.Alone(t)
	c := hubtest.Join(t, h, "a/b 42%", "nüws")
	s := serve(t, h)
	for _, path := range []string{
		"/v1/users/a%2Fb%2042%25/push", "/v1/channels/n%C3%BCws/push", "/v1/connections/" + c.Member().ID() + "/push", "/v1/all/push",
	} {
		r := s.want(200, "POST", path+"?wait=1s&id=k&event=e.f&ttl=30s", "hello", "Content-Type: text/plain")
		if r.body != `{"id":"k","nodes":1,"delivered":1,"slow":0,"duplicate":false}` {
			t.Errorf("%s: %s", path, r.body)
		}
	}
	hubtest.WantFrames(t, c, "hello", "hello", "hello", "hello")
	const all = "/v1/all/push"
	s.want(200, "POST", all, "\x00\xff", "Content-Type: application/octet-stream")
	s.want(200, "POST", all, `{"a": 1}`, "Content-Type: application/json; charset=utf-8")
	s.want(200, "POST", all, "")
	hubtest.WantFrames(t, c, "hello", "hello", "hello", "hello", "\x00\xff", `{"a": 1}`, "")
	s.wantError(400, "invalid_argument", "", "POST", all, "\xff", "Content-Type: text/plain")
	s.wantError(400, "invalid_argument", "", "POST", all, "{", "Content-Type: application/json")
	s.wantError(400, "invalid_argument", "wait", "POST", all+"?wait=1h", "x")
	s.wantError(400, "invalid_argument", "wait", "POST", all+"?wait=1s&wait=1s", "x")
	s.wantError(400, "invalid_argument", "id", "POST", all+"?id=", "x")
	s.wantError(400, "invalid_argument", "evnet", "POST", all+"?evnet=x", "x")
	s.wantError(400, "invalid_argument", "", "POST", all+"?id=%zz", "x")
	s.wantError(400, "invalid_argument", "user", "POST", "/v1/users//push", "x")
	s.wantError(400, "invalid_argument", "user", "POST", "/v1/users/%zz/push", "x")
	s.wantError(400, "invalid_argument", "user", "POST", "/v1/users/%00/push", "x")
	s.wantError(400, "invalid_argument", "channel", "POST", "/v1/channels/a*/push", "x")
	s.wantError(400, "invalid_argument", "channel", "POST", "/v1/channels/%2A/push", "x")
}

// Names are decoded once, after the path was split: no dots or slashes in them
// change the route.
func TestAPI_NamesAreTakenAsTheyAre(t *testing.T) {
	h := hubtest.Alone(t)
	s := serve(t, h)
	for path, user := range map[string]string{
		"%2e%2e": "..", "..": "..", ".": ".", "a%252Fb": "a%2Fb", "a+b": "a+b", "%2F": "/", "a%3Fb": "a?b", "%26": "&",
	} {
		c := hubtest.Join(t, h, user)
		r := s.want(200, "POST", "/v1/users/"+path+"/push?wait=1s", "x")
		if !strings.Contains(r.body, `"delivered":1`) {
			t.Errorf("%s: %s", path, r.body)
		}
		h.Leave(c)
	}
}

func TestAPI_Routes(t *testing.T) {
	s := serve(t, hubtest.Alone(t))
	for _, path := range []string{
		"/", "/v1", "/v1/", "/v1/push/", "//v1/push", "/v1//push", "/V1/push", "/v1/x/../push", "/v2/push",
		"/v1/users/x/presence", "/v1/connections/x/history", "http://127.0.0.1/v1/push",
	} {
		s.wantError(404, "not_found", "", "POST", path, "{}")
	}
	f := func(method, path, allow string) {
		t.Helper()
		if got := s.wantError(405, "method_not_allowed", "", method, path, "").header.Get("Allow"); got != allow {
			t.Errorf("%s %s: Allow %q, want %q", method, path, got, allow)
		}
	}
	f("GET", "/v1/push", "POST")
	f("PUT", "/v1/users/42/push", "POST")
	f("POST", "/v1/users/42", "GET")
	f("DELETE", "/v1/connections/x", "GET, PATCH")
	f("POST", "/v1/connections/x/channels/y", "DELETE, PUT")
	f("GET", "/v1/users/x/channels/y", "DELETE, PUT")
	f("POST", "/v1/nodes", "GET")
	f("PUT", "/v1/channels/news/history", "DELETE, GET")
}

func TestAPI_Guard(t *testing.T) {
	s := serve(t, hubtest.Alone(t), func(c *config.Push) {
		c.Hosts, c.Tokens = []string{"Push.Internal"}, []config.Secret{"first", "second"}
	})
	const body = `{"to":{"all":true},"text":"x"}`
	const token = "Authorization: Bearer second"
	f := func(status int, headers ...string) *response {
		t.Helper()
		r := s.want(status, "POST", "/v1/push", body, headers...)
		if status != 200 {
			r.errorCode(t)
		}
		return r
	}
	for _, host := range []string{"127.0.0.1", "127.0.0.1:1", "[::1]:8081", "[::1]", "localhost", "LOCALHOST:80", "push.internal", "push.internal:8081"} {
		f(200, token, "Host: "+host)
	}
	for _, host := range []string{"evil.example", "evil.example:8081", "localhost.evil.example", "127.0.0.1.evil.example", "x.push.internal"} {
		f(403, token, "Host: "+host)
	}
	f(400, token, "Host: ") // RFC 9112 §3.2
	f(200, token, "Sec-Fetch-Site: none")
	f(200, token, "Sec-Fetch-Site: same-origin")
	f(403, token, "Sec-Fetch-Site: cross-site")
	f(403, token, "Sec-Fetch-Site: same-site")
	f(403, token, "Origin: http://127.0.0.1:8081")
	f(403, token, "Origin: null")
	f(200, "Authorization: bearer first")
	for _, bad := range []string{"", "Bearer", "Bearer ", "Bearer firs", "Bearer first2", "Basic first", "first"} {
		if r := f(401, "Authorization: "+bad); r.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%q: WWW-Authenticate %q", bad, r.header.Get("WWW-Authenticate"))
		}
	}
	f(401)
	// Whoever is refused learns nothing of what there is.
	s.wantError(401, "unauthenticated", "", "GET", "/nothing", "")
}

func TestAPI_TooLarge(t *testing.T) {
	h := hubtest.Alone(t)
	c := hubtest.Join(t, h, "42")
	s := serve(t, h, func(c *config.Push) { c.MaxBody = 1000 })
	body := func(n int) string {
		const around = `{"to":{"users":["42"]},"text":""}`
		return `{"to":{"users":["42"]},"text":"` + strings.Repeat("x", n-len(around)) + `"}`
	}
	s.want(200, "POST", "/v1/push", body(1000))
	s.wantError(413, "too_large", "", "POST", "/v1/push", body(1001))
	s.wantError(413, "too_large", "", "POST", "/v1/push", body(2<<20))
	waitForFrames(t, c, 1)
	chunked := "POST /v1/push HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + body(2000) + "\r\n0\r\n\r\n"
	if r := s.raw(chunked); r.status != 413 {
		t.Errorf("chunked: got %d %s", r.status, r.body)
	}
	long := s.wantError(431, "too_large", "", "POST", "/v1/push", "", "X-Long: "+strings.Repeat("x", 32<<10))
	if !long.close {
		t.Error("the connection stays open")
	}
}

func TestAPI_BrokenRequest(t *testing.T) {
	s := serve(t, hubtest.Alone(t))
	for _, request := range []string{
		"nonsense\r\n\r\n", "POST /v1/push HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
	} {
		r := s.raw(request)
		if code, _ := r.errorCode(t); r.status != 400 || code != "invalid_argument" {
			t.Errorf("%q: got %d %s", request, r.status, r.body)
		}
	}
}

func TestAPI_KeepsConnectionsAlive(t *testing.T) {
	s := serve(t, hubtest.Alone(t))
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for i, body := range []string{`{"to":{"all":true},"text":"1"}`, `{`, `{"to":{"all":true},"text":"2"}`} {
		fmt.Fprintf(conn, "POST /v1/push HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if want := []int{200, 400, 200}[i]; r.StatusCode != want || r.Close {
			t.Errorf("request %d: got %d, close %v; want %d", i, r.StatusCode, r.Close, want)
		}
	}
}

func TestAPI_BrokerAway(t *testing.T) {
	h, _, net := hubtest.Pair(t)
	s := serve(t, h)
	net.Set(func() { net.Down = true })
	r := s.wantError(503, "unavailable", "", "POST", "/v1/push", `{"to":{"users":["42"]},"text":"x"}`)
	if strings.Contains(r.body, `"id"`) {
		t.Errorf("an id that nobody gave: %s", r.body)
	}
	r = s.wantError(503, "unavailable", "", "POST", "/v1/push", `{"to":{"users":["42"]},"text":"x","id":"k"}`)
	if !strings.Contains(r.body, `"id":"k"`) {
		t.Errorf("no id: %s", r.body)
	}
	s.wantError(503, "unavailable", "", "GET", "/v1/users/42", "")
	s.wantError(503, "unavailable", "", "GET", "/v1/nodes", "")
	s.wantError(503, "unavailable", "", "POST", "/v1/users/42/disconnect", "")
}

func TestAPI_UnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "push")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	h := hubtest.Alone(t)
	c := hubtest.Join(t, h, "42")
	s := serveOn(t, newAPI(t, h, func(c *config.Push) { c.Tokens = []config.Secret{"s3cret"} }), ln)
	s.want(401, "POST", "/v1/users/42/push", "x")
	for _, address := range []string{"unix:" + path} {
		var p ClientPush
		p.To.Users, p.Data = []string{"42"}, json.RawMessage(`{"a":1}`)
		if _, err := client(t, address, "wrong").Push(t.Context(), &p); err == nil || !strings.Contains(err.Error(), "push.tokens") {
			t.Errorf("wrong token: %v", err)
		}
		b, err := client(t, address, "s3cret").Push(t.Context(), &p)
		if err != nil || !strings.Contains(string(b), `"nodes":1`) {
			t.Errorf("%s, %v", b, err)
		}
	}
	hubtest.WantFrames(t, c, `{"a":1}`)
}

// A panic is one answer of 500, not the end.
func TestAPI_Panic(t *testing.T) {
	var log testkit.Log
	a := newAPI(t, hub.NewHub(memory.New(), ids.NewNode(), metrics.New("", ""), slog.New(slog.DiscardHandler)))
	var count atomic.Int32
	a.panics = panics.New(testkit.Logger(&log), func() { count.Add(1) })
	a.hub = nil
	ln := testkit.Listen(t)
	s := serveOn(t, a, ln)
	for range 2 {
		s.wantError(500, "internal", "", "POST", "/v1/push", `{"to":{"users":["42"]},"text":"payload"}`)
	}
	if text := log.String(); strings.Count(text, `where="push API"`) != 1 || strings.Contains(text, "payload") || count.Load() != 2 {
		t.Errorf("%d panics counted, log: %s", count.Load(), text)
	}
}

func TestAPI_CountsPushes(t *testing.T) {
	m := metrics.New("", "")
	h := hub.NewHub(memory.New(), ids.NewNode(), m, slog.New(slog.DiscardHandler))
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	hubtest.Join(t, h, "42")
	s := serve(t, h)
	for _, body := range []string{
		`{"to":{"users":["42"]},"text":"x","id":"k"}`, `{"to":{"users":["42"]},"text":"x","id":"k"}`,
		`{"to":{"users":["42"]},"text":"y","id":"k"}`, `{"to":{"users":["42"],"all":true},"text":"y"}`, `{`,
	} {
		s.call("POST", "/v1/push", body)
	}
	for labels, want := range map[string]float64{
		`{result="ok",target="user"}`: 1, `{result="duplicate",target="user"}`: 1, `{result="conflict",target="user"}`: 1,
		`{result="ok",target="mixed"}`: 1, `{result="invalid",target="none"}`: 1, `{result="ok",target="all"}`: 0,
	} {
		if got := testkit.Metric(t, m.Handler(), "pushcart_pushes_total"+labels); got != want {
			t.Errorf("%s: got %v, want %v", labels, got, want)
		}
	}
	if got := testkit.Metric(t, m.Handler(), "pushcart_push_to_write_seconds_count"); got != 2 { // once for each push that anybody here got
		t.Errorf("push to write: %v observations, want 2", got)
	}
	if got := testkit.Metric(t, m.Handler(), "pushcart_users"); got != 1 {
		t.Errorf("users: %v", got)
	}
}

func waitForFrames(t *testing.T, c *hubtest.Conn, n int) {
	t.Helper()
	testkit.Eventually(t, "frames", func() bool { return len(c.Frames()) >= n })
}

// mustPublish publishes what POST /v1/push would.
func mustPublish(t *testing.T, h *hub.Hub, body string) hub.Result {
	t.Helper()
	pushes, _, bad := parseBody([]byte(body))
	if bad != nil {
		t.Fatalf("push %s: %v", body, bad)
	}
	var out [1]hub.Published
	h.Publish(t.Context(), pushes, out[:])
	if out[0].Err != nil {
		t.Fatalf("push %s: %v", body, out[0].Err)
	}
	return out[0].Result
}
