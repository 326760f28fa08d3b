package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// issuer signs with ES256 and serves its keys.
type issuer struct {
	*httptest.Server
	mu      sync.Mutex // guards all below
	keys    map[string]*ecdsa.PrivateKey
	shown   []string
	fetches int
	hang    chan struct{} // not nil: answers wait for it
	garbage bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{keys: map[string]*ecdsa.PrivateKey{}}
	i.Server = httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) serve(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	i.fetches++
	hang, garbage := i.hang, i.garbage
	var list []string
	for _, kid := range i.shown {
		raw, _ := i.keys[kid].PublicKey.Bytes()
		list = append(list, fmt.Sprintf(`{"kty":"EC","crv":"P-256","use":"sig","kid":%q,"x":%q,"y":%q}`,
			kid, enc.EncodeToString(raw[1:33]), enc.EncodeToString(raw[33:])))
	}
	i.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if garbage {
		_, _ = io.WriteString(w, `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`)
		return
	}
	_, _ = io.WriteString(w, `{"keys":[`+strings.Join(list, ",")+`]}`)
}

func (i *issuer) add(t *testing.T, kid string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys[kid] = key
	i.shown = append(i.shown, kid)
}

func (i *issuer) token(kid string) string {
	i.mu.Lock()
	key := i.keys[kid]
	i.mu.Unlock()
	return compact(`{"alg":"ES256","kid":"`+kid+`"}`, fmt.Sprintf(`{"sub":"ann","n":%d,"exp":%d}`, time.Now().UnixNano(), in(time.Hour)),
		func(b []byte) []byte {
			sum := sha256.Sum256(b)
			r, s, _ := ecdsa.Sign(rand.Reader, key, sum[:])
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		})
}

func (i *issuer) auth(t *testing.T) *Authenticator {
	return newAuth(t, func(c *config.Auth) { c.JWT.JWKSURL, c.JWT.Algorithms = i.URL+"/keys", []string{"ES256", "HS256"} })
}

func fetched(a *Authenticator) func() bool {
	return func() bool { return a.keys.fetched.Load() != nil }
}

func TestJWKS_AHangingEndpointHoldsUpNobodyButTheUnknownKid(t *testing.T) {
	i := newIssuer(t)
	i.add(t, "k1")
	a := i.auth(t)
	testkit.Eventually(t, "the set is fetched", fetched(a))
	hang := make(chan struct{})
	i.mu.Lock()
	i.hang = hang
	i.mu.Unlock()
	i.add(t, "k2")
	// As if the last fetch for an unknown kid was long ago.
	waits := make(chan error, 1)
	go func() {
		_, err := a.Token(context.Background(), i.token("k2"))
		waits <- err
	}()
	for range 20 {
		began := time.Now()
		if _, err := a.Token(t.Context(), i.token("k1")); err != nil || time.Since(began) > time.Second {
			t.Errorf("known kid: %v after %v", err, time.Since(began))
		}
	}
	began := time.Now()
	if err := <-waits; err == nil || time.Since(began) > 3*time.Second {
		t.Errorf("unknown kid: got %v after %v, want an error within 2 s", err, time.Since(began))
	}
	close(hang)
}

func TestJWKS_TheLastGoodSetIsKept(t *testing.T) {
	i := newIssuer(t)
	i.add(t, "k1")
	a := i.auth(t)
	testkit.Eventually(t, "the set is fetched", fetched(a))
	i.mu.Lock()
	i.garbage = true
	i.mu.Unlock()
	if err := a.keys.fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "no usable key") {
		t.Errorf("a set with an oct key alone: got %v", err)
	}
	if _, err := a.Token(t.Context(), i.token("k1")); err != nil {
		t.Errorf("with the last good set: %v", err)
	}
	if _, err := a.Token(t.Context(), compact(`{"alg":"HS256"}`, `{"sub":"x","exp":9999999999}`, hs256("secret"))); !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("the oct key was used: %v", err)
	}
}

func TestJWKS_RotationIsSeenWithoutARestart(t *testing.T) {
	i := newIssuer(t)
	i.add(t, "k1")
	a := i.auth(t)
	testkit.Eventually(t, "the set is fetched", fetched(a))
	i.add(t, "k2")
	if err := a.keys.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, kid := range []string{"k1", "k2"} {
		if _, err := a.Token(t.Context(), i.token(kid)); err != nil {
			t.Errorf("%s: %v", kid, err)
		}
	}
	token := i.token("k1")
	if _, err := a.Token(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	i.shown = []string{"k2"}
	i.mu.Unlock()
	if err := a.keys.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Token(t.Context(), token); !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("a token of a key that is gone, verified before: got %v", err)
	}
}

