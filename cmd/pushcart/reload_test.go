package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// filed is a running node whose configuration is in a file.
type filed struct {
	*running
	t    *testing.T
	file string
	base string
}

// startFiled starts a node from a file of these lines, beside those that every test
// needs.
func startFiled(t *testing.T, yaml string, flags ...config.Flag) *filed {
	t.Helper()
	f := &filed{t: t, file: filepath.Join(t.TempDir(), "pushcart.yaml")}
	f.base = "listen: '127.0.0.1:0'\nshutdown: {drain: 1s}\nadmin: {listen: '127.0.0.1:0'}\n"
	f.write(yaml)
	source := config.Source{File: f.file, Env: os.LookupEnv, Flags: flags}
	cfg, err := config.Load(source)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{signals: make(chan os.Signal, 2), log: &testkit.Log{}, ended: make(chan error, 1)}
	if r.node, err = newNode(context.Background(), cfg, source, newLogs(r.log, r.log, cfg.Log)); err != nil {
		t.Fatal(err)
	}
	f.running = r
	go func() { r.ended <- r.run(context.Background(), r.signals) }()
	r.log.Await(t, "pushcart started")
	t.Cleanup(func() {
		r.signals <- syscall.SIGTERM
		if err := r.end(t); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return f
}

func (f *filed) write(yaml string) {
	f.t.Helper()
	if !strings.Contains(yaml, "backend:") {
		yaml += "\nbackend: {url: 'http://127.0.0.1:1'}"
	}
	if !strings.Contains(yaml, "push:") {
		yaml += "\npush: {listen: '127.0.0.1:0'}"
	}
	write(f.t, f.file, f.base+yaml+"\n")
}

// reloads writes the file and sends SIGHUP.
func (f *filed) reloads(yaml string) string {
	f.t.Helper()
	f.write(yaml)
	f.log.Take()
	f.signals <- syscall.SIGHUP
	f.log.Await(f.t, "reloaded")
	testkit.Eventually(f.t, "the reload is over", func() bool {
		f.reloading.Lock()
		defer f.reloading.Unlock()
		return true
	})
	return f.log.String()
}

func (f *filed) metric(name string) float64 { return testkit.Metric(f.t, f.metrics.Handler(), name) }

// status is what a handshake with further headers is answered.
func (f *filed) status(header http.Header) int {
	f.t.Helper()
	c, resp, err := websocket.DefaultDialer.Dial("ws://"+f.public.Addr().String()+"/_push", header)
	if c != nil {
		_ = c.Close()
	}
	if resp == nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode
}

func TestReload_SIGHUPTakesWhatChangedAndLogsIt(t *testing.T) {
	f := startFiled(t, "auth: {anonymous: true}")
	c, _, err := websocket.DefaultDialer.Dial("ws://"+f.public.Addr().String()+"/_push", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	log := f.reloads("auth: {anonymous: true}\nlimits: {connections_per_ip: 1}\npush: {listen: '127.0.0.1:0', tokens: [secret-t0ken], max_body: 2KiB}\n" +
		"log: {level: debug, format: json}")
	for _, want := range []string{
		`"msg":"configuration changed","node":"` + f.id + `","change":"limits.connections_per_ip: 0 → 1"`, `"change":"push.tokens: changed"`,
		`"change":"log.format: text → json"`,
		`"level":"WARN","msg":"configuration change needs a restart","node":"` + f.id + `","change":"push.max_body: 1MiB → 2KiB"`,
		`"msg":"configuration reloaded","node":"` + f.id + `","changed":4,"restart":1`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in\n%s", want, log)
		}
	}
	if strings.Contains(log, "secret") {
		t.Errorf("a secret is in\n%s", log)
	}
	if got := f.status(nil); got != 429 {
		t.Errorf("a second connection of the address: %d, want 429", got)
	}
	if status, _ := f.push(`{"to":{"all":true},"text":"x"}`, ""); status != 401 {
		t.Errorf("a push without token: %d", status)
	}
	if status, body := f.push(`{"to":{"all":true},"text":"still here"}`, "secret-t0ken"); status != 200 {
		t.Errorf("a push with the token: %d %s", status, body)
	}
	if _, got, err := c.ReadMessage(); string(got) != "still here" {
		t.Errorf("the connection that was there before got %q, %v", got, err)
	}
	if ok, up := f.metric(`pushcart_config_reloads_total{result="ok"}`), f.metric("pushcart_config_last_reload_successful"); ok != 1 || up != 1 {
		t.Errorf("%v reloads, last %v", ok, up)
	}
}

func (f *filed) push(body, token string) (status int, answer string) {
	f.t.Helper()
	req, err := http.NewRequest("POST", "http://"+f.pushListener.Addr().String()+"/v1/push", strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func TestReload_ABadFileChangesNothingAndEveryProblemIsSaid(t *testing.T) {
	f := startFiled(t, "auth: {anonymous: true}")
	log := f.reloads("auth: {anonymous: false}\nlimits: {conections: 5}\nwebsocket: {pong_timeout: 60s}\nredis: {password: '${NOT_SET_HERE}'}")
	for _, want := range []string{":5: limits.conections: unknown key; did you mean connections?", ":6: websocket.pong_timeout: 1m0s must be shorter", ":7: redis.password: environment variable NOT_SET_HERE is not set"} {
		if !strings.Contains(log, `level=ERROR msg="configuration not reloaded: the old one stays"`) || !strings.Contains(log, want) {
			t.Errorf("no %s in\n%s", want, log)
		}
	}
	if got := f.status(nil); got != 101 {
		t.Errorf("a handshake by the old file: %d", got)
	}
	if bad, up := f.metric(`pushcart_config_reloads_total{result="invalid"}`), f.metric("pushcart_config_last_reload_successful"); bad != 1 || up != 0 {
		t.Errorf("%v reloads, last %v", bad, up)
	}
	f.reloads("auth: {anonymous: false}")
	if got, up := f.status(nil), f.metric("pushcart_config_last_reload_successful"); got != 401 || up != 1 {
		t.Errorf("by the mended file: %d, last %v", got, up)
	}
}

// The halves of two good files may open a door: push beyond loopback with no tokens.
func TestReload_RefusesWhatNeedsARestartToBeGood(t *testing.T) {
	f := startFiled(t, "push: {listen: '0.0.0.0:0', tokens: [t0ken]}")
	log := f.reloads("push: {listen: '127.0.0.1:0'}")
	if !strings.Contains(log, "not reloaded") || !strings.Contains(log, "until then the new file's push.listen cannot count") {
		t.Errorf("got\n%s", log)
	}
	if status, _ := f.push(`{"to":{"all":true},"text":"x"}`, ""); status != 401 {
		t.Errorf("a push without token: %d", status)
	}
}

func TestReload_FlagsEnvironmentAndSecretFilesAreReadAgain(t *testing.T) {
	secrets := filepath.Join(t.TempDir(), "tokens")
	write(t, secrets, "first\n")
	t.Setenv("ORIGIN_HERE", "https://one.example")
	yaml := "websocket: {allowed_origins: ['${ORIGIN_HERE}']}\npush: {listen: '127.0.0.1:0', tokens_file: " + secrets + "}"
	f := startFiled(t, yaml, config.Flag{Name: "--anonymous", Key: "auth.anonymous", Value: "true"})
	from := func(origin string) int { return f.status(http.Header{"Origin": {origin}}) }
	if a, b := from("https://one.example"), from("https://two.example"); a != 101 || b != 403 {
		t.Fatalf("at first: %d and %d", a, b)
	}
	t.Setenv("ORIGIN_HERE", "https://two.example")
	write(t, secrets, "second\n")
	f.reloads(yaml + "\nauth: {anonymous: false}")
	if a, b := from("https://one.example"), from("https://two.example"); a != 403 || b != 101 {
		t.Errorf("then: %d and %d", a, b)
	}
	if a, _ := f.push(`{"to":{"all":true},"text":"x"}`, "first"); a != 401 {
		t.Errorf("the old token: %d", a)
	}
	if b, _ := f.push(`{"to":{"all":true},"text":"x"}`, "second"); b != 200 {
		t.Errorf("the new token: %d", b)
	}
}

func TestReload_NewTLSHandshakesGetTheNewCertificate(t *testing.T) {
	dir := t.TempDir()
	old := testkit.NewCertificate(t, dir, "localhost")
	f := startFiled(t, "tls: {cert_file: "+old.CertFile+", key_file: "+old.KeyFile+"}")
	dial := func(c *testkit.Certificate) (*tls.Conn, error) {
		return tls.Dial("tcp", f.public.Addr().String(), &tls.Config{RootCAs: c.Pool, ServerName: "localhost"})
	}
	before, err := dial(old)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	elsewhere := testkit.NewCertificate(t, t.TempDir(), "localhost")
	f.reloads("tls: {cert_file: " + elsewhere.CertFile + ", key_file: " + elsewhere.KeyFile + "}")
	if _, err := dial(old); err == nil {
		t.Error("a new handshake got the old certificate")
	}
	after, err := dial(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	_ = after.Close()
	fmt.Fprint(before, "GET / HTTP/1.1\r\nHost: app\r\n\r\n") // the connection from before goes on
	if n, err := before.Read(make([]byte, 100)); n == 0 {
		t.Error(err)
	}
	renewed := testkit.NewCertificate(t, filepath.Dir(elsewhere.CertFile), "localhost")
	if log := f.reloads("tls: {cert_file: " + elsewhere.CertFile + ", key_file: " + elsewhere.KeyFile + "}"); !strings.Contains(log, "tls.cert_file: changed") {
		t.Errorf("the renewed file is not named in\n%s", log)
	}
	if after, err = dial(renewed); err != nil {
		t.Fatal(err)
	}
	_ = after.Close()
}

func TestReload_CommandPrintsWhatCameOfIt(t *testing.T) {
	f := startFiled(t, "")
	admin := f.adminListener.Addr().String()
	asks := func(args ...string) (int, string, string) {
		t.Helper()
		return run(t, append([]string{"reload", "--address", admin}, args...)...)
	}
	f.write("limits: {connections_per_ip: 5}\nwebsocket: {paths: [/ws]}\nadmin: {listen: '127.0.0.1:0', tokens: [t0ken]}")
	f.base = strings.Replace(f.base, "admin: {listen: '127.0.0.1:0'}\n", "", 1)
	f.write("limits: {connections_per_ip: 5}\nwebsocket: {paths: [/ws]}\nadmin: {listen: '127.0.0.1:0', tokens: [t0ken]}")
	want := "limits.connections_per_ip: 0 → 5\nadmin.tokens: changed\nwebsocket.paths: [/_push] → [/ws] (needs a restart)\n"
	if code, out, errs := asks("--token", "t0ken"); code != 0 || out != want {
		t.Errorf("exit %d\n%s%swant\n%s", code, out, errs, want)
	}
	file := filepath.Join(t.TempDir(), "tool.yaml") // names the new token first, and the old one
	write(t, file, "admin: {listen: '"+admin+"', tokens: [newest, t0ken]}\n")
	if code, out, errs := run(t, "reload", "--config", file); code != 0 || out != "websocket.paths: [/_push] → [/ws] (needs a restart)\n" {
		t.Errorf("exit %d %q %q", code, out, errs)
	}
	if code, out, errs := asks("--token", "wrong"); code != 1 || out != "" || !strings.Contains(errs, "give the one that the node was started with as --token, or send it SIGHUP") {
		t.Errorf("a wrong token: exit %d %q %q", code, out, errs)
	}
	f.write("limits: {conections: 5}\nadmin: {listen: '127.0.0.1:0', tokens: [t0ken]}")
	if code, out, errs := asks("--token", "t0ken"); code != 2 || out != "" || errs != f.file+":3: limits.conections: unknown key; did you mean connections?\n" {
		t.Errorf("a bad file: exit %d %q %q", code, out, errs)
	}
	f.write("admin: {listen: '127.0.0.1:0', tokens: [t0ken]}")
	if code, out, errs := asks("--token", "t0ken", "--json"); code != 0 || out != `{"changed":[{"key":"limits.connections_per_ip","from":"5","to":"0"}],"restart":[]}`+"\n" {
		t.Errorf("JSON: exit %d %q %q", code, out, errs)
	}
	if code, out, _ := asks("--token", "t0ken"); code != 0 || out != "nothing changed\n" {
		t.Errorf("nothing: exit %d %q", code, out)
	}
	if code, _, errs := run(t, "reload", "--address", "127.0.0.1:1"); code != 1 || !strings.Contains(errs, "the node cannot be asked") {
		t.Errorf("nobody there: exit %d %q", code, errs)
	}
}

func TestReload_IsRefusedWithoutAFileAndWhileStopping(t *testing.T) {
	r := startNode(t, nil)
	admin := r.adminListener.Addr().String()
	if code, _, errs := run(t, "reload", "--address", admin); code != 1 || !strings.Contains(errs, "not reloaded: there is no configuration file to read again") {
		t.Errorf("no file: exit %d %q", code, errs)
	}
	r.refuseReloads()
	if code, _, errs := run(t, "reload", "--address", admin); code != 1 || !strings.Contains(errs, "not reloaded: the node is stopping") {
		t.Errorf("stopping: exit %d %q", code, errs)
	}
	r.signals <- syscall.SIGTERM
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if got := testkit.Metric(t, r.metrics.Handler(), `pushcart_config_reloads_total{result="refused"}`); got != 2 {
		t.Errorf("%v were refused", got)
	}
}

func TestReload_TwoAtOnceComeOneAfterTheOther(t *testing.T) {
	f := startFiled(t, "")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if i%2 == 0 {
				f.write(fmt.Sprintf("limits: {connections_per_ip: %d}", i+1))
			}
			_, _ = f.reload()
		})
	}
	wg.Wait()
	f.reloads("limits: {connections_per_ip: 99}")
	if got := f.live.cfg.Limits.ConnectionsPerIP; got != 99 {
		t.Errorf("in the end %d count", got)
	}
}

// What a reload does not concern keeps what it knows: verified tokens, and connections
// to the app.
func TestReload_KeepsWhatItDoesNotConcern(t *testing.T) {
	f := startFiled(t, "auth: {anonymous: true}")
	auth, hooks := f.live.auth, f.live.hooks
	f.reloads("auth: {anonymous: true}\nlog: {level: debug}")
	if f.live.auth != auth || f.live.hooks != hooks {
		t.Error("log.level made another Authenticator, or other webhooks")
	}
	f.reloads("auth: {anonymous: true, jwt: {leeway: 1s}}\nlog: {level: debug}")
	if f.live.auth == auth || f.live.hooks != hooks {
		t.Error("auth.jwt.leeway made no other Authenticator, or other webhooks")
	}
}

func TestReload_RulesOfChannelsHoldForTheNextPush(t *testing.T) {
	f := startFiled(t, "")
	const news = `{"to":{"channels":["news"]},"text":"x"}`
	if status, body := f.push(news, ""); status != 200 || strings.Contains(body, "positions") {
		t.Fatalf("without history: %d %s", status, body)
	}
	f.reloads("channels: [{match: news, history: {messages: 5, age: 1m}}]")
	if status, body := f.push(news, ""); status != 200 || !strings.Contains(body, `"positions":{"channel:news":{"offset":1`) {
		t.Errorf("with history: %d %s", status, body)
	}
}

// What was off at the start has no share of the descriptors yet.
func TestReload_TurnsWebhooksAndForwardOn(t *testing.T) {
	told := make(chan string, 8)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-User-Id", "ann")
		if kind := r.Header.Get("ce-type"); kind != "" {
			told <- kind + " " + r.Header.Get("ce-userid")
		}
	}))
	t.Cleanup(app.Close)
	f := startFiled(t, "")
	before := f.live.fds.Clients.Connections()
	log := f.reloads("backend: {url: '" + app.URL + "'}\nauth: {forward: {url: '" + app.URL + "/me', user: 'header:X-User-Id'}}\nwebhook: {url: '" + app.URL + "/hook', unsigned: true, events: [connected]}")
	if !strings.Contains(log, "backend.url: http://127.0.0.1:1 → "+app.URL) {
		t.Errorf("got\n%s", log)
	}
	if f.live.fds.Webhooks == 0 || f.live.fds.Forwards == 0 || f.live.fds.Clients.Connections() >= before {
		t.Errorf("descriptors: %+v, %d for clients, %d before", f.live.fds, f.live.fds.Clients.Connections(), before)
	}
	if got := f.status(nil); got != 101 {
		t.Errorf("a handshake: %d", got)
	}
	if got := <-told; got != "pushcart.connected ann" {
		t.Errorf("told %s", got)
	}
}

