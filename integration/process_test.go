package integration

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// command runs pushcart to its end.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := sidecartest.Tool(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Dir = t.TempDir()
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestCommand_BadConfigurationsAndArgumentsExit2(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(file, []byte("backend: {ulr: x}\nwebsocket: {pong_timeout: 60s}\nredis: {mode: quartet}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"check", "run"} {
		code, _, stderr := command(t, name, "--config", file)
		if code != 2 || strings.Count(stderr, "\n") != 4 {
			t.Errorf("%s: exit %d with\n%swant 2 and four lines", name, code, stderr)
		}
		for _, want := range []string{":1: backend.ulr: unknown key", ":1: backend.url: is required", ":2: websocket.pong_timeout: 1m0s", ":3: redis.mode: "} {
			if !strings.Contains("\n"+stderr, "\n"+file+want) {
				t.Errorf("%s: no line %q in\n%s", name, want, stderr)
			}
		}
	}
	f := func(want string, args ...string) {
		t.Helper()
		if code, _, stderr := command(t, args...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%q: exit %d with %q, want 2 with %q", args, code, stderr, want)
		}
	}
	f("no pushcart.yaml here", "run")
	f("/does/not/exist: no such file", "run", "--config", "/does/not/exist")
	f("unknown command", "rnu")
	f("needs a target", "push", "hello")
	f("needs --user", "token")
	f("backend.url: want http://", "run", "--backend", "app")
	if code, stdout, stderr := command(t, "check", "--config", mustAbs(t, "../config.example.yaml")); code != 0 || !strings.Contains(stdout, "is good") {
		t.Errorf("the example: exit %d %s%s", code, stdout, stderr)
	}
	if code, stdout, _ := command(t, "version"); code != 0 || !strings.HasPrefix(stdout, "pushcart ") {
		t.Errorf("version: exit %d %q", code, stdout)
	}
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func TestCommand_TokenAndPushWorkTogether(t *testing.T) {
	s := sidecartest.Start(t, "\nauth: {jwt: {secret: "+secret+"}}\npush: {listen: '127.0.0.1:0', tokens: [t0ken]}")
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("auth: {jwt: {secret: "+secret+"}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, jwt, stderr := command(t, "token", "--config", file, "--user", "ann", "--channel", "news")
	if code != 0 {
		t.Fatalf("token: %d %s", code, stderr)
	}
	c := dial(t, s, bearer(strings.TrimSpace(jwt)))
	if code, _, stderr := command(t, "push", "--address", s.Push, "--channel", "news", "hello"); code != 1 || !strings.Contains(stderr, "Bearer") {
		t.Errorf("push without token: exit %d %s", code, stderr)
	}
	if code, out, stderr := command(t, "push", "--address", s.Push, "--token", "t0ken", "--channel", "news", "hello"); code != 0 || !strings.Contains(out, `"nodes":1`) {
		t.Errorf("push: exit %d %s%s", code, out, stderr)
	}
	if _, got := next(t, c); got != "hello" {
		t.Errorf("got %q", got)
	}
}

func TestJWT_PublicKeysFromFileAndJWKS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding
	set := fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k1","x":%q,"y":%q}]}`, enc.EncodeToString(raw[1:33]), enc.EncodeToString(raw[33:]))
	b := newBackend(t, nil)
	b.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, set) })
	es256 := func(kid string) string {
		h := enc.EncodeToString([]byte(`{"alg":"ES256","kid":"`+kid+`"}`)) + "." +
			enc.EncodeToString(fmt.Appendf(nil, `{"sub":42,"exp":%d}`, time.Now().Add(time.Minute).Unix()))
		sum := sha256.Sum256([]byte(h))
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return h + "." + enc.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	}
	for name, yaml := range map[string]string{
		"file": "public_key_file: " + file, "jwks": "jwks_url: '" + b.URL + "/keys'",
	} {
		s := sidecartest.Start(t, "\nauth: {jwt: {"+yaml+", algorithms: [ES256]}}")
		c, err := tryDial(s, "/_push?access_token="+es256("k1"), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := s.Pushed(t, `{"to":{"users":["42"]},"text":"x"}`); got.Nodes != 1 {
			t.Errorf("%s: user 42 is not there", name)
		}
		_ = c.Close()
		if _, err := tryDial(s, "/_push", bearer(sign(`{"alg":"HS256"}`, `{"sub":"x","exp":9999999999}`))); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("%s: HS256 where ES256 is wanted: %v", name, err)
		}
		if name == "jwks" {
			if _, err := tryDial(s, "/_push", bearer(es256("unknown"))); err == nil || !strings.Contains(err.Error(), "401") {
				t.Errorf("%s: unknown kid: %v", name, err)
			}
		}
	}
}

