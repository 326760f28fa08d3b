package push

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub/hubtest"
	"github.com/pushcart/pushcart/internal/accesslog"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestAccess_OneLineForEachCall(t *testing.T) {
	var log testkit.Log
	h := hubtest.Alone(t)
	hubtest.Join(t, h, "42")
	cfg := config.Default().Push
	cfg.Tokens, cfg.MaxBody = []config.Secret{"secret"}, 1000
	a := newAPI(t, h, func(p *config.Push) { *p = cfg })
	a.Apply(NewSettings(cfg, config.Limits{ChannelsPerConnection: 4}, accesslog.New(&log, accesslog.Options{Node: "n1", JSON: true, Query: true})))
	s := serveOn(t, a, testkit.Listen(t))
	f := func(method, path, body string, header []string, status int, id string) {
		t.Helper()
		r := s.call(method, path, body, append([]string{"Content-Type: application/json", "Referer: http://x/secret"}, header...)...)
		log.Await(t, "\n")
		line := log.Take()
		var got struct {
			Msg, Node, IP, Method, Host, Path, Query string
			ID                                       string `json:"request_id"`
			Status                                   int
			In                                       int `json:"bytes_in"`
			Out                                      int `json:"bytes_out"`
			Duration                                 float64
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		rawPath, query, _ := strings.Cut(path, "?")
		if got.Msg != "push" || got.Node != "n1" || got.IP != "127.0.0.1" || got.Method != method || got.Host != "127.0.0.1:8081" ||
			got.Path != rawPath || got.Query != query || got.Status != status || got.Out != len(r.body) || strings.Contains(line, "secret") {
			t.Errorf("%s %s: got %s", method, path, line)
		}
		if in := len(body); in <= 1000 && got.In != in {
			t.Errorf("%s %s: %d bytes in, want %d", method, path, got.In, in)
		}
		if (got.ID == "mine") != (id == "mine") || len(got.ID) < 4 {
			t.Errorf("%s %s: id %q, want %s", method, path, got.ID, id)
		}
	}
	let := []string{"Authorization: Bearer secret", "X-Request-Id: mine"}
	f("POST", "/v1/push", `{"to":{"users":["42"]},"text":"hello"}`, let, 200, "mine")
	f("POST", "/v1/users/4%202/push?event=a%62", `"hello"`, let, 200, "mine")
	f("POST", "/v1/push", `{"to":`, let, 400, "mine")
	f("GET", "/v1/nothing", "", let, 404, "mine")
	f("POST", "/v1/push", `{}`, []string{"Authorization: Bearer wrong-secret", "X-Request-Id: mine"}, 401, "made")
	f("GET", "/v1/nodes", "", []string{"Authorization: Bearer secret", "X-Request-Id: not good"}, 200, "made")
}

func TestApply_TheNextCallHasTheNewSettings(t *testing.T) {
	h := hubtest.Alone(t)
	cfg := config.Default().Push
	a := newAPI(t, h)
	s := serveOn(t, a, testkit.Listen(t))
	s.want(200, "GET", "/v1/nodes", "")
	cfg.Tokens, cfg.Hosts = []config.Secret{"t0ken"}, []string{"push.internal"}
	a.Apply(NewSettings(cfg, config.Limits{}, nil))
	s.wantError(401, "unauthenticated", "", "GET", "/v1/nodes", "")
	s.want(200, "GET", "/v1/nodes", "", "Authorization: Bearer t0ken", "Host: push.internal")
	c := hubtest.Join(t, h, "42")
	s.wantError(429, "rate_limited", "", "PUT", "/v1/connections/"+c.Member().ID()+"/channels/news", "", "Authorization: Bearer t0ken")
	a.Apply(NewSettings(cfg, config.Limits{ChannelsPerConnection: 1}, nil))
	s.want(204, "PUT", "/v1/connections/"+c.Member().ID()+"/channels/news", "", "Authorization: Bearer t0ken")
}