func TestJWKS_ManyUnknownKidsMakeOneFetch(t *testing.T) {
	i := newIssuer(t)
	i.add(t, "k1")
	a := i.auth(t)
	testkit.Eventually(t, "the set is fetched", fetched(a))
	i.add(t, "kX")
	token := i.token("kX")
	i.mu.Lock()
	i.shown = i.shown[:1]
	before := i.fetches
	i.mu.Unlock()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := a.Token(context.Background(), token); !errors.Is(err, ErrUnauthenticated) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	i.mu.Lock()
	defer i.mu.Unlock()
	if n := i.fetches - before; n > 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestJWKS_UnreachableIsUnavailableNotUnauthenticated(t *testing.T) {
	i := newIssuer(t)
	i.add(t, "k1")
	token := i.token("k1")
	i.Close()
	a := i.auth(t)
	if _, err := a.Token(t.Context(), token); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

func TestJWKS_MayBeBehindARedirect(t *testing.T) {
	i := newIssuer(t)
	i.add(t, "k1")
	moved := httptest.NewServer(http.RedirectHandler(i.URL+"/keys", http.StatusMovedPermanently))
	defer moved.Close()
	a := newAuth(t, func(c *config.Auth) { c.JWT.JWKSURL, c.JWT.Algorithms = moved.URL, []string{"ES256"} })
	testkit.Eventually(t, "the set is fetched", fetched(a))
	if _, err := a.Token(t.Context(), i.token("k1")); err != nil {
		t.Error(err)
	}
}

func TestForward_AsksWithTheHandshakesCredentials(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch cookie := r.Header.Get("Cookie"); {
		case cookie == "status":
			w.WriteHeader(500)
		case cookie == "banned":
			w.WriteHeader(403)
		case cookie == "":
			w.WriteHeader(401)
		case cookie == "redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case cookie == "large":
			_, _ = io.WriteString(w, `{"user":{"id":"`+strings.Repeat("x", 100_000)+`"}}`)
		case cookie == "slow":
			<-r.Context().Done()
		default:
			w.Header().Set("X-User-Id", "h-"+cookie)
			_, _ = io.WriteString(w, cookie)
		}
	}))
	defer app.Close()
	byBody := newAuth(t, func(c *config.Auth) {
		c.Forward.URL, c.Forward.User, c.Forward.Timeout = app.URL, "/user/id", 300*time.Millisecond
	})
	byHeader := newAuth(t, func(c *config.Auth) {
		c.Forward.URL, c.Forward.User = app.URL, "header:X-User-Id"
	})
	f := func(a *Authenticator, cookie, want string, wantErr error) {
		t.Helper()
		id, err := a.Forward(t.Context(), Handshake{Lines: lines(map[string]string{"Cookie": cookie})})
		if id.User != want || !errors.Is(err, wantErr) {
			t.Errorf("%.30s: got %q, %v, want %q, %v", cookie, id.User, err, want, wantErr)
		}
	}
	f(byBody, `{"user":{"id":"ann"}}`, "ann", nil)
	f(byBody, `{"user":{"id":42}}`, "42", nil)
	f(byHeader, `x`, "h-x", nil)
	f(byBody, `{"user":null}`, "", ErrUnauthenticated)
	f(byBody, `{"user":{"id":""}}`, "", ErrUnauthenticated)
	f(byBody, `not json`, "", ErrUnauthenticated)
	f(byBody, "", "", ErrUnauthenticated)
	f(byBody, "status", "", ErrUnauthenticated)
	f(byBody, "redirect", "", ErrUnauthenticated)
	f(byBody, "banned", "", ErrForbidden)
	f(byBody, "slow", "", ErrUnavailable)
	f(byBody, "large", "", ErrUnauthenticated) // the name is too long, the answer is not
	app.Close()
	f(byBody, `{"user":{"id":"ann"}}`, "", ErrUnavailable)
}

func TestPointer(t *testing.T) {
	doc := []byte(`{"a":{"b":[10,{"c":"x"}],"/~":1},"":2}`)
	f := func(path, want string) {
		t.Helper()
		if got, err := pointer(doc, path); err != nil || string(got) != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
	f("/a/b/0", "10")
	f("/a/b/1/c", `"x"`)
	f("/a/~1~0", "1")
	f("/", "2")
	f("/a/b/01", "")
	f("/a/b/2", "")
	f("/a/b/-1", "")
	f("/a/b/9999999999999999999999", "")
	f("/x", "")
}
