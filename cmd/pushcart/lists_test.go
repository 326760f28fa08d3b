package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/ask"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// spaces are those between the columns of a table.
var spaces = regexp.MustCompile(`  +`)

func TestLists_ShowWhoIsThere(t *testing.T) {
	r := stopped(t, nil)
	r.withConfig(t, "")
	if out := mustRun(t, "users", "42"); out != "user 42 is not connected\n" {
		t.Errorf("got %q", out)
	}
	if out := mustRun(t, "channels"); out != "no channels\n" {
		t.Errorf("got %q", out)
	}
	c := startTool(strings.NewReader(""), "listen", "--user", "42", "--channel", "news", "--channel", "chat.a")
	c.errs.Await(t, "connected")
	lines := strings.Split(mustRun(t, "users", "42"), "\n")
	if len(lines) != 3 || spaces.ReplaceAllString(lines[0], "|") != "CONNECTION|NODE|SINCE|ADDRESS|CHANNELS" {
		t.Fatalf("got %q", lines)
	}
	cells := spaces.Split(lines[1], -1)
	if len(cells) != 5 || cells[1] != r.hub.NodeID() || cells[3] != "127.0.0.1" || cells[4] != "news, chat.a" {
		t.Errorf("got %q", cells)
	}
	var user struct {
		Connections []struct {
			ID string `json:"connection_id"`
		}
	}
	if err := json.Unmarshal([]byte(mustRun(t, "users", "42", "--json")), &user); err != nil || len(user.Connections) != 1 || user.Connections[0].ID != cells[0] {
		t.Errorf("got %+v, %v", user, err)
	}
	mustRun(t, "push", "--user", "42", "hello")
	c.out.Await(t, "hello")
	one := spaces.ReplaceAllString(mustRun(t, "connections", cells[0]), ": ")
	for _, want := range []string{"connection: " + cells[0] + "\n", "user: 42\n", "channels: news, chat.a\n", "received: 0 messages, 0 bytes\n", "sent: "} {
		if !strings.Contains(one, want) {
			t.Errorf("no %q in\n%s", want, one)
		}
	}
	if out := mustRun(t, "connections", cells[0], "--json"); !strings.HasPrefix(out, `{"connection_id":"`+cells[0]) {
		t.Errorf("got %s", out)
	}
	if out := spaces.ReplaceAllString(mustRun(t, "channels"), "|"); out != "CHANNEL|CONNECTIONS\nchat.a|1\nnews|1\n" {
		t.Errorf("got %q", out)
	}
	if out := mustRun(t, "channels", "--match", "n*", "--json"); out != `{"channels":[{"channel":"news","connections":1}],"complete":true}`+"\n" {
		t.Errorf("got %q", out)
	}
	disconnect(t, r, "")
	c.end(t, 0)
	testkit.Eventually(t, "it is gone", func() bool { return r.hub.Connections() == 0 })
	code, out, errs := run(t, "connections", cells[0])
	if code != 1 || out != "" || errs != "pushcart: there is no connection "+cells[0]+" now; pushcart users U lists those of a user\n" {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
}

// The API hands the list out in pages.
func TestChannels_GoesThroughThePages(t *testing.T) {
	var asked []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		asked = append(asked, q.Get("limit")+" "+q.Get("cursor")+" "+q.Get("match"))
		switch q.Get("cursor") {
		case "":
			fmt.Fprint(w, `{"channels":[{"channel":"a","connections":1},{"channel":"b","connections":2}],"next":"b","complete":false}`)
		case "b":
			fmt.Fprint(w, `{"channels":[{"channel":"c","connections":3}],"next":"c","complete":true}`)
		default:
			fmt.Fprint(w, `{"channels":[{"channel":"d","connections":4}],"complete":true}`)
		}
	}))
	defer api.Close()
	ask := []string{"channels", "--address", api.URL, "--token", "t"}
	code, out, errs := run(t, ask...)
	if code != 0 || spaces.ReplaceAllString(out, "|") != "CHANNEL|CONNECTIONS\na|1\nb|2\nc|3\nd|4\n" || !strings.Contains(errs, "a node did not answer within 1 s") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if want := []string{"1000  ", "1000 b ", "1000 c "}; fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	asked = nil
	code, out, _ = run(t, append(ask, "--limit", "3", "--match", "*", "--json")...)
	if want := `{"channels":[{"channel":"a","connections":1},{"channel":"b","connections":2},{"channel":"c","connections":3}],"next":"c","complete":false}` + "\n"; code != 0 || out != want {
		t.Errorf("exit %d %s", code, out)
	}
	if want := []string{"3  *", "1 b *"}; fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

func TestAsking_SaysWhatToTypeInstead(t *testing.T) {
	r := stopped(t, nil)
	r.withConfig(t, "")
	api, admin := r.pushListener.Addr().String(), r.adminListener.Addr().String()
	gone := testkit.Listen(t)
	_ = gone.Close()
	nowhere := gone.Addr().String()
	write(t, "other.yaml", "push: {listen: '"+api+"'}\n")
	f := func(want string, args ...string) {
		t.Helper()
		code, _, errs := run(t, args...)
		if code != 1 || !strings.Contains(errs, want) {
			t.Errorf("%q: exit %d %s, want %s", args, code, errs, want)
		}
	}
	for _, ask := range [][]string{{"users", "42"}, {"connections", "x"}, {"channels"}, {"status"}, {"push", "--all", "x"}} {
		f("no answer from the push API at "+nowhere+": connect: connection refused; is pushcart running there? --address names another", append(ask, "--address", nowhere)...)
		f("; the token is not one of the node's push.tokens", append(ask, "--token", "wrong")...)
		f("; give --token, or --config with the file that has push.tokens", append(ask, "--config", "other.yaml")...)
		f("; is "+admin+" a push API? --address names another", append(ask, "--address", admin)...)
	}
	f("no answer from the admin listener at "+nowhere+": connect: connection refused; is pushcart running there? --admin-address names another", "status", "--admin-address", nowhere)
	f("/readyz of "+api+": 401 Unauthorized; is it an admin listener? --admin-address names another", "status", "--admin-address", api)
}

