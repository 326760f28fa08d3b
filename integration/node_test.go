package integration

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// nodeScript prepares a script of integration/node.
func nodeScript(t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	if _, err := os.Stat("node/node_modules"); err != nil {
		t.Fatal("run make tools first: it installs the npm packages of integration/node")
	}
	cmd := exec.Command("node", append([]string{script}, args...)...)
	cmd.Dir = "node"
	cmd.Stderr = os.Stderr
	return cmd
}

// startExpress runs node/backend.mjs and returns its URL.
func startExpress(t *testing.T) string {
	t.Helper()
	cmd := nodeScript(t, "backend.mjs")
	cmd.Env = append(os.Environ(), "SECRET="+whsec)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the Express app did not start: %v", err)
	}
	return "http://127.0.0.1:" + strings.TrimSpace(port)
}

type expressEvent struct {
	ID, Type, Source, Subject, Specversion, Datacontenttype, Time string
	UserID                                                        string `json:"userid"`
	Sequence, ConnectionID                                        string
	State                                                         *struct{ Messages int }
	Data                                                          json.RawMessage
}

// TestExpress_ReadsEventsWithItsOwnLibraries: npm's standardwebhooks verifies and
// cloudevents parses what the sidecar sends; the app itself is reached through it.
func TestExpress_ReadsEventsWithItsOwnLibraries(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	app := startExpress(t)
	s := sidecartest.Start(t, "backend: {url: '"+app+"'}\nwebhook: {url: '"+app+"/hooks/push', events: [connect, connected, message, disconnected], secrets: ["+whsec+"]}")
	if status, body := call(t, "GET", "http://"+s.Public+"/", "", ""); status != 200 || body != "an app of its own" {
		t.Errorf("pass-through: %d %q", status, body)
	}

	c, err := tryDial(s, "/_push?user=zo%C3%AB%20m", nil)
	if err != nil {
		t.Fatal(err)
	}
	messages := []struct {
		kind int
		text string
	}{
		{websocket.TextMessage, "κόσμε \"quoted\" "}, {websocket.BinaryMessage, "\x00\xff\x80 binary"}, {websocket.TextMessage, `{"n": 1.0}`},
	}
	for _, m := range messages {
		send(t, c, m.kind, m.text)
		if kind, got := next(t, c); kind != m.kind || got != m.text {
			t.Errorf("echo of %q: got kind %d, %q", m.text, kind, got)
		}
	}
	_ = c.Close()

	var events []expressEvent
	testkit.Eventually(t, "all events are told", func() bool {
		_, body := call(t, "GET", "http://"+s.Public+"/events", "", "")
		events = nil
		if err := json.Unmarshal([]byte(body), &events); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		return len(events) == 6
	})
	ids := map[string]bool{}
	for i, want := range []string{"connect", "connected", "message", "message", "message", "disconnected"} {
		e := events[i]
		if e.Type != "pushcart."+want || e.Specversion != "1.0" || !strings.HasPrefix(e.Source, "/nodes/") || e.Subject != e.ConnectionID || e.ConnectionID == "" {
			t.Errorf("event %d: got %+v, want %s", i, e, want)
		}
		if _, err := time.Parse(time.RFC3339, e.Time); err != nil {
			t.Errorf("event %d: time %v", i, err)
		}
		if i > 0 && e.UserID != "zoë m" {
			t.Errorf("event %d: user %q", i, e.UserID)
		}
		ids[e.ID] = true
	}
	if len(ids) != 6 {
		t.Errorf("ids are not unique: %v", ids)
	}
	for i, m := range messages {
		e := events[2+i]
		if e.State == nil || e.State.Messages != i {
			t.Errorf("message %d: state %+v, want %d", i, e.State, i)
		}
		if got := expressData(t, e); got != m.text {
			t.Errorf("message %d: the app read %q of %q", i, got, m.text)
		}
	}

	status, body := call(t, "POST", app+"/hooks/push", "text/plain", "forged")
	if status != http.StatusUnauthorized {
		t.Errorf("an unsigned event: got %d %s, want 401", status, body)
	}
	if status, body := call(t, "POST", "http://"+s.Public+"/hooks/push", "text/plain", "forged"); status != http.StatusNotFound {
		t.Errorf("the webhook's path from outside: got %d %s, want 404", status, body)
	}
}

// expressData is a message's payload, which the app gives as base64.
func expressData(t *testing.T, e expressEvent) string {
	t.Helper()
	var b []byte
	if err := json.Unmarshal(e.Data, &b); err != nil {
		t.Fatalf("data %s: %v", e.Data, err)
	}
	return string(b)
}
