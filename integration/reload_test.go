package integration

import (
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// rewrite changes the file of a running node; it keeps its listeners.
func rewrite(t *testing.T, s *sidecartest.Sidecar, replace ...string) {
	t.Helper()
	file := s.ConfigFile()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(string(b))), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReload_SIGHUPAndCommandOnARealProcess(t *testing.T) {
	b := newBackend(t, func(w http.ResponseWriter, e event) {
		if e.kind != "pushcart.message" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = io.WriteString(w, e.body)
	})
	s := sidecartest.Start(t, anonymous+b.hooked()+"\nlimits: {connections_per_ip: 0}\nlog: {format: json, access: all}")
	c := dial(t, s, nil)
	rewrite(t, s, "connections_per_ip: 0", "connections_per_ip: 1")
	s.Signal(syscall.SIGHUP)
	testkit.Eventually(t, "the reload is logged", func() bool {
		return strings.Contains(s.Output(), "limits.connections_per_ip: 0 → 1") && strings.Contains(s.Output(), "configuration reloaded")
	})
	if _, err := tryDial(s, "/_push", nil); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("a second connection: %v, want 429", err)
	}
	rewrite(t, s, "connections_per_ip: 1", "connections_per_ip: 2", "access: all", "access: errors, level: debug")
	if code, out, errs := command(t, "reload", "--address", s.Admin); code != 0 || !strings.Contains(out, "limits.connections_per_ip: 1 → 2\n") || !strings.Contains(out, "log.access: all → errors\n") {
		t.Errorf("reload: exit %d %q %q", code, out, errs)
	}
	other := dial(t, s, nil)
	rewrite(t, s, "connections_per_ip: 2", "connections_per_ip: two")
	if code, out, errs := command(t, "reload", "--address", s.Admin); code != 2 || out != "" || !strings.Contains(errs, `limits.connections_per_ip: want a whole number, got "two"`) {
		t.Errorf("a bad file: exit %d %q %q", code, out, errs)
	}
	for _, conn := range []*websocket.Conn{c, other} { // both are as alive as before
		send(t, conn, websocket.TextMessage, "hello")
		if _, got := next(t, conn); got != "hello" {
			t.Errorf("got %q", got)
		}
	}
}

func TestAccessLog_OfARealProcess(t *testing.T) {
	b := newBackend(t, nil)
	s := sidecartest.Start(t, anonymous+b.hooked()+"\ntrusted_proxies: [127.0.0.1]\nlog: {format: json, access: all, query: true}")
	req, err := http.NewRequest("GET", "http://"+s.Public+"/page?a=1&access_token=secret", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Host": "app.example", "X-Request-Id": "front-1", "Cookie": "s=secret", "Referer": "http://x/secret"} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	_ = dial(t, s, nil)
	s.Pushed(t, `{"to":{"all":true},"text":"secret"}`)
	for _, want := range [][]string{
		{`"msg":"request"`, `"request_id":"front-1","ip":"192.0.2.7","method":"GET","host":"app.example","path":"/page","query":"a=1&access_token=[redacted]","status":200,`},
		{`"msg":"handshake"`, `"path":"/_push","status":101,`, `"conn":`},
		{`"msg":"push"`, `"path":"/v1/push","status":200,`, `"ip":"127.0.0.1"`},
	} {
		testkit.Eventually(t, want[0]+" is logged", func() bool {
			for line := range strings.Lines(s.Output()) {
				if strings.Contains(line, want[0]) && strings.Contains(line, want[1]) && strings.Contains(line, want[len(want)-1]) {
					return true
				}
			}
			return false
		})
	}
	if out := s.Output(); strings.Contains(out, "secret") {
		t.Errorf("a secret is in\n%s", out)
	}
}
