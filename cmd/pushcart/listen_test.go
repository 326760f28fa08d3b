package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testbackend"
	"github.com/pushcart/pushcart/internal/testkit"
)

// tool is a command that runs beside the test.
type tool struct {
	out, errs testkit.Log
	code      chan int
}

func startTool(in io.Reader, args ...string) *tool {
	c := &tool{code: make(chan int, 1)}
	p := process{args: args, stdin: in, stdout: &c.out, stderr: &c.errs}
	go func() { c.code <- p.main(context.Background()) }()
	return c
}

func (c *tool) end(t *testing.T, want int) {
	t.Helper()
	select {
	case code := <-c.code:
		if code != want {
			t.Errorf("exit %d, want %d: %s", code, want, &c.errs)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("it did not end: %s%s", &c.out, &c.errs)
	}
}

// withConfig writes pushcart.yaml for the tools of a node, here.
func (r *running) withConfig(t *testing.T, more string) {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, "pushcart.yaml", "listen: '"+r.public.Addr().String()+"'\npush: {listen: '"+r.pushListener.Addr().String()+
		"', tokens: [t0ken]}\nadmin: {listen: '"+r.adminListener.Addr().String()+"'}\nauth: {jwt: {secret: "+testSecret+"}}\n"+more)
}

// stopped starts a node that ends with the test.
func stopped(t *testing.T, change func(*config.Config)) *running {
	t.Helper()
	r := startNode(t, func(c *config.Config) {
		c.Push.Tokens, c.Auth.JWT.Secret = []config.Secret{"t0ken"}, testSecret
		if change != nil {
			change(c)
		}
	})
	t.Cleanup(func() {
		r.signals <- os.Interrupt
		if err := r.end(t); err != nil {
			t.Errorf("end: %v", err)
		}
	})
	return r
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := run(t, args...)
	if code != 0 {
		t.Errorf("%q: exit %d %s", args, code, errs)
	}
	return out
}

