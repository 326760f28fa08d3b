package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/testkit"
)

// places are where the client of client/js is tried.
var places = []string{"node", "chromium"}

// scripts is a process that runs JavaScript with the client at hand: node/client.mjs.
type scripts struct {
	in    io.WriteCloser
	mu    sync.Mutex // guards all below
	next  int
	waits map[int]chan scriptAnswer
}

type scriptAnswer struct {
	ID    int
	Value json.RawMessage
	Error *struct{ Code, Message string }
}

// startScripts starts one in Node, or in a page of the app at url.
func startScripts(t *testing.T, place, url string) *scripts {
	t.Helper()
	if _, err := os.Stat("../client/js/node_modules"); err != nil {
		t.Fatal("run make tools first: it installs the npm packages of client/js")
	}
	args := []string{place}
	if place == "chromium" {
		args = append(args, url, chromium(t))
	}
	cmd := nodeScript(t, "client.mjs", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	js := &scripts{in: in, waits: map[int]chan scriptAnswer{}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		js.listen(out)
	}()
	t.Cleanup(func() {
		_ = in.Close()
		timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("client.mjs: %v", err)
		}
	})
	return js
}

func (js *scripts) listen(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		js.mu.Lock()
		if err != nil {
			for _, wait := range js.waits {
				close(wait)
			}
			js.waits = nil
			js.mu.Unlock()
			return
		}
		var a scriptAnswer
		if json.Unmarshal(line, &a) == nil && js.waits[a.ID] != nil {
			js.waits[a.ID] <- a
			delete(js.waits, a.ID)
		}
		js.mu.Unlock()
	}
}

// try runs a piece of JavaScript, the body of an async function. code is that of the
// error it threw.
func (js *scripts) try(t *testing.T, into any, source string) (code string) {
	t.Helper()
	wait := make(chan scriptAnswer, 1)
	js.mu.Lock()
	if js.waits == nil {
		js.mu.Unlock()
		t.Fatal("client.mjs has ended")
	}
	js.next++
	id := js.next
	js.waits[id] = wait
	line, _ := json.Marshal(map[string]any{"id": id, "code": source})
	_, _ = js.in.Write(append(line, '\n'))
	js.mu.Unlock()
	select {
	case a, ok := <-wait:
		switch {
		case !ok:
			t.Fatalf("client.mjs ended in %s", source)
		case a.Error != nil && a.Error.Code == "":
			t.Fatalf("%s: %s", source, a.Error.Message)
		case a.Error != nil:
			return a.Error.Code
		case into != nil:
			if err := json.Unmarshal(a.Value, into); err != nil {
				t.Fatalf("%s: %v in %s", source, err, a.Value)
			}
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("no end of %s", source)
	}
	return ""
}

// run runs a piece that must not fail, and returns what it returned, as JSON.
func (js *scripts) run(t *testing.T, source string, args ...any) string {
	t.Helper()
	var value json.RawMessage
	js.read(t, &value, fmt.Sprintf(source, args...))
	return string(value)
}

// read runs a piece that must not fail, and reads what it returned.
func (js *scripts) read(t *testing.T, into any, source string) {
	t.Helper()
	if code := js.try(t, into, source); code != "" {
		t.Fatalf("%s: %s", source, code)
	}
}

// is waits until an expression is what is wanted, as JSON.
func (js *scripts) is(t *testing.T, want, expression string, args ...any) {
	t.Helper()
	var got string
	if !testkit.Until(func() bool {
		got = js.run(t, "return "+expression, args...)
		return got == want
	}) {
		t.Errorf(expression+": got %s, want %s", append(args, got, want)...)
	}
}

// clientApp is the app behind the sidecar: a page that loads the client, and a webhook
// that answers each message with itself.
func clientApp(t *testing.T) *backend {
	t.Helper()
	script, err := os.ReadFile("../client/js/dist/pushcart.js")
	if err != nil {
		t.Fatal(err)
	}
	b := newBackend(t, func(w http.ResponseWriter, e event) {
		switch {
		case e.kind != "pushcart.message":
			w.WriteHeader(http.StatusNoContent)
		case e.header.Get("ce-event") == "rejected":
			w.WriteHeader(http.StatusUnprocessableEntity)
		default:
			w.Header().Set("Content-Type", e.contentType)
			_, _ = io.WriteString(w, e.body)
		}
	})
	events := b.Config.Handler
	b.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<!doctype html><title>client</title><script type=module>import * as client from '/pushcart.js'; Object.assign(globalThis, client)</script>")
		case "/pushcart.js":
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write(script)
		default:
			events.ServeHTTP(w, r)
		}
	})
	return b
}

// chromium is the path of the browser.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("run make tools first: it installs chromium")
	return ""
}
