package integration

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// scribe is an app that writes down requests byte for byte.
type scribe struct {
	net.Listener
	mu   sync.Mutex // guards seen
	seen []string
}

func newScribe(t *testing.T) *scribe {
	t.Helper()
	s := &scribe{Listener: testkit.Listen(t)}
	go func() {
		for {
			conn, err := s.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (s *scribe) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		head, length := "", 0
		for !strings.HasSuffix(head, "\r\n\r\n") {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			head += line
			if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
				length, _ = strconv.Atoi(strings.TrimSpace(v))
			}
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, strings.ReplaceAll(head, "\r\n", "\n")+string(body))
		s.mu.Unlock()
		answer := "HTTP/1.1 204 No Content\r\n\r\n"
		if strings.Contains(head, "ce-type: pushcart.connect\r") || strings.Contains(string(body), `"pushcart.connect"`) {
			const who = `{"user_id":"zoë","channels":["chat.7"],"state":{"step":1}}`
			answer = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(who), who)
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

func (s *scribe) find(t *testing.T, what ...string) (found string) {
	t.Helper()
	testkit.Eventually(t, "a request with "+strings.Join(what, ", "), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
	next:
		for _, r := range s.seen {
			for _, w := range what {
				if !strings.Contains(r, w) {
					continue next
				}
			}
			found = r
			return true
		}
		return false
	})
	return found
}

// varying is what differs from one request to the next.
var varying = []struct{ pattern, name string }{
	{`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`, "UUIDv7"},
	{`[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`, "UUIDv8"},
	{`00-[0-9a-f]{32}-[0-9a-f]{16}-01`, "TRACE"},
	{`[0-9a-v]{13}-[0-9a-v]{13}`, "CONNECTION"}, {`/nodes/[0-9a-v]{13}`, "NODE"},
	{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`, "TIME"}, {`webhook-timestamp: \d+`, "TIMESTAMP"}, {`v1,[A-Za-z0-9+/]{43}=`, "SIGNATURE"},
	{`"Sec-Websocket-Key":\["[^"]+"\]`, "KEY"}, {`"duration_ms":\d+`, "DURATION"}, {`ce-sequence: 0{7}[1-9]\d{12}`, "GENERATION"}, {`"generation":\d+`, "GENERATION"}, {`Content-Length: \d+`, "LENGTH"}, {`Host: 127.0.0.1:\d+`, "BACKEND"},
}

func normal(request string) string {
	for _, v := range varying {
		request = regexp.MustCompile(v.pattern).ReplaceAllString(request, v.name)
	}
	return request
}

// example is a block of docs/webhooks.md.
func example(page, name string) (before, block, after string, ok bool) {
	before, rest, ok := strings.Cut(page, "\n```http "+name+"\n")
	if !ok {
		return "", "", "", false
	}
	block, after, ok = strings.Cut("\n"+rest, "\n```\n")
	return before + "\n```http " + name + "\n", strings.TrimPrefix(block, "\n"), "\n```\n" + after, ok
}

// TestDocs_WebhooksAreShownAsTheyAreSent holds the examples of docs/webhooks.md to what
// comes; with PUSHCART_UPDATE_DOCS=1 it puts what came into the page.
func TestDocs_WebhooksAreShownAsTheyAreSent(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	page := readDoc(t, "webhooks.md")
	for name, request := range sentExamples(t) {
		before, shown, after, ok := example(page, name)
		switch {
		case !ok:
			t.Errorf("the page has no example %q", name)
		case os.Getenv("PUSHCART_UPDATE_DOCS") != "":
			page = before + request + after
		case normal(shown) != normal(request):
			t.Errorf("%s is shown as\n%s\nbut comes as\n%s", name, shown, request)
		default:
			checkShown(t, name, shown)
		}
	}
	if os.Getenv("PUSHCART_UPDATE_DOCS") != "" {
		if err := os.WriteFile("../docs/webhooks.md", []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// checkShown verifies the signature in the page.
func checkShown(t *testing.T, name, shown string) {
	t.Helper()
	head, body, _ := strings.Cut(shown, "\n\n")
	field := func(name string) string {
		m := regexp.MustCompile(`(?m)^` + name + `: (.*)$`).FindStringSubmatch(head)
		if m == nil {
			t.Fatalf("no %s in %s", name, head)
		}
		return m[1]
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(whsec, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", field("webhook-id"), field("webhook-timestamp"), body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); field("webhook-signature") != want {
		t.Errorf("%s: the signature shown is %s, of what is shown it is %s", name, field("webhook-signature"), want)
	}
	if n := field("Content-Length"); n != strconv.Itoa(len(body)) {
		t.Errorf("%s: Content-Length is shown as %s, the body has %d bytes", name, n, len(body))
	}
}

// sentExamples are requests that a sidecar sends, by their name in the page.
func sentExamples(t *testing.T) map[string]string {
	t.Helper()
	header := http.Header{
		"Host": {"app.example.com"}, "X-Forwarded-For": {"203.0.113.9"}, "X-Forwarded-Proto": {"https"}, "Cookie": {"session=7f3a"}, "User-Agent": {"Mozilla/5.0"},
	}
	all := map[string]string{}
	run := func(lines string) *scribe {
		app := newScribe(t)
		s := sidecartest.Start(t, fmt.Sprintf("backend: {url: 'http://%s'}\ntrusted_proxies: [127.0.0.1]\nchannels: [{match: 'chat.*', presence: true}]\nusers: {offline_delay: 10ms}\nwebhook:\n  url: /hooks/push\n  events: ['*']\n  secrets: [%s]\n  %s", app.Addr(), whsec, lines))
		c, err := tryDial(s, "/_push?room=lobby", header)
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, websocket.TextMessage, "hello")
		app.find(t, "hello")
		_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(5*time.Second))
		closed(t, c)
		_ = c.Close()
		return app
	}
	app := run("")
	for _, name := range []string{
		"connect", "connected", "message", "disconnected", "user.online", "user.offline", "channel.occupied", "channel.vacated", "presence.join", "presence.leave",
	} {
		all[name] = app.find(t, "ce-type: pushcart."+name+"\n")
	}
	all["structured"] = run("format: structured").find(t, `"pushcart.message"`)
	batch := newScribe(t)
	s := sidecartest.Start(t, fmt.Sprintf("backend: {url: 'http://%s'}\ntrusted_proxies: [127.0.0.1]\nwebhook: {url: /hooks/push, events: [connect, connected, disconnected], secrets: [%s], batch: {events: 2, wait: 1m}}", batch.Addr(), whsec))
	c, err := tryDial(s, "/_push?room=lobby", header)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(5*time.Second))
	closed(t, c)
	all["batch"] = batch.find(t, "cloudevents-batch")
	all["node_lost"] = lostExample(t, header)
	return all
}

// lostExample is what one node tells of a connection of another that is killed.
func lostExample(t *testing.T, header http.Header) string {
	t.Helper()
	app, redis := newScribe(t), redistest.Start(t)
	yaml := fmt.Sprintf("backend: {url: 'http://%s'}\ntrusted_proxies: [127.0.0.1]\nwebhook: {url: /hooks/push, events: ['*'], secrets: [%s]}\nredis: {addresses: ['%s']}", app.Addr(), whsec, redis.Addr)
	stays, dies := sidecartest.Start(t, yaml), sidecartest.Start(t, yaml)
	stays.AwaitRedis(t, http.StatusOK)
	dies.AwaitRedis(t, http.StatusOK)
	c, err := tryDial(dies, "/_push?room=lobby", header)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	app.find(t, "ce-type: pushcart.connected\n") // from then on another node tells the end
	dies.Kill()
	return app.find(t, "ce-type: pushcart.disconnected\n")
}

// TestDocs_VerificationInFiveLanguages runs the code of docs/webhooks.md on requests that
// a sidecar sent, and on such that were changed or are old.
func TestDocs_VerificationInFiveLanguages(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	good := append(capture(t, "", false), capture(t, "format: structured\n  batch: {events: 50, wait: 200ms}", true)...)
	bad := tampered(good)
	for _, r := range good[:3] {
		old := captured{map[string]string{}, r.Body}
		for name, value := range r.Headers {
			old.Headers[name] = value
		}
		resign(t, &old, 1_500_000_000)
		bad = append(bad, old)
	}
	bad = append(bad, captured{map[string]string{}, nil})
	for _, l := range []struct {
		language, file, before, after string
		command                       []string
	}{
		{"js", "v.mjs", "", `
import { readFileSync } from 'node:fs'
console.log(JSON.stringify(JSON.parse(readFileSync(0)).map(r => verify(r.headers, Buffer.from(r.body ?? '', 'base64')))))`, []string{"node"}},
		{"python", "v.py", "", `
import json, sys
print(json.dumps([verify(r["headers"], base64.b64decode(r["body"] or "")) for r in json.load(sys.stdin)]))`, []string{"python3"}},
		{"php", "v.php", "<?php\n", `
echo json_encode(array_map(fn($r) => verify($r['headers'], base64_decode($r['body'] ?? '')), json_decode(file_get_contents('php://stdin'), true)));`, []string{"php"}},
		{"ruby", "v.rb", "", `
require 'json'
puts JSON.parse($stdin.read).map { |r| verify(r['headers'], r['body'].to_s.unpack1('m')) }.to_json`, []string{"ruby"}},
		{"go", "v.go", `package main

import ("crypto/hmac"; "crypto/sha256"; "encoding/base64"; "encoding/json"; "fmt"; "net/http"; "os"; "strconv"; "strings"; "time")
`, `
func main() {
	var in []struct{ Headers map[string]string; Body []byte }
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil { panic(err) }
	out := []bool{}
	for _, r := range in {
		h := http.Header{}
		for name, value := range r.Headers { h.Set(name, value) }
		out = append(out, verify(h, r.Body))
	}
	_ = json.NewEncoder(os.Stdout).Encode(out)
}`, []string{"go", "run"}},
	} {
		t.Run(l.language, func(t *testing.T) {
			if _, err := exec.LookPath(l.command[0]); err != nil {
				testkit.Missing(t, l.command[0])
			}
			file := filepath.Join(t.TempDir(), l.file)
			if err := os.WriteFile(file, []byte(l.before+docBlock(t, "webhooks.md", l.language)+l.after), 0o600); err != nil {
				t.Fatal(err)
			}
			for i, ok := range verified(t, append(l.command, file), append(good, bad...)) {
				if want := i < len(good); ok != want {
					t.Errorf("request %d of %d good and %d bad ones: got %v", i, len(good), len(bad), ok)
				}
			}
		})
	}
}

func verified(t *testing.T, command []string, requests []captured) (all []bool) {
	t.Helper()
	in, err := json.Marshal(requests)
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &errs
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &all)
	}
	if err != nil || len(all) != len(requests) {
		t.Fatalf("%v, %d of %d judged: %s%s", err, len(all), len(requests), &errs, out)
	}
	return all
}

// resign signs a request as of another time.
func resign(t *testing.T, r *captured, at int64) {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(whsec, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", r.Headers["webhook-id"], at, r.Body)
	r.Headers["webhook-timestamp"] = strconv.FormatInt(at, 10)
	r.Headers["webhook-signature"] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
