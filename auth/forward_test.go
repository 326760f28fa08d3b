package auth

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/testkit"
)

// forwardTo asks url of the given backend; change may be nil.
func forwardTo(t *testing.T, url string, backend config.Backend, change func(*config.Forward)) *Authenticator {
	t.Helper()
	cfg := config.Default().Auth
	cfg.Forward.URL, cfg.Forward.User = url, "header:X-User-Id"
	if change != nil {
		change(&cfg.Forward)
	}
	a, err := New(cfg, backend, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// whoAmI is an app that knows everybody as ann and keeps the last request.
func whoAmI(last **http.Request) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*last = r
		w.Header().Set("X-User-Id", "ann")
	})
}

// cameWith is a handshake with header lines.
func cameWith(header http.Header) Handshake {
	return Handshake{
		Lines: func(name string) []string { return header[name] },
		Host:  "app.example:8443", URI: "/_push/x?a=b%20c&d",
		From: clientaddr.Origin{IP: netip.MustParseAddr("10.0.0.9"), ForwardedFor: "192.0.2.1, 10.0.0.9", Proto: "https", Host: "public.example"},
	}
}

// An app with force_ssl, a list of hosts, or sessions bound to browser and address
// refused everybody, as all it got was the first Cookie line.
func TestForward_SendsWhatTheAppNeedsToKnowItsUser(t *testing.T) {
	var got *http.Request
	app := httptest.NewServer(whoAmI(&got))
	defer app.Close()
	a := forwardTo(t, app.URL+"/a//b/../me?x=%41", config.Backend{}, func(f *config.Forward) {
		f.Headers = append(f.Headers, "X-Device", "Host", "Upgrade", "X-Forwarded-For")
	})
	id, err := a.Forward(t.Context(), cameWith(http.Header{
		"Cookie": {"a=1; b=\"x y\"", "c=3"}, "Authorization": {"Bearer t"}, "User-Agent": {"ua/1"}, "Accept-Language": {"de", "en"},
		"X-Device": {"phone"}, "X-Secret": {"no"}, "Upgrade": {"websocket"}, "X-Forwarded-For": {"6.6.6.6"},
	}))
	if err != nil || id.User != "ann" {
		t.Fatalf("got %q, %v", id.User, err)
	}
	if got.Method != "GET" || got.RequestURI != "/a//b/../me?x=%41" || got.Host != app.Listener.Addr().String() {
		t.Errorf("got %s %s of %s", got.Method, got.RequestURI, got.Host)
	}
	want := http.Header{
		"Cookie": {"a=1; b=\"x y\"", "c=3"}, "Authorization": {"Bearer t"}, "User-Agent": {"ua/1"}, "Accept-Language": {"de", "en"},
		"X-Device": {"phone"}, "Accept": {"application/json"}, "X-Forwarded-For": {"192.0.2.1, 10.0.0.9"}, "X-Forwarded-Proto": {"https"},
		"X-Forwarded-Host": {"public.example"}, "X-Forwarded-Uri": {"/_push/x?a=b%20c&d"},
	}
	if !reflect.DeepEqual(got.Header, want) {
		t.Errorf("got\n%v\nwant\n%v", got.Header, want)
	}
}

func TestForward_SendsTheHostThatIsConfigured(t *testing.T) {
	var got *http.Request
	app := httptest.NewServer(whoAmI(&got))
	defer app.Close()
	own := app.Listener.Addr().String()
	f := func(url, host string, preserve bool, want string) {
		t.Helper()
		a := forwardTo(t, url, config.Backend{URL: app.URL, PreserveHost: preserve}, func(f *config.Forward) { f.Host = host })
		if _, err := a.Forward(t.Context(), cameWith(nil)); err != nil || got.Host != want {
			t.Errorf("url %q, host %q, preserve_host %v: got %q, %v, want %q", url, host, preserve, got.Host, err, want)
		}
	}
	f(app.URL+"/me", "", true, own)
	f(app.URL+"/me", "preserve", false, "app.example:8443")
	f(app.URL+"/me", "Other.example", true, "Other.example")
	f("/me", "", true, "app.example:8443")
	f("/me", "", false, own)
	f("/me", "preserve", false, "app.example:8443")
	f("/me", "other.example", true, "other.example")
}

