package admin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestMain(m *testing.M) { leak.Main(m) }

var someMetrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a_metric 1\n") })

func get(s *Server, path, host string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = host
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, r)
	return w
}

func TestReadyz_FollowsTheProcessAndRedisOnlyWhereAsked(t *testing.T) {
	var down error
	s := New(Options{Config: config.Admin{Listen: "127.0.0.1:0"}, Metrics: someMetrics, Redis: func() error { return down }})
	f := func(when, path string, status int, body string) {
		t.Helper()
		w := get(s, path, "127.0.0.1", nil)
		if w.Code != status || strings.TrimSpace(w.Body.String()) != body {
			t.Errorf("%s: %s: got %d %s, want %d %s", when, path, w.Code, w.Body, status, body)
		}
	}
	f("before the listeners are open", "/readyz", 503, `{"ready":false,"redis":"up"}`)
	s.SetReady(true)
	f("open", "/readyz", 200, `{"ready":true,"redis":"up"}`)
	f("open", "/readyz?require=redis", 200, `{"ready":true,"redis":"up"}`)
	down = errors.New("READONLY a replica")
	f("Redis away", "/readyz", 200, `{"ready":true,"redis":"down","redis_error":"READONLY a replica"}`)
	f("Redis away", "/readyz?require=redis", 503, `{"ready":false,"redis":"down","redis_error":"READONLY a replica"}`)
	s.SetReady(false)
	f("draining", "/readyz", 503, `{"ready":false,"redis":"down","redis_error":"READONLY a replica"}`)
	f("draining", "/healthz", 200, "ok")

	s = New(Options{Config: config.Admin{Listen: "127.0.0.1:0"}, Metrics: someMetrics})
	s.SetReady(true)
	f("in memory", "/readyz?require=redis", 200, `{"ready":true,"redis":"none"}`)
}

func TestGuard_WhoMaySeeWhat(t *testing.T) {
	f := func(name string, cfg config.Admin, path, host string, header http.Header, want int) {
		t.Helper()
		s := New(Options{Config: cfg, Metrics: someMetrics})
		s.SetReady(true)
		if w := get(s, path, host, header); w.Code != want {
			t.Errorf("%s: %s as %s: got %d %s, want %d", name, path, host, w.Code, w.Body, want)
		}
	}
	local := config.Admin{Listen: "127.0.0.1:8082", Hosts: []string{"Ops.Example"}, Pprof: true}
	for _, host := range []string{"127.0.0.1:8082", "[::1]:8082", "[::1]", "10.1.2.3", "localhost:8082", "LOCALHOST", "ops.example:8082"} {
		f("good host", local, "/", host, nil, 200)
	}
	for _, host := range []string{"", "evil.example", "localhost.evil.example:8082", "127.0.0.1.evil.example"} {
		f("rebound host", local, "/", host, nil, 403)
		f("rebound host", local, "/debug/pprof/", host, nil, 403)
		for _, open := range []string{"/healthz", "/readyz", "/metrics"} {
			f("probes are exempt", local, open, host, http.Header{"Sec-Fetch-Site": {"cross-site"}}, 200)
		}
	}
	for site, want := range map[string]int{"none": 200, "same-origin": 200, "same-site": 403, "cross-site": 403} {
		f("page of "+site, local, "/", "127.0.0.1", http.Header{"Sec-Fetch-Site": {site}}, want)
	}
	f("pprof", local, "/debug/pprof/cmdline", "127.0.0.1", nil, 200)
	f("no pprof", config.Admin{Listen: "127.0.0.1:0"}, "/debug/pprof/", "127.0.0.1", nil, 404)
	f("no such page", local, "/nothing", "127.0.0.1", nil, 404)

	tokens := config.Admin{Listen: "0.0.0.0:8082", Tokens: []config.Secret{"one", "two"}}
	f("token", tokens, "/", "10.0.0.1", http.Header{"Authorization": {"Bearer two"}}, 200)
	f("wrong token", tokens, "/", "10.0.0.1", http.Header{"Authorization": {"Bearer three"}}, 401)
	f("no token", tokens, "/", "10.0.0.1", nil, 401)
	f("other scheme", tokens, "/", "10.0.0.1", http.Header{"Authorization": {"Basic two"}}, 401)
	f("probe without token", tokens, "/metrics", "10.0.0.1", nil, 200)
	for _, listen := range []string{"0.0.0.0:8082", ":8082", "10.0.0.1:8082", "[::]:8082"} {
		f("beyond loopback without tokens", config.Admin{Listen: listen}, "/", "10.0.0.1", nil, 403)
		f("beyond loopback without tokens", config.Admin{Listen: listen}, "/healthz", "10.0.0.1", nil, 200)
	}
}

func TestIndex_NamesOnlyWhatIsThere(t *testing.T) {
	s := New(Options{Config: config.Admin{Listen: "127.0.0.1:0"}, Metrics: someMetrics})
	if text := get(s, "/", "127.0.0.1", nil).Body.String(); !strings.Contains(text, "/metrics") || strings.Contains(text, "pprof") {
		t.Errorf("got %s", text)
	}
}

// TestShutdown_DoesNotWaitForSilentConnections: net/http waits up to 5 s for a
// connection that never sent anything.
func TestShutdown_DoesNotWaitForSilentConnections(t *testing.T) {
	s := New(Options{Config: config.Admin{Listen: "127.0.0.1:0"}, Metrics: someMetrics})
	ln := testkit.Listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	for range 2 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	resp, err := http.Get("http://" + ln.Addr().String() + "/healthz") // by now both were accepted
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	began := time.Now()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("Shutdown took %v", d)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
