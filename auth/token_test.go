package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const secret = "0123456789abcdef0123456789abcdef"

var enc = base64.RawURLEncoding

// compact is a token of raw header and claims with the signature that sign makes.
func compact(header, claims string, sign func([]byte) []byte) string {
	t := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(claims))
	return t + "." + enc.EncodeToString(sign([]byte(t)))
}

func hs256(key string) func([]byte) []byte {
	return func(b []byte) []byte {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(b)
		return mac.Sum(nil)
	}
}

func newAuth(t testing.TB, change func(*config.Auth)) *Authenticator {
	t.Helper()
	cfg := config.Default().Auth
	change(&cfg)
	a, err := New(cfg, config.Backend{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func withSecret(c *config.Auth) { c.JWT.Secret = secret }

// lines are headers with one line each.
func lines(h map[string]string) func(string) []string {
	return func(name string) []string {
		if v := h[name]; v != "" {
			return []string{v}
		}
		return nil
	}
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func TestToken_TellsWhoItIs(t *testing.T) {
	a := newAuth(t, withSecret)
	f := func(claims, user string, channels int) {
		t.Helper()
		id, err := a.Token(t.Context(), compact(`{"alg":"HS256"}`, claims, hs256(secret)))
		if err != nil || id.User != user || len(id.Channels) != channels {
			t.Errorf("%s: got %q, %q, %v, want %q", claims, id.User, id.Channels, err, user)
		}
	}
	exp := fmt.Sprint(in(time.Hour))
	f(`{"sub":"ann","exp":`+exp+`}`, "ann", 0)
	f(`{"sub":42,"exp":`+exp+`}`, "42", 0)
	f(`{"sub":12345678901234567890123,"exp":`+exp+`}`, "12345678901234567890123", 0)
	f(`{"sub":"zoë","exp":`+exp+`.5,"nbf":`+fmt.Sprint(in(20*time.Second))+`}`, "zoë", 0)
	f(`{"sub":"ann","channels":["a","b.*"],"exp":`+exp+`}`, "ann", 2)
	f(`{"sub":"ann","exp":`+fmt.Sprint(in(-20*time.Second))+`}`, "ann", 0) // within the leeway
}

func TestToken_ExpiresWithLeeway(t *testing.T) {
	a := newAuth(t, withSecret)
	exp := in(time.Hour)
	id, err := a.Token(t.Context(), compact(`{"alg":"HS256"}`, fmt.Sprintf(`{"sub":"a","exp":%d}`, exp), hs256(secret)))
	if want := time.Unix(exp, 0).Add(30 * time.Second); err != nil || !id.ExpiresAt.Equal(want) {
		t.Errorf("got %v, %v, want %v", id.ExpiresAt, err, want)
	}
}

func TestToken_RefusesWithAReasonThatNeverQuotesIt(t *testing.T) {
	a := newAuth(t, func(c *config.Auth) {
		withSecret(c)
		c.JWT.Audience, c.JWT.Issuer = "app", "idp"
	})
	f := func(name, token, says string) {
		t.Helper()
		_, err := a.Token(t.Context(), token)
		if !errors.Is(err, ErrUnauthenticated) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want ErrUnauthenticated with %q", name, err, says)
		}
		if err != nil && len(token) > 20 && strings.Contains(err.Error(), token[:20]) {
			t.Errorf("%s: %v quotes the token", name, err)
		}
	}
	claims := func(more string) string {
		user := `"sub":"ann",`
		if strings.Contains(more, "sub") {
			user = ""
		}
		return fmt.Sprintf(`{%s"aud":["x","app"],"iss":"idp","exp":%d%s}`, user, in(time.Hour), more)
	}
	good := func(c string) string { return compact(`{"alg":"HS256"}`, c, hs256(secret)) }
	if _, err := a.Token(t.Context(), good(claims(""))); err != nil {
		t.Fatal(err)
	}
	f("empty", "", "not a token")
	f("two parts", "a.b", "not a token")
	f("huge", strings.Repeat("a", 20_000)+".b.c", "not a token")
	f("header no base64", "!.b.c", "header")
	f("header no JSON", enc.EncodeToString([]byte("x"))+".b.c", "header")
	f("other secret", compact(`{"alg":"HS256"}`, claims(""), hs256(strings.Repeat("x", 32))), "signature")
	f("none", compact(`{"alg":"none"}`, claims(""), func([]byte) []byte { return nil }), "algorithm")
	f("None", compact(`{"alg":"None"}`, claims(""), func([]byte) []byte { return nil }), "algorithm")
	f("no alg", compact(`{}`, claims(""), hs256(secret)), "algorithm")
	f("critical extension", compact(`{"alg":"HS256","crit":["x"]}`, claims(""), hs256(secret)), "critical")
	f("expired", good(fmt.Sprintf(`{"sub":"a","aud":"app","iss":"idp","exp":%d}`, in(-time.Minute))), "expired")
	f("no exp", good(`{"sub":"a","aud":"app","iss":"idp"}`), "no exp")
	f("not yet", good(claims(`,"nbf":`+fmt.Sprint(in(time.Minute)))), "not valid yet")
	f("from the future", good(claims(`,"iat":`+fmt.Sprint(in(time.Minute)))), "future")
	f("wrong audience", good(fmt.Sprintf(`{"sub":"a","aud":"other","iss":"idp","exp":%d}`, in(time.Hour))), "audience")
	f("no audience", good(fmt.Sprintf(`{"sub":"a","iss":"idp","exp":%d}`, in(time.Hour))), "audience")
	f("wrong issuer", good(fmt.Sprintf(`{"sub":"a","aud":"app","iss":"x","exp":%d}`, in(time.Hour))), "issuer")
	f("no user", good(fmt.Sprintf(`{"aud":"app","iss":"idp","exp":%d}`, in(time.Hour))), "sub is missing")
	f("user is a list", good(claims(`,"sub":[1]`)), "sub")
	f("user is a fraction", good(claims(`,"sub":1.5`)), "sub")
	f("user with a control character", good(claims(`,"sub":"a\n"`)), "sub")
	f("channels is no list", good(claims(`,"channels":{"news":true}`)), "channels")
	f("a channel without name", good(claims(`,"channels":[""]`)), "channels")
	f("claims no object", good(`[]`), "claims")
}

// TestToken_AKeyIsUsedAsWhatItIs: a public key is no secret, whatever the header
// says.
func TestToken_AKeyIsUsedAsWhatItIs(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	claims := fmt.Sprintf(`{"sub":"ann","exp":%d}`, in(time.Hour))
	rs := func(b []byte) []byte {
		sum := sha256.Sum256(b)
		s, _ := rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA256, sum[:])
		return s
	}
	ps := func(b []byte) []byte {
		sum := sha256.Sum256(b)
		s, _ := rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		return s
	}
	es := func(b []byte) []byte {
		sum := sha256.Sum256(b)
		r, s, _ := ecdsa.Sign(rand.Reader, ecKey, sum[:])
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	ed := func(b []byte) []byte { return ed25519.Sign(edKey, b) }

	file := filepath.Join(t.TempDir(), "keys.pem")
	var all, rsaPEM []byte
	for i, key := range []any{&rsaKey.PublicKey, &ecKey.PublicKey, edPublic} {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		if all = append(all, block...); i == 0 {
			rsaPEM = block
		}
	}
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAuth(t, func(c *config.Auth) {
		c.JWT.PublicKeyFile, c.JWT.Algorithms = file, []string{"RS256", "PS256", "ES256", "EdDSA"}
	})
	f := func(alg string, sign func([]byte) []byte, good bool) {
		t.Helper()
		_, err := a.Token(t.Context(), compact(`{"alg":"`+alg+`"}`, claims, sign))
		if (err == nil) != good {
			t.Errorf("%s: got %v, want good=%v", alg, err, good)
		}
	}
	f("RS256", rs, true)
	f("PS256", ps, true)
	f("ES256", es, true)
	f("EdDSA", ed, true)
	f("RS256", ps, false)
	f("RS256", es, false)
	f("ES256", rs, false)
	f("RS384", rs, false)
	f("HS256", hs256(string(rsaPEM)), false)
	f("HS256", hs256(string(all)), false)
}

// HTTP/2 front ends split Cookie into several lines; only the first was read.
func TestFindToken_LooksAtEveryLine(t *testing.T) {
	a := newAuth(t, func(c *config.Auth) {
		withSecret(c)
		c.JWT.Sources = []string{"cookie:sid", "header"}
	})
	f := func(header map[string][]string, want string) {
		t.Helper()
		got, _ := a.FindToken(Handshake{Lines: func(name string) []string { return header[name] }})
		if got != want {
			t.Errorf("%q: got %q, want %q", header, got, want)
		}
	}
	f(map[string][]string{"Cookie": {"a=1", "b=2; sid=T", "sid=late"}}, "T")
	f(map[string][]string{"Cookie": {"a=1"}, "Authorization": {"Basic eA==", "Bearer T"}}, "T")
	f(map[string][]string{"Cookie": {"a=1", ""}}, "")
}

func TestFindToken_TakesTheFirstSourceThatHasOne(t *testing.T) {
	a := newAuth(t, func(c *config.Auth) {
		withSecret(c)
		c.JWT.Sources = []string{"header", "query:t", "cookie:sid", "protocol"}
	})
	f := func(authorization, cookie, query string, protocols []string, want string) {
		t.Helper()
		h := map[string]string{"Authorization": authorization, "Cookie": cookie}
		got, found := a.FindToken(Handshake{Lines: lines(h), Query: query, Protocols: protocols})
		if got != want || found != (want != "") {
			t.Errorf("%q %q %q %q: got %q, want %q", authorization, cookie, query, protocols, got, want)
		}
	}
	f("", "", "", nil, "")
	f("Bearer a", "sid=b", "t=c", []string{"bearer.d"}, "a")
	f("bearer  a ", "", "", nil, "a")
	f("Basic a", "sid=b", "", nil, "b")
	f("", "x=1; sid=\"b\"; sid=z", "", nil, "b")
	f("", "sid=b", "x=1&t=a%2Bb", nil, "a+b")
	f("", "", "%74=c", nil, "c")
	f("", "", "t=%zz", nil, "%zz") // present and bad
	f("", "", "", []string{"chat", "bearer.d"}, "d")
}

func TestCache_RemembersUntilNewKeys(t *testing.T) {
	c := newTokenCache()
	c.put("t", c.version())
	if !c.has("t") {
		t.Error("a verified token is not known")
	}
	old := c.version()
	c.empty()
	if c.has("t") {
		t.Error("known after the keys changed")
	}
	c.put("t", old)
	if c.has("t") {
		t.Error("what was verified with the old keys is remembered")
	}
	for i := range maxCached + 10 {
		c.put(fmt.Sprint(i), c.version())
	}
	if len(c.good) > maxCached {
		t.Errorf("%d tokens are remembered", len(c.good))
	}
}

func TestToken_KnownOneIsReadTheSameAndExpiresAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, withSecret)
		exp := time.Now().Add(time.Minute)
		token := compact(`{"alg":"HS256"}`, fmt.Sprintf(`{"sub":"ann","exp":%d,"channels":["news"],"role":"x"}`, exp.Unix()), hs256(secret))
		first, err := a.Token(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		again, err := a.Token(t.Context(), token)
		if err != nil || !reflect.DeepEqual(first, again) || again.User != "ann" {
			t.Errorf("got %+v, %v, want %+v again", again, err, first)
		}
		if !a.cache.has(token) {
			t.Error("a verified token is not known")
		}
		time.Sleep(time.Until(first.ExpiresAt))
		if _, err := a.Token(t.Context(), token); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("expired and known: got %v, want ErrUnauthenticated", err)
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add(compact(`{"alg":"HS256"}`, `{"sub":"a","exp":9999999999}`, hs256(secret)))
	f.Add(compact(`{"alg":"none"}`, `{}`, hs256(secret)))
	cfg := config.Default().Auth
	cfg.JWT.Secret = secret
	a, err := New(cfg, config.Backend{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token string) {
		id, err := a.Token(context.Background(), token)
		if err == nil && id.User == "" {
			t.Fatal("accepted without a user")
		}
	})
}

func FuzzClaims(f *testing.F) {
	f.Add([]byte(`{"sub":1e99,"exp":1e300,"aud":{},"channels":[null]}`))
	f.Add([]byte(`{"sub":"a","exp":9999999999}`))
	a := &Authenticator{jwt: config.Default().Auth.JWT}
	f.Fuzz(func(t *testing.T, payload []byte) {
		id, err := a.claims(payload, time.Now(), false)
		if err == nil && (id.User == "" || id.ExpiresAt.IsZero()) {
			t.Fatalf("%s: accepted as %+v", payload, id)
		}
	})
}

func FuzzPointer(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b~/":2}]}`), "/a/1/b~0~1")
	f.Fuzz(func(t *testing.T, doc []byte, path string) {
		if v, err := pointer(json.RawMessage(doc), path); err == nil && v != nil && path != "" && !json.Valid(v) {
			t.Fatalf("%s in %s: %s is no JSON", path, doc, v)
		}
	})
}

func BenchmarkToken(b *testing.B) {
	token := compact(`{"alg":"HS256"}`, `{"sub":"a","exp":9999999999}`, hs256(secret))
	for name, fresh := range map[string]bool{"verified": true, "cached": false} {
		b.Run("HS256/"+name, func(b *testing.B) {
			a := newAuth(b, withSecret)
			b.ReportAllocs()
			for b.Loop() {
				if fresh {
					a.cache.empty()
				}
				if _, err := a.Token(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
