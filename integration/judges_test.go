package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

const whsec2 = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="

// captured is a webhook as it came, for judges in other languages.
type captured struct {
	Headers map[string]string `json:"headers"` // names in lower case
	Body    []byte            `json:"body"`
}

// captor is an app that keeps what comes. It lets everybody in as one user.
type captor struct {
	*httptest.Server
	mu       sync.Mutex // guards requests
	requests []captured
}

const (
	strangeUser    = `zoë 100% "q" 日本`
	strangeChannel = `chät "100%" 日本`
)

func newCaptor(t *testing.T) *captor {
	t.Helper()
	c := &captor{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		one := captured{Headers: map[string]string{"host": r.Host}, Body: body}
		for name, values := range r.Header {
			one.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
		}
		c.mu.Lock()
		c.requests = append(c.requests, one)
		c.mu.Unlock()
		if r.URL.Path == "/hooks/connect" {
			answer, _ := json.Marshal(map[string]any{"user_id": strangeUser, "state": map[string]any{"né": []int{1, 2}}, "channels": []string{strangeChannel}})
			_, _ = w.Write(answer)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *captor) got() []captured {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.requests)
}

// attributes are an event as a judge shows it; data is base64.
type attributes map[string]string

type judgement struct {
	Error  string
	Events []attributes
}

// judges are programs that read webhooks with what others wrote.
func judges(t *testing.T) map[string]func() *exec.Cmd {
	t.Helper()
	secrets := []string{whsec, whsec2}
	all := map[string]func() *exec.Cmd{
		"node":   func() *exec.Cmd { return nodeScript(t, "judge.mjs", secrets...) },
		"python": func() *exec.Cmd { return exec.Command("python3", append([]string{"judge/judge.py"}, secrets...)...) },
	}
	fetch := exec.Command("go", "mod", "download")
	fetch.Dir = "judge"
	if out, err := fetch.CombinedOutput(); err != nil {
		t.Logf("without the judge in Go, as its modules cannot be fetched: %s", out)
		return all
	}
	program := filepath.Join(t.TempDir(), "judge")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "judge"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build in integration/judge: %s", out)
	}
	all["go"] = func() *exec.Cmd { return exec.Command(program, secrets...) }
	return all
}

func judge(t *testing.T, cmd *exec.Cmd, requests []captured) (all []judgement) {
	t.Helper()
	in, err := json.Marshal(requests)
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &errs
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &all)
	}
	if err != nil || len(all) != len(requests) {
		t.Fatalf("%v: %v, %d of %d judged\n%s\n%s", cmd.Args[:1], err, len(all), len(requests), &errs, out)
	}
	return all
}

// said are a client's messages.
var said = []struct {
	kind int
	text string
}{
	{websocket.TextMessage, "plain"}, {websocket.TextMessage, `{"a": [1.0, "é"]}`}, {websocket.TextMessage, ""},
	{websocket.TextMessage, "κόσμε \"quoted\" <&>\x00\u2028 😀"}, {websocket.BinaryMessage, "\x00\xff\x80\n binary"},
	{websocket.BinaryMessage, ""}, {websocket.BinaryMessage, "octets that are text"},
}

// TestJudges_ReadWhatTheSidecarSends: libraries that nobody here wrote verify each
// event's signatures and read its attributes, in each form.
func TestJudges_ReadWhatTheSidecarSends(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	all := judges(t)
	f := func(form, lines string, several bool) {
		t.Run(form, func(t *testing.T) {
			requests := capture(t, lines, several)
			for i, r := range requests {
				if strings.Count(r.Headers["webhook-signature"], "v1,") != 2 {
					t.Errorf("request %d: signatures %q", i, r.Headers["webhook-signature"])
				}
			}
			var first []attributes
			for name, run := range all {
				events := read(t, name, judge(t, run(), requests))
				check(t, name, events)
				if first == nil {
					first = events
				}
				compare(t, name, events, first)
				for i, j := range judge(t, run(), tampered(requests)) {
					if j.Error == "" {
						t.Errorf("%s takes request %d, which was changed", name, i)
					}
				}
			}
		})
	}
	f("binary", "", false)
	f("structured", "format: structured", false)
	f("batch", "batch: {events: 100, wait: 300ms}", true)
}