// A path alone is asked at the backend: over its socket, with its TLS settings.
func TestForward_AsksTheBackendItself(t *testing.T) {
	var got *http.Request
	f := func(name string, backend config.Backend) {
		t.Helper()
		id, err := forwardTo(t, "/me?full=1", backend, nil).Forward(t.Context(), cameWith(nil))
		if err != nil || id.User != "ann" || got.RequestURI != "/me?full=1" {
			t.Errorf("%s: got %q, %v", name, id.User, err)
		}
	}
	dir := t.TempDir()
	ln, err := net.Listen("unix", filepath.Join(dir, "app.sock"))
	if err != nil {
		t.Fatal(err)
	}
	overUnix := &httptest.Server{Listener: ln, Config: &http.Server{Handler: whoAmI(&got)}}
	overUnix.Start()
	defer overUnix.Close()
	f("unix", config.Backend{URL: "unix:" + ln.Addr().String()})

	overTLS := httptest.NewTLSServer(whoAmI(&got))
	defer overTLS.Close()
	overTLS.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	ca := filepath.Join(dir, "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: overTLS.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	f("ca_file", config.Backend{URL: overTLS.URL, TLS: config.BackendTLS{CAFile: ca, ServerName: "example.com"}})
	f("insecure", config.Backend{URL: overTLS.URL, TLS: config.BackendTLS{Insecure: true}})
	_, err = forwardTo(t, "/me", config.Backend{URL: overTLS.URL}, nil).Forward(t.Context(), cameWith(nil))
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("a certificate of nobody: got %v, want ErrUnavailable", err)
	}
}

func TestForward_ReachesIPv6(t *testing.T) {
	var got *http.Request
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		testkit.Missing(t, "IPv6")
	}
	app := &httptest.Server{Listener: ln, Config: &http.Server{Handler: whoAmI(&got)}}
	app.Start()
	defer app.Close()
	if id, err := forwardTo(t, app.URL, config.Backend{}, nil).Forward(t.Context(), cameWith(nil)); err != nil || id.User != "ann" {
		t.Errorf("got %q, %v", id.User, err)
	}
}

func TestForward_TakesLargeAnswers(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		kind, status, size := "", 0, 0
		_, _ = fmt.Sscanf(strings.ReplaceAll(r.URL.RawQuery, "&", " "), "%s %d %d", &kind, &status, &size)
		if kind == "head" {
			w.Header().Set("X-Much", strings.Repeat("h", size))
			size = 0
		}
		w.Header().Set("X-User-Id", "ann")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"id":"ann","more":"`+strings.Repeat("b", size)+`"}`)
	}
	app := httptest.NewServer(http.HandlerFunc(answer))
	defer app.Close()
	f := func(user, query, want string, wantErr error) {
		t.Helper()
		a := forwardTo(t, app.URL+"/?"+query, config.Backend{}, func(f *config.Forward) { f.User = user })
		for range 2 { // the connection of the first may have been dropped
			id, err := a.Forward(t.Context(), cameWith(nil))
			if id.User != want || !errors.Is(err, wantErr) {
				t.Errorf("%s, %s: got %q, %v, want %q, %v", user, query, id.User, err, want, wantErr)
			}
		}
	}
	f("header:X-User-Id", "head&200&60000", "ann", nil)
	f("header:X-User-Id", "head&200&70000", "", ErrUnavailable)
	f("header:X-User-Id", "body&200&3000000", "ann", nil)
	f("header:X-User-Id", "body&403&3000000", "", ErrForbidden)
	f("/id", "body&200&1000000", "ann", nil)
	f("/id", "body&200&3000000", "", ErrUnauthenticated)
	f("/id", "body&500&3000000", "", ErrUnauthenticated)
}

func TestForward_PassesSetCookieOn(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", `sid=a b"; Path=/; HttpOnly`)
		w.Header().Add("Set-Cookie", "old=; Max-Age=0")
		w.Header().Set("X-User-Id", "ann")
		if r.URL.Path == "/no" {
			w.WriteHeader(401)
		}
	}))
	defer app.Close()
	want := []string{`sid=a b"; Path=/; HttpOnly`, "old=; Max-Age=0"}
	for _, path := range []string{"/yes", "/no"} {
		id, err := forwardTo(t, app.URL+path, config.Backend{}, nil).Forward(t.Context(), cameWith(nil))
		if !slices.Equal(id.SetCookie, want) {
			t.Errorf("%s: got %q, %v, want %q", path, id.SetCookie, err, want)
		}
	}
}

