package admin

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/apierror"
)

func TestReload_SaysWhatCameOfIt(t *testing.T) {
	var done Reloaded
	var err error
	asked := 0
	s := New(Options{Config: config.Admin{Listen: "127.0.0.1:0"}, Metrics: someMetrics, Reload: func() (Reloaded, error) { asked++; return done, err }})
	f := func(status int, body string) {
		t.Helper()
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://127.0.0.1/reload", nil))
		if got := strings.TrimSpace(w.Body.String()); w.Code != status || got != body || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("got %d\n%s, want %d\n%s", w.Code, got, status, body)
		}
	}
	f(200, `{"changed":[],"restart":[]}`)
	done = Reloaded{
		Changed: []config.Change{{Key: "log.level", From: "info", To: "debug"}, {Key: "push.tokens"}},
		Restart: []config.Change{{Key: "listen", From: ":1", To: ":2"}},
	}
	f(200, `{"changed":[{"key":"log.level","from":"info","to":"debug"},{"key":"push.tokens"}],"restart":[{"key":"listen","from":":1","to":":2"}]}`)
	err = config.Problems{{Where: "c.yaml:1", Path: "listen", Message: "is bad"}, {Path: "log", Message: "too"}}
	f(400, `{"error":{"code":"invalid_argument","message":"the new configuration is invalid; the old one stays"},`+
		`"problems":[{"where":"c.yaml:1","key":"listen","message":"is bad"},{"key":"log","message":"too"}]}`)
	err = apierror.New(apierror.Unavailable, "the node is stopping")
	f(503, `{"error":{"code":"unavailable","message":"the node is stopping"}}`)
	err = errors.New("oops")
	f(500, `{"error":{"code":"internal","message":"oops"}}`)
	if asked != 5 {
		t.Errorf("asked %d times", asked)
	}
}

func TestWrites_AreForOwnersOnly(t *testing.T) {
	asked := false
	server := func(listen string, tokens ...config.Secret) *Server {
		return New(Options{Config: config.Admin{Listen: listen, Tokens: tokens}, Metrics: someMetrics,
			Reload: func() (Reloaded, error) { asked = true; return Reloaded{}, nil },
			Drain:  func(context.Context) int { asked = true; return 0 }})
	}
	f := func(s *Server, method, host string, header http.Header, status int) {
		t.Helper()
		for _, path := range []string{"/reload", "/drain"} {
			asked = false
			r := httptest.NewRequest(method, path, nil)
			r.Host, r.Header = host, header
			w := httptest.NewRecorder()
			s.http.Handler.ServeHTTP(w, r)
			if w.Code != status || asked != (status == 200) {
				t.Errorf("%s %s on %s with %v: got %d, asked %v, want %d", method, path, host, header, w.Code, asked, status)
			}
		}
	}
	local := server("127.0.0.1:8082")
	f(local, "POST", "127.0.0.1:8082", nil, 200)
	f(local, "POST", "127.0.0.1:8082", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://127.0.0.1:8082"}}, 200)
	f(local, "POST", "127.0.0.1:8082", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403)
	f(local, "POST", "127.0.0.1:8082", http.Header{"Origin": {"http://evil.example"}}, 403)
	f(local, "POST", "127.0.0.1:8082", http.Header{"Origin": {"null"}}, 403)
	f(local, "POST", "evil.example", nil, 403)
	f(local, "GET", "127.0.0.1:8082", nil, 405)
	f(local, "PUT", "127.0.0.1:8082", nil, 405)
	f(server("0.0.0.0:8082"), "POST", "10.0.0.1:8082", nil, 403)
	guarded := server("0.0.0.0:8082", "t0ken")
	f(guarded, "POST", "10.0.0.1:8082", nil, 401)
	f(guarded, "POST", "10.0.0.1:8082", http.Header{"Authorization": {"Bearer t0ken"}}, 200)
}
