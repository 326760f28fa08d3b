package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/config"
)

// withChannels keeps history of chat.*, where any user may be, and asks the app about
// messages, which it answers with themselves.
func withChannels(t *testing.T) *running {
	app := echo(t)
	return stopped(t, func(c *config.Config) {
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = app+"/hooks", []string{"message"}, true
		c.Channels = []config.ChannelRule{
			{Match: "chat.*", Subscribe: "user", Publish: "user", History: config.History{Messages: 10, Age: time.Hour}},
			{Match: "**", Subscribe: "granted", Publish: "nobody"},
		}
	})
}

func TestListenJSON_ShowsMessagesAndMarksAllElse(t *testing.T) {
	r := withChannels(t)
	r.withConfig(t, "")
	c := startTool(strings.NewReader(""), "listen", "--protocol", "json", "--user", "ann", "--channel", "news", "--subscribe", "chat.1", "--subscribe", "secret")
	c.out.Await(t, `[ok "chat.1"] {"channel":"chat.1","position":`)
	c.out.Await(t, `[error "secret"] forbidden: `)
	mustRun(t, "push", "--channel", "news", "--event", "said", "{ \"a\":\n 1.50 }")
	c.out.Await(t, "channel news, event said: {\"a\":1.50}\n")
	mustRun(t, "push", "--channel", "chat.1", "two\nlines \x1b[2J")
	c.out.Await(t, `channel chat.1: "two\nlines \u001b[2J"`+"\n")
	mustRun(t, "push", "--user", "ann", "psst")
	c.out.Await(t, "user: \"psst\"\n")
	shown := clockTimes.ReplaceAllString(c.out.String(), "")
	if !strings.HasPrefix(shown, `[welcome] {"connection_id":`) || !strings.Contains(shown, `"channels":{"news":{}}`) {
		t.Errorf("got %s", shown)
	}
	if want := c.out.Lines(); len(clockTimes.FindAllString(c.out.String(), -1)) != want {
		t.Errorf("not one time for each of %d lines: %s", want, &c.out)
	}
	disconnectUser(t, r, "ann", "")
	c.end(t, 0)
}

// A line with a brace is a frame; any other goes to the app, which answers with it.
func TestListenJSON_SendsFramesAndMessages(t *testing.T) {
	r := withChannels(t)
	r.withConfig(t, "")
	f := func(typed, want string) {
		t.Helper()
		c := startTool(strings.NewReader(typed+"\n"), "listen", "--protocol", "json", "--user", "ann", "--count", "1", "--for", "10s")
		c.end(t, 0)
		if got := clockTimes.ReplaceAllString(c.out.String(), ""); !strings.HasSuffix(got, want+"\n") {
			t.Errorf("%q: got %s, want %s", typed, got, want)
		}
	}
	f("hello <you>", `[reply] "hello <you>"`)
	f(`[1.50, "x"]`, `[reply] [1.50,"x"]`)
	f(`{"type":"message","id":7,"data":{"of":"X"}}`, `[reply 7] {"of":"X"}`)
	f(`{"type":"subscribe","id":1,"channel":"chat.2"}`+"\n"+`{"type":"publish","channel":"chat.2","event":"said","data":17}`, `channel chat.2, event said, from ann: 17`)
	// Frames about the connection do not count as messages.
	c := startTool(strings.NewReader("{broken\n"), "listen", "--protocol", "json", "--user", "ann", "--count", "1", "--for", "300ms")
	c.end(t, 1)
	if !c.out.Has("[error] invalid_argument: ") || !c.errs.Has("0 of 1 messages came within 300ms") {
		t.Errorf("got %s%s", &c.out, &c.errs)
	}
}

func TestListenJSON_PrintsFramesAsTheyCame(t *testing.T) {
	r := withChannels(t)
	r.withConfig(t, "")
	c := startTool(strings.NewReader(`{"type":"ping","id":"<now>"}`+"\n17\n"), "listen", "--protocol", "json", "--user", "ann", "--json", "--count", "1")
	c.end(t, 0)
	var types []string
	for text := range strings.Lines(c.out.String()) {
		var one struct {
			Time  time.Time
			Type  string
			Frame struct{ Type, ID string }
		}
		if err := json.Unmarshal([]byte(text), &one); err != nil || one.Type != "frame" || one.Time.IsZero() {
			t.Errorf("got %s, %v", text, err)
		}
		types = append(types, one.Frame.Type)
	}
	if got := strings.Join(types, " "); got != "welcome pong reply" || !c.out.Has(`"frame":{"type":"pong","id":"<now>"}}`) {
		t.Errorf("got %s: %s", got, &c.out)
	}
}

// The token may be in the header that offers the protocol.
func TestListenJSON_CarriesTheTokenBesideTheProtocol(t *testing.T) {
	r := stopped(t, func(c *config.Config) { c.Auth.JWT.Sources = []string{"protocol"} })
	r.withConfig(t, "")
	write(t, "pushcart.yaml", "listen: '"+r.public.Addr().String()+"'\nauth: {jwt: {secret: "+testSecret+", sources: [protocol]}}\n")
	c := startTool(strings.NewReader(`{"type":"ping"}`), "listen", "--protocol", "json", "--user", "ann", "--for", "300ms")
	c.end(t, 0)
	if !c.out.Has(`"user_id":"ann"`) || !c.out.Has("[pong]\n") {
		t.Errorf("got %s%s", &c.out, &c.errs)
	}
}

func TestListenJSON_RefusesWhatCannotBe(t *testing.T) {
	t.Chdir(t.TempDir())
	f := func(want string, code int, args ...string) {
		t.Helper()
		got, _, errs := run(t, append([]string{"listen"}, args...)...)
		if got != code || !strings.Contains(errs, want) {
			t.Errorf("%q: exit %d %s, want %s", args, got, errs, want)
		}
	}
	f("--subscribe goes with --protocol json", 2, "--subscribe", "news")
	f("--binary does not go with --protocol json", 2, "--protocol", "json", "--binary")
	f("--protocol json --subscribe asks for a channel", 2, "--channel", "news")
	f("unknown protocol \"jsn\"; did you mean json?", 2, "--protocol", "jsn")
	raw := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u websocket.Upgrader
		if c, err := u.Upgrade(w, r, nil); err == nil {
			c.Close()
		}
	}))
	defer raw.Close()
	f("the server does not speak pushcart.json.v1; is ws://", 1, "--protocol", "json", raw.URL)
}