// Two names for one user are none.
func TestForward_RefusesTwoUserHeaders(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["X-User-Id"] = []string{"ann", "bob"}
	}))
	defer app.Close()
	if id, err := forwardTo(t, app.URL, config.Backend{}, nil).Forward(t.Context(), cameWith(nil)); !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("got %q, %v, want ErrUnauthenticated", id.User, err)
	}
}

// What a refusal says names a key to look at and leaves what the app wrote out.
func TestForward_RefusalsNameTheirKey(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var status int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, r.URL.Query().Get("body"))
	}))
	gone := httptest.NewServer(nil)
	gone.Close()
	defer app.Close()
	user := "header:X-User-Id"
	garbage := testkit.Listen(t)
	defer garbage.Close()
	go func() {
		for {
			c, err := garbage.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "S3CRET 220 ready\r\n\r\n")
			_ = c.Close()
		}
	}()
	f := func(url, key, says string) {
		t.Helper()
		a := forwardTo(t, url, config.Backend{}, func(f *config.Forward) { f.Timeout, f.User = 5*time.Second, user })
		_, err := a.Forward(t.Context(), cameWith(nil))
		var r *Refusal
		if !errors.As(err, &r) || r.Key != key || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "S3CRET") ||
			strings.Contains(err.Error(), "fasthttp") || strings.Contains(r.Reason, "127.0.0.1") {
			t.Errorf("%s: got %+v, want %s and %q", url, err, key, says)
		}
	}
	f(app.URL+"/401", "auth.forward.url", "answered 401")
	f(app.URL+"/302", "auth.forward.url", "it redirects")
	f(app.URL+"/400", "auth.forward.host", "answered 400")
	f(app.URL+"/200", "auth.forward.user", "it is missing: the answer has no header X-User-Id")
	user = "/user/id"
	f(app.URL+"/200", "auth.forward.user", "it is missing: the answer is not JSON")
	f(app.URL+"/200?body={}", "auth.forward.user", "it is missing: nothing is at /user/id in the answer")
	f(app.URL+"/200?body={\"user\":{\"id\":null}}", "auth.forward.user", "nothing is at /user/id")
	f(gone.URL, "auth.forward.url", "connection refused")
	f("http://"+garbage.Addr().String(), "auth.forward.url", "not HTTP/1.1")
}

// NTLM and Negotiate authenticate a connection: on the next client's request the
// app would see the one before.
func TestForward_NobodyGetsAConnectionThatNTLMAuthenticated(t *testing.T) {
	var got *http.Request
	app := httptest.NewServer(whoAmI(&got))
	defer app.Close()
	a := forwardTo(t, app.URL, config.Backend{}, nil)
	ask := func(authorization string) string {
		if _, err := a.Forward(t.Context(), cameWith(http.Header{"Authorization": {authorization}})); err != nil {
			t.Error(err)
		}
		return got.RemoteAddr
	}
	first := ask("Basic eA==")
	if again := ask("NTLM TlRM"); again != first {
		t.Errorf("connections are not kept: %s, then %s", first, again)
	}
	if next := ask("Basic eA=="); next == first {
		t.Errorf("%s was used again", next)
	}
}