func TestStatus_ShowsNodeAndCluster(t *testing.T) {
	r := stopped(t, func(c *config.Config) {
		c.Channels = []config.ChannelRule{{Match: "**", Subscribe: "granted", Publish: "nobody", History: config.History{Messages: 1, Age: time.Hour}}}
	})
	r.withConfig(t, "")
	c := startTool(strings.NewReader(""), "listen", "--user", "42", "--channel", "news")
	c.errs.Await(t, "connected")
	mustRun(t, "push", "--channel", "news", "x")
	out := spaces.ReplaceAllString(mustRun(t, "status"), "|")
	for _, want := range []string{
		`^node\|ready, up \d+m?\d*s, version dev, admin at ` + regexp.QuoteMeta(r.adminListener.Addr().String()) + "\n",
		`\nhere\|1 connection \(limit [1-9]\d+\), 1 user, 1 channel, 0 HTTP connections \(limit [1-9]\d+\)\n`,
		`\nwaiting\|0 webhooks, 0 questions to the app, 0 bytes \(limit [1-9]\d+\) for slow clients\noutbox\|nothing waits here, 0 dead letters\nbreaker\|closed\nhistory\|[1-9]\d* bytes of 1 stream, in memory\n`,
		`\nredis\|none: one node, in memory\n`, `\ncluster\|1 node, 1 connection\n\nNODE\|ADDRESS\|VERSION\|UP\|CONNECTIONS\n`,
		`\n` + r.hub.NodeID() + `\|` + regexp.QuoteMeta(r.public.Addr().String()) + `\|dev\|\d+s\|1\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	var s ask.Status
	if err := json.Unmarshal([]byte(mustRun(t, "status", "--json")), &s); err != nil {
		t.Fatal(err)
	}
	if s.Node == nil || !s.Node.Ready || s.Node.Connections != 1 || s.Node.Most == 0 || s.Node.History == nil || s.Node.History.Streams != 1 || s.Node.Version != "dev" || s.Node.Start.IsZero() || s.Cluster == nil || len(s.Cluster.Nodes) != 1 {
		t.Errorf("got %+v", s)
	}
	r.admin.SetReady(false)
	if out := mustRun(t, "status"); !strings.Contains(out, "not ready (it starts or drains)") {
		t.Errorf("got %s", out)
	}
	code, out, errs := run(t, "status", "--token", "wrong")
	if code != 1 || !strings.Contains(out, "1 connection (limit ") || strings.Contains(out, "cluster") || strings.Count(errs, "\n") != 1 {
		t.Errorf("without the cluster: exit %d\n%s%s", code, out, errs)
	}
	disconnect(t, r, "")
	c.end(t, 0)
}

func TestStatus_SaysWhatIsWrongWithRedis(t *testing.T) {
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			fmt.Fprint(w, `{"ready":true,"redis":"down","redis_error":"READONLY"}`)
		}
	}))
	defer admin.Close()
	_, out, _ := run(t, "status", "--admin-address", strings.TrimPrefix(admin.URL, "http://"), "--address", "127.0.0.1:1", "--token", "t")
	if out = spaces.ReplaceAllString(out, "|"); !strings.Contains(out, "redis|down: READONLY\n") {
		t.Errorf("got %s", out)
	}
}

// The app is away: what waits for it, and what it is not asked, is there at a glance.
func TestStatus_ShowsWhatTheAppMisses(t *testing.T) {
	r := stopped(t, func(c *config.Config) {
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = "http://127.0.0.1:1/hooks", []string{"message", "connected"}, true
		c.Webhook.Breaker = config.Breaker{Failures: 1, Pause: time.Hour}
		c.Webhook.Timeout = 100 * time.Millisecond // of the last attempts at the end
	})
	r.withConfig(t, "")
	const users = 5 // one or two alone open no breaker
	for range users {
		c := startTool(strings.NewReader("hello\n"), "listen", "--user", "42")
		c.end(t, 1) // 1011: the app did not answer
	}
	out := spaces.ReplaceAllString(mustRun(t, "status"), "|")
	if !strings.Contains(out, "\nwaiting|5 webhooks, 0 questions") || !strings.Contains(out, "\nbreaker|open: the app is not asked about message, because it did not answer\n") ||
		!strings.Contains(out, "\noutbox|the oldest webhook has waited ") || !strings.Contains(out, ", 0 dead letters\n") {
		t.Errorf("got\n%s", out)
	}
	if out := mustRun(t, "status", "--json"); !strings.Contains(out, `"webhooks_waiting":5,`) || !strings.Contains(out, `"breakers_open":["message"]`) {
		t.Errorf("got %s", out)
	}
}