// signedBy says which of the secrets signed an event.
func signedBy(r *http.Request, body []byte, secrets map[string][]byte) (names []string) {
	text := r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)
	for name, key := range secrets {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		if slices.Contains(strings.Fields(r.Header.Get("webhook-signature")), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))) {
			names = append(names, name)
		}
	}
	return names
}

// An event that is retried while secrets rotate is signed by those of each attempt, and
// none is lost.
func TestReload_SecretsRotateWhileWebhooksRetry(t *testing.T) {
	one, two := []byte("0123456789abcdef01234567"), []byte("76543210fedcba9876543210")
	whsec := func(key []byte) string { return "'whsec_" + base64.StdEncoding.EncodeToString(key) + "'" }
	var mu sync.Mutex
	accepts, told, refused := "one", map[string]int{}, 0
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		signers := signedBy(r, body, map[string][]byte{"one": one, "two": two})
		mu.Lock()
		defer mu.Unlock()
		if len(signers) != 1 {
			t.Errorf("signed by %q", signers)
		}
		if !slices.Contains(signers, accepts) {
			refused++
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		told[r.Header.Get("ce-type")+" "+r.Header.Get("ce-connectionid")]++
	}))
	t.Cleanup(app.Close)
	yaml := func(secret []byte) string {
		return "auth: {anonymous: true}\nwebhook: {url: '" + app.URL + "/hook', events: [connected, disconnected], secrets: [" + whsec(secret) + "], retry: {min: 5ms, max: 20ms}}"
	}
	f := startFiled(t, yaml(one))
	const connections = 20
	connect := func(n int) {
		for range n {
			if got := f.status(nil); got != 101 {
				t.Errorf("handshake: %d", got)
			}
		}
	}
	connect(connections / 2)
	mu.Lock()
	accepts = "two" // the app rotates first: all is refused from now on
	mu.Unlock()
	connect(connections / 2)
	testkit.Eventually(t, "events are refused", func() bool { mu.Lock(); defer mu.Unlock(); return refused > connections })
	f.reloads(yaml(two))
	testkit.Eventually(t, "every event is told", func() bool { mu.Lock(); defer mu.Unlock(); return len(told) == 2*connections })
	mu.Lock()
	defer mu.Unlock()
	for what, n := range told {
		if n != 1 {
			t.Errorf("%s was told %d times", what, n)
		}
	}
}