// capture is what a sidecar sends about a client that says all there is to say, and,
// where several go in one request, about others that come and go.
func capture(t *testing.T, lines string, several bool) []captured {
	t.Helper()
	app := newCaptor(t)
	s := sidecartest.Start(t, fmt.Sprintf("backend: {url: '%s'}\nchannels: [{match: '**', presence: true}]\nusers: {offline_delay: 100ms}\nwebhook:\n  url: /hooks/{event}\n  events: ['*']\n  secrets: [%s, %s]\n  %s", app.URL, whsec, whsec2, lines))
	others := 0
	if several {
		others = 10
	}
	c := dial(t, s, nil)
	for _, m := range said {
		send(t, c, m.kind, m.text)
	}
	events := 3 + len(said) + len(facts)
	for range others {
		_ = dial(t, s, nil).Close()
		events += 3
	}
	testkit.Eventually(t, "all messages are answered", func() bool { return countOf(app.got(), "pushcart.message") == len(said) })
	_ = c.Close()
	testkit.Eventually(t, "all events came", func() bool { return countEvents(app.got()) >= events })
	requests := app.got()
	if several && len(requests) > 1+len(said)+others+6 {
		t.Errorf("%d events in %d requests: hardly any batch", events, len(requests))
	}
	return requests
}

func countEvents(requests []captured) (n int) {
	for _, r := range requests {
		n += max(1, bytes.Count(r.Body, []byte(`"specversion"`)))
	}
	return n
}

func countOf(requests []captured, kind string) (n int) {
	for _, r := range requests {
		if r.Headers["ce-type"] == kind {
			n++
		}
		n += bytes.Count(r.Body, []byte(`"type":"`+kind+`"`))
	}
	return n
}

// facts are what is told beside the connections' events: once each, as all are one
// user's in one channel.
var facts = map[string]struct{ subject, user, data string }{
	"pushcart.user.online":      {strangeUser, strangeUser, `{"generation":GENERATION}`},
	"pushcart.user.offline":     {strangeUser, strangeUser, `{"generation":GENERATION}`},
	"pushcart.channel.occupied": {strangeChannel, "", `{"channel":` + asJSON(strangeChannel) + `,"generation":GENERATION}`},
	"pushcart.channel.vacated":  {strangeChannel, "", `{"channel":` + asJSON(strangeChannel) + `,"generation":GENERATION}`},
	"pushcart.presence.join":    {strangeChannel, strangeUser, `{"channel":` + asJSON(strangeChannel) + `,"user_id":` + asJSON(strangeUser) + `}`},
	"pushcart.presence.leave":   {strangeChannel, strangeUser, `{"channel":` + asJSON(strangeChannel) + `,"user_id":` + asJSON(strangeUser) + `}`},
}