var clockTimes = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d{3} `)

func TestListen_PrintsWhatComes(t *testing.T) {
	r := stopped(t, nil)
	r.withConfig(t, "")
	c := startTool(strings.NewReader(""), "listen", "--user", "42", "--channel", "news")
	c.errs.Await(t, "connected to ws://"+r.public.Addr().String()+"/_push")
	mustRun(t, "push", "--channel", "news", "hello")
	c.out.Await(t, "hello\n") // channels and users have no order between them
	mustRun(t, "push", "--user", "42", "two\nlines \x1b[2J")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequest("POST", "http://"+r.pushListener.Addr().String()+"/v1/users/42/push", strings.NewReader("\x00\xff"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer t0ken"}, "Content-Type": {"application/octet-stream"}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	const want = "hello\ntwo\n             lines \\x1b[2J\n[binary, 2 bytes, base64] AP8=\n"
	c.out.Await(t, "AP8=\n")
	if got := clockTimes.ReplaceAllString(c.out.String(), ""); got != want || len(clockTimes.FindAllString(c.out.String(), -1)) != 3 {
		t.Errorf("got %q, want %q", c.out.String(), want)
	}
	disconnect(t, r, `{"code":4100,"reason":"bye"}`)
	c.end(t, 1)
	if want := "pushcart: closed with 4100 (bye): chosen by the backend. Reconnect: as it says\n"; !strings.HasSuffix(c.errs.String(), want) {
		t.Errorf("got %q", &c.errs)
	}
}

func disconnect(t *testing.T, r *running, body string) {
	t.Helper()
	disconnectUser(t, r, "42", body)
}

func disconnectUser(t *testing.T, r *running, user, body string) {
	t.Helper()
	req, err := http.NewRequest("POST", "http://"+r.pushListener.Addr().String()+"/v1/users/"+user+"/disconnect", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer t0ken")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func TestListen_PrintsObjects(t *testing.T) {
	r := stopped(t, nil)
	r.withConfig(t, "")
	c := startTool(strings.NewReader(""), "listen", "--user", "42", "--json")
	c.errs.Await(t, "connected to")
	mustRun(t, "push", "--user", "42", "<a> & b")
	c.out.Await(t, `"<a> & b"`)
	disconnect(t, r, `{}`)
	c.end(t, 0) // 1000 is not a failure
	var lines []map[string]any
	for text := range strings.Lines(c.out.String()) {
		var one map[string]any
		if err := json.Unmarshal([]byte(text), &one); err != nil {
			t.Fatal(err)
		}
		at, _ := one["time"].(string)
		if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
			t.Error(err)
		}
		lines = append(lines, one)
	}
	if len(lines) != 2 || lines[0]["type"] != "text" || lines[0]["data"] != "<a> & b" || lines[1]["type"] != "close" || lines[1]["code"] != 1000.0 {
		t.Errorf("got %v", lines)
	}
}

// echo is an app that answers each message with itself.
func echo(t *testing.T) (url string) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(app.Close)
	return app.URL
}

func TestListen_SendsWhatIsTypedLineByLine(t *testing.T) {
	app := echo(t)
	r := stopped(t, func(c *config.Config) {
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = app+"/hooks", []string{"message"}, true
	})
	r.withConfig(t, "")
	c := startTool(strings.NewReader("one\r\n\xff\ntwo, without an end"), "listen", "--user", "42", "--count", "2", "--for", "1m")
	c.end(t, 0)
	if got := clockTimes.ReplaceAllString(c.out.String(), ""); got != "one\ntwo, without an end\n" {
		t.Errorf("got %q", got)
	}
	if !c.errs.Has("not sent: the line is not UTF-8; --binary") {
		t.Errorf("got %q", &c.errs)
	}
	c = startTool(strings.NewReader("\xff\n"), "listen", "--user", "42", "--binary", "--count", "1")
	c.end(t, 0)
	if got := clockTimes.ReplaceAllString(c.out.String(), ""); got != "[binary, 1 bytes, base64] /w==\n" {
		t.Errorf("got %q", got)
	}
	// More than both directions hold at once: printing goes on while the server takes no
	// more.
	const lines = 3000
	c = startTool(strings.NewReader(strings.Repeat(strings.Repeat("x", 2000)+"\n", lines)), "listen", "--user", "42", "--count", "3000")
	select {
	case code := <-c.code:
		if code != 0 || c.out.Lines() != lines {
			t.Errorf("exit %d, %d lines: %s", code, c.out.Lines(), &c.errs)
		}
	case <-time.After(time.Minute):
		t.Fatalf("stuck after %d lines", c.out.Lines())
	}
}

func TestListen_EndsInTime(t *testing.T) {
	r := stopped(t, nil)
	r.withConfig(t, "")
	c := startTool(strings.NewReader(""), "listen", "--user", "42", "--for", "10ms")
	c.end(t, 0)
	if c.out.String() != "" {
		t.Errorf("got %q", &c.out)
	}
	c = startTool(strings.NewReader(""), "listen", "--user", "42", "--for", "10ms", "--count", "2")
	c.end(t, 1)
	if !strings.HasSuffix(c.errs.String(), "pushcart: 0 of 2 messages came within 10ms\n") {
		t.Errorf("got %q", &c.errs)
	}
}

func TestListen_SaysWhatToTypeAfterARefusal(t *testing.T) {
	app := testbackend.New(t)
	app.Script("", testbackend.Status(404))
	r := stopped(t, func(c *config.Config) { c.Backend.URL, c.Limits.ConnectionsPerUser = app.URL, 1 })
	r.withConfig(t, "")
	url := "ws://" + r.public.Addr().String()
	f := func(want string, args ...string) {
		t.Helper()
		code, out, errs := run(t, append([]string{"listen"}, args...)...)
		if code != 1 || out != "" || !regexp.MustCompile("^pushcart: "+want+"\n$").MatchString(errs) {
			t.Errorf("%q: exit %d %s%s, want %s", args, code, out, errs, want)
		}
	}
	f("401: .*; add --token or --user, or --header 'Cookie: …' where the app knows its users by a cookie")
	f("401: .*; the token was refused; the node's log says why", "--token", "x.y.z")
	f("403: Origin .*; leave --origin out, or give one of websocket.allowed_origins", "--user", "42", "--origin", "http://evil.example")
	f("404: Not Found; is "+regexp.QuoteMeta(url)+"/other one of websocket.paths\\? Other paths are the app's", "--user", "42", "/other")
	f(regexp.QuoteMeta("wss://"+r.public.Addr().String())+"/_push does not speak TLS; give the URL with ws://", "--user", "42", "wss"+strings.TrimPrefix(url, "ws"))
	held := startTool(strings.NewReader(""), "listen", "--user", "42")
	held.errs.Await(t, "connected")
	f("429: .*", "--user", "42")
	disconnect(t, r, "")
	held.end(t, 0)

	moved := httptest.NewServer(http.RedirectHandler("https://other.example/rt", http.StatusFound))
	defer moved.Close()
	f("302: Found; it redirects; give that URL: https://other.example/rt", moved.URL)
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "come back later", http.StatusServiceUnavailable)
	}))
	defer busy.Close()
	f("503: come back later; try again in 7 s", busy.URL)
	gone := testkit.Listen(t)
	_ = gone.Close()
	f("ws://"+regexp.QuoteMeta(gone.Addr().String())+"/_push: connect: connection refused; is pushcart running there\\? pushcart listen URL names another", gone.Addr().String())
	write(t, "none.yaml", "backend: {url: http://h}\n")
	f("token: auth.jwt.secret is not configured; --user is for a node that has it, --token takes any token", "--config", "none.yaml", "--user", "42", url)
}

// The token goes where the node looks for it.
func TestListen_CarriesTheTokenWhereItIsLookedFor(t *testing.T) {
	for _, source := range []string{"header", "query:t", "cookie:session", "protocol"} {
		r := stopped(t, func(c *config.Config) { c.Auth.JWT.Sources = []string{source} })
		r.withConfig(t, "")
		write(t, "pushcart.yaml", "listen: '"+r.public.Addr().String()+"'\nauth: {jwt: {secret: "+testSecret+", sources: ['"+source+"']}}\n")
		c := startTool(strings.NewReader(""), "listen", "--user", "42", "--header", "Cookie: other=1", "--for", "10ms")
		c.end(t, 0)
		if !c.errs.Has("connected") || c.errs.Has("ey") {
			t.Errorf("%s: %s", source, &c.errs)
		}
	}
}

func TestListen_OverTLSAndUnixSockets(t *testing.T) {
	dir := t.TempDir()
	cert := testkit.NewCertificate(t, dir, "app.example")
	r := stopped(t, func(c *config.Config) { c.TLS.CertFile, c.TLS.KeyFile = cert.CertFile, cert.KeyFile })
	r.withConfig(t, "tls: {cert_file: '"+cert.CertFile+"', key_file: '"+cert.KeyFile+"'}\n")
	code, _, errs := run(t, "listen", "--user", "42")
	if code != 1 || !strings.Contains(errs, "certificate") || !strings.Contains(errs, "; --insecure does not verify it") {
		t.Errorf("exit %d %s", code, errs)
	}
	if code, _, errs := run(t, "listen", "--user", "42", "--insecure", "--for", "10ms"); code != 0 || !strings.Contains(errs, "connected to wss://") {
		t.Errorf("exit %d %s", code, errs)
	}

	plain := stopped(t, nil)
	socket := filepath.Join(dir, "front.sock")
	front, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	done := make(chan error, 1)
	go func() { done <- relay(front, plain.public.Addr().String()) }()
	if code, _, errs := run(t, "listen", "--user", "42", "--unix-socket", socket, "--for", "10ms", "ws://app.example/_push"); code != 0 {
		t.Errorf("exit %d %s", code, errs)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// relay takes one connection to address.
func relay(ln net.Listener, address string) error {
	in, err := ln.Accept()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer out.Close()
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(in, out)
	}()
	_, err = io.Copy(out, in)
	_ = out.Close()
	<-back
	return err
}

func TestSocketURL_FillsInWhatIsLeftOut(t *testing.T) {
	cfg := config.Default()
	cfg.WebSocket.Paths = []string{"/rt/*", "/other"}
	f := func(asked, want string) {
		t.Helper()
		if got, err := socketURL(asked, cfg); err != nil || got != want {
			t.Errorf("%q: got %s %v, want %s", asked, got, err, want)
		}
	}
	f("", "ws://127.0.0.1:8080/rt/")
	f("/other?a=b", "ws://127.0.0.1:8080/other?a=b")
	f("9090", "ws://127.0.0.1:9090/rt/")
	f("app:9090/x", "ws://app:9090/x")
	f("[::1]:9090", "ws://[::1]:9090/rt/")
	f("http://app", "ws://app/rt/")
	f("https://app/", "wss://app/")
	f("wss://app/a%2Fb//c?q#f", "wss://app/a%2Fb//c?q")
	cfg.TLS.CertFile, cfg.Listen = "c", "[::]:443"
	f("", "wss://127.0.0.1:443/rt/")
	if got := withQuery("ws://h/x?a", "t", "a b"); got != "ws://h/x?a&t=a+b" {
		t.Errorf("got %s", got)
	}
}