// Of two files each refuses a handshake, and halves of both together would let it in.
// With the old one the peer is a trusted proxy, which says that the client asked for
// app.example: its Origin is good, and its token is wanted. With the new one the proxy
// is a stranger, its Host is what counts, and nobody needs a token.
const (
	oldRules = "trusted_proxies: [127.0.0.0/8]\nauth: {jwt: {secret: 0123456789abcdef0123456789abcdef}}"
	newRules = "auth: {anonymous: true}"
)

func throughProxy() http.Header {
	return http.Header{"Origin": {"https://app.example"}, "X-Forwarded-Host": {"app.example"}, "X-Forwarded-Proto": {"https"}}
}

// Wherever a handshake falls among the steps of a reload, it meets one of the two.
func TestReload_AHandshakeMeetsOneOfTheTwoBetweenAllSteps(t *testing.T) {
	f := startFiled(t, oldRules)
	f.write(newRules)
	next, err := config.Load(f.source)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.live.cfg.Reload(next)
	if err != nil {
		t.Fatal(err)
	}
	l, err := f.prepare(r.Config, r.Changed)
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []func(){
		func() {}, func() { f.sessions.Apply(l.sessions) }, func() { f.ws.Apply(l.ws) }, func() { f.hooks.Apply(l.hooks) },
	} {
		if step(); f.status(throughProxy()) != 401 {
			t.Errorf("after step %d it is not judged by the old rules alone", i)
		}
	}
	if f.proxy.Apply(l.proxy); f.status(throughProxy()) != 403 {
		t.Error("at the end it is not judged by the new rules alone")
	}
	f.apply(l)
}

