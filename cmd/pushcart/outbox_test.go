package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/ask"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testbackend"
	"github.com/pushcart/pushcart/internal/testkit"
)

// A real node tells a backend that is away, and then is not.
func TestOutbox_ShowsReplaysAndDropsWhatWaits(t *testing.T) {
	app := testbackend.New(t)
	app.Script("connected", testbackend.Status(http.StatusServiceUnavailable))
	r := stopped(t, func(c *config.Config) {
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = app.URL+"/hooks", []string{"connected"}, true
		c.Webhook.Retry = config.Retry{Min: time.Hour, Max: time.Hour, GiveUpAfter: 24 * time.Hour}
		c.Webhook.Timeout = 100 * time.Millisecond
	})
	r.withConfig(t, "")
	if out := mustRun(t, "outbox", "list"); out != "nothing waits\n" {
		t.Errorf("got %q", out)
	}
	for i := range 3 {
		c := startTool(strings.NewReader(""), "listen", "--user", fmt.Sprint("u", i), "--count", "1")
		c.errs.Await(t, "connected")
		t.Cleanup(func() { c.end(t, 0) })
	}
	t.Cleanup(func() { mustRun(t, "push", "--all", "bye") })
	testkit.Eventually(t, "all were tried once", func() bool { return len(app.Got()) == 3 })
	var list ask.OutboxList
	testkit.Eventually(t, "all wait for their retry", func() bool {
		if err := json.Unmarshal([]byte(mustRun(t, "outbox", "list", "--json")), &list); err != nil {
			t.Fatal(err)
		}
		return len(list.Events) == 3 && !slices.ContainsFunc(list.Events, func(e ask.OutboxEvent) bool { return e.Due.IsZero() })
	})
	lines := strings.Split(spaces.ReplaceAllString(mustRun(t, "outbox", "list"), "|"), "\n")
	one := list.Events[0]
	if len(lines) != 5 || lines[0] != "ID|EVENT|ABOUT|SINCE|TRIES|NEXT|REASON" || !strings.HasPrefix(lines[1], one.ID+"|connected|connection "+one.Connection+", user "+one.User+"|") ||
		!strings.HasSuffix(lines[1], "|503: the backend failed") || one.Node != r.hub.NodeID() {
		t.Errorf("got %q", lines)
	}
	shown := spaces.ReplaceAllString(mustRun(t, "outbox", "show", one.ID), "|")
	for _, want := range []string{"state|waiting\n", "tries|1\n", "node|" + r.hub.NodeID() + "\n", `payload|{"connection_id":"` + one.Connection + `"}`} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
	app.Script("connected", testbackend.Status(http.StatusNoContent))
	if out := mustRun(t, "outbox", "replay", one.ID); out != "1 event to be sent again\n" {
		t.Errorf("got %q", out)
	}
	testkit.Eventually(t, "it was taken", func() bool { code, _, _ := run(t, "outbox", "show", one.ID); return code == 1 })
	if out := mustRun(t, "outbox", "drop", list.Events[1].ID); out != "1 event dropped\n" {
		t.Errorf("got %q", out)
	}
	if out := mustRun(t, "outbox", "replay", "--all", "--state", "waiting"); out != "1 event to be sent again\n" {
		t.Errorf("got %q", out)
	}
	testkit.Eventually(t, "nothing waits", func() bool { return mustRun(t, "outbox", "list") == "nothing waits\n" })
	if n := len(app.Got()); n != 5 {
		t.Errorf("the app got %d requests, want 5: three first tries, two again", n)
	}
	code, out, errs := run(t, "outbox", "drop", one.ID, list.Events[1].ID)
	if code != 1 || out != "0 events dropped\n" || strings.Count(errs, "in the outbox now: it was delivered or dropped") != 2 {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
}

// The app refuses an event for good; once it is mended it gets it, with the id that it had.
func TestOutbox_DeadLettersAreSentAgain(t *testing.T) {
	app := testbackend.New(t)
	app.Script("connected", testbackend.Status(http.StatusNotFound))
	r := stopped(t, func(c *config.Config) {
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = app.URL+"/hooks", []string{"connected"}, true
	})
	r.withConfig(t, "")
	for i := range 2 {
		c := startTool(strings.NewReader(""), "listen", "--user", fmt.Sprint("u", i), "--count", "1")
		c.errs.Await(t, "connected")
		t.Cleanup(func() { c.end(t, 0) })
	}
	t.Cleanup(func() { mustRun(t, "push", "--all", "bye") })
	var list ask.OutboxList
	testkit.Eventually(t, "both are dead letters", func() bool {
		if err := json.Unmarshal([]byte(mustRun(t, "outbox", "list", "--state", "dead", "--json")), &list); err != nil {
			t.Fatal(err)
		}
		return len(list.Events) == 2
	})
	if out := spaces.ReplaceAllString(mustRun(t, "status"), "|"); !strings.Contains(out, "\noutbox|nothing waits here, 2 dead letters (pushcart outbox list --state dead)\n") {
		t.Errorf("got\n%s", out)
	}
	shown := spaces.ReplaceAllString(mustRun(t, "outbox", "show", list.Events[0].ID), "|")
	for _, want := range []string{"state|dead\n", "given up|", "reason|404: the backend has no such route\n"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
	app.Script("connected", testbackend.Status(http.StatusNoContent))
	if out := mustRun(t, "outbox", "replay", "--all"); out != "2 events to be sent again\n" {
		t.Errorf("got %q", out)
	}
	testkit.Eventually(t, "no letters", func() bool { return mustRun(t, "outbox", "list", "--state", "dead") == "no dead letters\n" })
	ids := map[string]int{}
	for _, req := range app.Got() {
		ids[req.Header.Get("ce-id")]++
	}
	if len(ids) != 2 || ids[list.Events[0].ID] != 2 || ids[list.Events[1].ID] != 2 {
		t.Errorf("the app got %v, want each of two ids twice", ids)
	}
}

// letterAPI is a push API with dead letters, page by page.
type letterAPI struct {
	mu   sync.Mutex // guards all below
	ids  []string
	done []string
}

func (l *letterAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Method == http.MethodGet {
		l.list(w, r.URL.Query())
		return
	}
	id := strings.Split(r.URL.Path, "/")[3]
	if !slices.Contains(l.ids, id) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":{"code":"not_found","message":"no such event in the outbox"}}`)
		return
	}
	l.done = append(l.done, r.Method+" "+r.URL.Path)
	w.WriteHeader(map[string]int{http.MethodPost: http.StatusAccepted, http.MethodDelete: http.StatusNoContent}[r.Method])
}

func (l *letterAPI) list(w http.ResponseWriter, q url.Values) {
	from := 1 + slices.Index(l.ids, q.Get("cursor"))
	to, next := len(l.ids), ""
	if to > from+2 {
		to, next = from+2, l.ids[from+1]
	}
	page := ask.OutboxList{Next: next, Complete: true}
	for _, id := range l.ids[from:to] {
		e := ask.OutboxEvent{State: q.Get("state")}
		e.ID, e.Event, e.User, e.Channel, e.Reason, e.GivenUp = id, "presence.join", "ann", "chat", "404: no route", time.Unix(1764504000, 0)
		page.Events = append(page.Events, e)
	}
	_ = json.NewEncoder(w).Encode(page)
}

func TestOutbox_ListsAndReplaysDeadLettersOfAllPages(t *testing.T) {
	l := &letterAPI{ids: []string{"a", "b", "c", "d", "e"}}
	api := httptest.NewServer(l)
	defer api.Close()
	at := []string{"--address", api.URL, "--token", "t"}
	code, out, _ := run(t, append(at, "outbox", "list", "--state", "dead")...)
	if out = spaces.ReplaceAllString(out, "|"); code != 0 || strings.Count(out, "\n") != 6 || !strings.HasPrefix(out, "ID|EVENT|ABOUT|GIVEN UP|REASON\na|presence.join|user ann, channel chat|") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if code, out, _ := run(t, append(at, "outbox", "replay", "--all")...); code != 0 || out != "5 events to be sent again\n" {
		t.Errorf("exit %d %s", code, out)
	}
	want := []string{"POST /v1/outbox/a/replay", "POST /v1/outbox/b/replay", "POST /v1/outbox/c/replay", "POST /v1/outbox/d/replay", "POST /v1/outbox/e/replay"}
	if !slices.Equal(l.done, want) {
		t.Errorf("got %q", l.done)
	}
	l.done, l.ids = nil, nil
	if _, out, _ := run(t, append(at, "outbox", "list", "--state", "dead")...); out != "no dead letters\n" {
		t.Errorf("got %q", out)
	}
	if code, out, _ := run(t, append(at, "outbox", "replay", "--all")...); code != 0 || out != "0 events to be sent again\n" {
		t.Errorf("exit %d %s", code, out)
	}
	api.Close()
	if code, _, errs := run(t, append(at, "outbox", "drop", "a")...); code != 1 || !strings.Contains(errs, "is pushcart running there?") {
		t.Errorf("exit %d %s", code, errs)
	}
}