// asJSON is text as JSON.
func asJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// checkFacts looks at the events without a connection.
func checkFacts(t *testing.T, name string, events []attributes) {
	t.Helper()
	seen := map[string]bool{}
	for _, e := range events {
		want, ok := facts[e["type"]]
		generation, err := strconv.ParseUint(e["sequence"], 10, 64)
		data, _ := base64.StdEncoding.DecodeString(e["data"])
		body := strings.Replace(want.data, "GENERATION", strconv.FormatUint(generation, 10), 1)
		if !ok || seen[e["type"]] || e["subject"] != want.subject || e["userid"] != want.user || err != nil || len(e["sequence"]) != 20 || !sameJSON(string(data), body) {
			t.Errorf("%s: got %v with %s, want %+v once", name, e, data, want)
		}
		seen[e["type"]] = true
	}
	if len(seen) != len(facts) {
		t.Errorf("%s: facts %v", name, seen)
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

// read are all the events of a judge.
func read(t *testing.T, name string, all []judgement) (events []attributes) {
	t.Helper()
	for i, j := range all {
		if j.Error != "" {
			t.Errorf("%s refuses request %d: %s", name, i, j.Error)
		}
		events = append(events, j.Events...)
	}
	return events
}

// check holds what a judge read to what happened.
func check(t *testing.T, name string, events []attributes) {
	t.Helper()
	ids, of := map[string]bool{}, map[string][]attributes{}
	var others []attributes
	for _, e := range events {
		ids[e["id"]] = true
		if e["connectionid"] == "" {
			others = append(others, e)
			continue
		}
		of[e["connectionid"]] = append(of[e["connectionid"]], e)
		state, _ := base64.StdEncoding.DecodeString(e["state"])
		if e["type"] != "pushcart.connect" && (e["userid"] != strangeUser || string(state) != `{"né":[1,2]}`) {
			t.Errorf("%s: %s of %q with state %q", name, e["type"], e["userid"], state)
		}
		if e["specversion"] != "1.0" || !strings.HasPrefix(e["source"], "/nodes/") || e["subject"] != e["connectionid"] {
			t.Errorf("%s: got %v", name, e)
		}
	}
	if len(ids) != len(events) {
		t.Errorf("%s: %d ids of %d events", name, len(ids), len(events))
	}
	checkFacts(t, name, others)
	talked := 0
	for conn, events := range of {
		slices.SortFunc(events, func(a, b attributes) int { return strings.Compare(a["sequence"], b["sequence"]) })
		if len(events) != 3 {
			talked++
		}
		for i, e := range events {
			if want := fmt.Sprintf("%020d", i+1); e["sequence"] != want {
				t.Errorf("%s: sequence %s, want %s", name, e["sequence"], want)
			}
			checkEvent(t, name, conn, e, i, len(events))
		}
	}
	if talked != 1 {
		t.Errorf("%s: %d connections that said something", name, talked)
	}
}

// checkEvent looks at the event at i of a connection with n.
func checkEvent(t *testing.T, name, conn string, e attributes, i, n int) {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(e["data"])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	kind, want, contentType := "message", "", "application/json"
	switch i {
	case 0:
		kind, want = "connect", conn
	case 1:
		kind, want = "connected", conn
	case n - 1:
		kind, want = "disconnected", `"cause"`
	default:
		m := said[i-2]
		want, contentType = m.text, "text/plain; charset=utf-8"
		if m.kind == websocket.BinaryMessage {
			contentType = "application/octet-stream"
		}
		if string(data) != m.text {
			t.Errorf("%s: message %q, want %q", name, data, m.text)
		}
	}
	if e["type"] != "pushcart."+kind || e["datacontenttype"] != contentType || !strings.Contains(string(data), want) {
		t.Errorf("%s: event %d is %s, %s: %q; want %s with %q", name, i, e["type"], e["datacontenttype"], data, kind, want)
	}
}

// compare holds what a judge read to what another did.
func compare(t *testing.T, name string, events, others []attributes) {
	t.Helper()
	if len(events) != len(others) {
		t.Fatalf("%s reads %d events, another %d", name, len(events), len(others))
	}
	for i, e := range events {
		if got, want := canonical(e), canonical(others[i]); !reflect.DeepEqual(got, want) {
			t.Errorf("%s reads\n%v\nanother\n%v", name, got, want)
			return
		}
	}
}

// canonical is an event whose JSON is written in one way.
func canonical(e attributes) map[string]any {
	out := map[string]any{}
	for name, value := range e {
		out[name] = value
	}
	var data any
	if raw, err := base64.StdEncoding.DecodeString(e["data"]); err == nil && json.Unmarshal(raw, &data) == nil && e["datacontenttype"] == "application/json" {
		out["data"] = data
	}
	return out
}

// tampered are requests with one bit changed: of the body, or, where that is empty, of
// the id.
func tampered(requests []captured) (out []captured) {
	for _, r := range requests {
		headers := map[string]string{}
		for name, value := range r.Headers {
			headers[name] = value
		}
		body := bytes.Clone(r.Body)
		if len(body) > 0 {
			body[len(body)/2] ^= 1
		} else {
			headers["webhook-id"] += "x"
		}
		out = append(out, captured{headers, body})
	}
	return out
}