func TestReload_RacingHandshakesMeetOneOfTheTwo(t *testing.T) {
	f := startFiled(t, oldRules)
	stop, seen := make(chan struct{}), map[int]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				status := f.status(throughProxy())
				mu.Lock()
				seen[status]++
				mu.Unlock()
			}
		})
	}
	for i := range 40 {
		f.write([]string{newRules, oldRules}[i%2])
		if _, err := f.reload(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	// 401: the old rules. 403: the new ones. 101 would be the Origin judged by the
	// old and the token by the new.
	if seen[101] != 0 || seen[401] == 0 || seen[403] == 0 || len(seen) != 2 {
		t.Errorf("handshakes were answered %v, want only 401 and 403, and both", seen)
	}
}

// Requests that are under way, and connections that rest, notice nothing.
func TestReload_DropsNoRequest(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }))
	t.Cleanup(app.Close)
	f := startFiled(t, "backend: {url: '"+app.URL+"'}")
	conn, err := net.Dial("tcp", f.public.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			resp, err := http.Get("http://" + f.public.Addr().String() + "/x")
			if err != nil {
				done <- err
				return
			}
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "/x" {
				done <- errors.Join(err, errors.New(string(b)))
				return
			}
			resp.Body.Close()
		}
	}()
	for i := range 20 {
		f.write(fmt.Sprintf("backend: {url: '%s'}\nclient: {idle_timeout: %ds}\nlog: {access: %s}", app.URL, 60+i, []string{"all", `"off"`}[i%2]))
		if _, err := f.reload(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Errorf("a request: %v", err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(conn, "GET /rested HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
	if b, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(b), "/rested") {
		t.Errorf("the connection that rested: %q %v", b, err)
	}
	if !strings.Contains(f.log.String(), "msg=request node="+f.id) {
		t.Errorf("no access line in\n%s", f.log)
	}
}
