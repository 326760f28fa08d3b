package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
)

func TestPresence_ListsTheUsersOfAChannel(t *testing.T) {
	r := stopped(t, func(c *config.Config) {
		c.Channels = []config.ChannelRule{{Match: "room.*", Subscribe: "granted", Publish: "nobody", Presence: true}, {Match: "**", Subscribe: "granted", Publish: "nobody"}}
	})
	r.withConfig(t, "")
	c := startTool(strings.NewReader(""), "listen", "--user", "42", "--channel", "room.1")
	c.errs.Await(t, "connected")
	out := spaces.ReplaceAllString(mustRun(t, "presence", "room.1"), "|")
	if !regexp.MustCompile(`^USER\|CONNECTIONS\|SINCE\|INFO\n42\|1\|\d{4}-\d\d-\d\d[ |]\d\d:\d\d:\d\d\|?\n$`).MatchString(out) {
		t.Errorf("got %q", out)
	}
	if out := mustRun(t, "presence", "room.1", "--json"); !strings.HasPrefix(out, `{"users":[{"user_id":"42","connections":1,"since":"`) || !strings.HasSuffix(out, `"}],"total":1}`+"\n") {
		t.Errorf("got %q", out)
	}
	if out := mustRun(t, "presence", "room.2"); out != "no user is subscribed to room.2\n" {
		t.Errorf("got %q", out)
	}
	if code, _, errs := run(t, "presence", "news"); code != 1 || errs != "pushcart: presence is not enabled for news: its rule in channels has no presence: true\n" {
		t.Errorf("exit %d %s", code, errs)
	}
	disconnect(t, r, "")
	c.end(t, 0)
}

func TestPresence_GoesThroughThePages(t *testing.T) {
	var asked []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path+" "+r.URL.Query().Get("limit")+" "+r.URL.Query().Get("cursor"))
		next := `,"next":"b"`
		if r.URL.Query().Get("cursor") != "" {
			next = ""
		}
		fmt.Fprint(w, `{"users":[{"user_id":"a","connections":1,"since":"2026-11-30T10:00:00.000Z","info":{"n":1}}],"total":2`+next+`}`)
	}))
	defer api.Close()
	code, out, _ := run(t, "presence", "room.1", "--address", api.URL, "--token", "t", "--json")
	if want := `"since":"2026-11-30T10:00:00Z","info":{"n":1}}],"total":2}`; code != 0 || strings.Count(out, "user_id") != 2 || !strings.Contains(out, want) {
		t.Errorf("exit %d %s", code, out)
	}
	if want := []string{"/v1/channels/room.1/presence 1000 ", "/v1/channels/room.1/presence 1000 b"}; fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}