func TestPassThrough_BackendDownSlowOrGarbage(t *testing.T) {
	ln := testkit.Listen(t)
	var answer atomic.Value
	answer.Store("")
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 4096))
				if a := answer.Load().(string); a != "" {
					_, _ = io.WriteString(conn, a)
					return
				}
				_, _ = io.Copy(io.Discard, conn) // says nothing
			}()
		}
	}()
	s := sidecartest.Start(t, anonymous+"\nbackend: {url: 'http://"+ln.Addr().String()+"', response_timeout: 300ms, connect_timeout: 1s}")
	f := func(name, says string, status int, code string) {
		t.Helper()
		answer.Store(says)
		got, body := call(t, "GET", "http://"+s.Public+"/x", "", "")
		if got != status || !strings.Contains(body, code) {
			t.Errorf("%s: got %d %s, want %d %s", name, got, body, status, code)
		}
	}
	f("good", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok")
	f("slow", "", 504, "backend_timeout")
	f("garbage", "SSH-2.0-OpenSSH\r\n\r\n", 502, "backend_error")
	f("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", 502, "backend_error")
	_ = ln.Close()
	f("down", "", 502, "backend_error")
}

func TestPassThrough_TheWebhookIsNotReachableFromOutside(t *testing.T) {
	b := newBackend(t, nil)
	s := sidecartest.Start(t, anonymous+b.hooked())
	for _, path := range []string{"/hooks/push", "/hooks/push/", "/hooks/push/x", "//hooks/push", "/x/../hooks/push", "/hooks/%70ush", "/HOOKS/push", "/hooks;a/push"} {
		status, _, body := exchange(t, s.Public, "POST "+path+" HTTP/1.1\r\nHost: a\r\nce-type: pushcart.message\r\nContent-Length: 0\r\n\r\n")
		if status != 404 || !strings.Contains(body, "not_found") {
			t.Errorf("%s: got %d %s, want 404", path, status, body)
		}
	}
	if n := len(b.got("message")); n != 0 {
		t.Errorf("%d forged events reached the backend", n)
	}
	if status, body := call(t, "GET", "http://"+s.Public+"/_push", "", ""); status != 200 || body != "GET /_push" {
		t.Errorf("a plain request to the WebSocket's path: %d %s", status, body)
	}
}

func TestShutdown_ClosesWith1012TellsTheBackendAndExits0(t *testing.T) {
	b := newBackend(t, nil)
	s := sidecartest.Start(t, anonymous+b.hooked()+"\nshutdown: {delay: 300ms, drain: 5s}")
	conns := []*websocket.Conn{dial(t, s, nil), dial(t, s, nil)}
	s.Signal(syscall.SIGTERM)
	testkit.Eventually(t, "readyz is 503", func() bool {
		status, _ := call(t, "GET", "http://"+s.Admin+"/readyz", "", "")
		return status == 503
	})
	for i, c := range conns {
		if code := closed(t, c); code != 1012 {
			t.Errorf("connection %d: closed with %d, want 1012", i, code)
		}
	}
	if code := s.AwaitExit(t, 8*time.Second); code != 0 {
		t.Errorf("exit %d:\n%s", code, s.Output())
	}
	told := b.got("disconnected")
	if len(told) != 2 || !strings.Contains(told[0].body, `"cause":"drain"`) {
		t.Errorf("told %v", told)
	}
}

func TestShutdown_ASecondSignalEndsItAtOnce(t *testing.T) {
	t.Parallel() // it mostly waits
	s := sidecartest.Start(t, anonymous+"\nshutdown: {delay: 1m, drain: 1m}")
	c := dial(t, s, nil)
	s.Signal(syscall.SIGTERM)
	testkit.Eventually(t, "readyz is 503", func() bool {
		status, _ := call(t, "GET", "http://"+s.Admin+"/readyz", "", "")
		return status == 503
	})
	s.Signal(syscall.SIGINT) // a SIGTERM would count as the first for a second
	if code := closed(t, c); code != 1001 {
		t.Errorf("closed with %d, want 1001", code)
	}
	s.AwaitExit(t, 10*time.Second)
}
