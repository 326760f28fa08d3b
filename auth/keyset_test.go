package auth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
)

func newECKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// jwkOf is the public key as a JWK with further members.
func jwkOf(key *ecdsa.PrivateKey, more string) string {
	raw, _ := key.PublicKey.Bytes()
	return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q%s}`, enc.EncodeToString(raw[1:33]), enc.EncodeToString(raw[33:]), more)
}

// es256 is a token signed by key, with further members in its header.
func es256(key *ecdsa.PrivateKey, more string) string {
	claims := fmt.Sprintf(`{"sub":"ann","n":%d,"exp":%d}`, time.Now().UnixNano(), in(time.Hour))
	return compact(`{"alg":"ES256"`+more+`}`, claims, func(b []byte) []byte {
		sum := sha256.Sum256(b)
		r, s, _ := ecdsa.Sign(rand.Reader, key, sum[:])
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	})
}

// keyEndpoint stands for a JWKS without a network, so that it works in a synctest bubble.
type keyEndpoint struct {
	mu      sync.Mutex // guards all below
	body    string
	fetches int
	takes   time.Duration
}

func (e *keyEndpoint) show(keys ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.body = `{"keys":[` + strings.Join(keys, ",") + `]}`
}

func (e *keyEndpoint) fetched() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fetches
}

// auth verifies ES256 with the keys of the endpoint, which was asked once.
func (e *keyEndpoint) auth(t *testing.T, change func(*config.JWT)) *Authenticator {
	t.Helper()
	a := newAuth(t, func(c *config.Auth) {
		c.JWT.Secret, c.JWT.Algorithms = secret, []string{"ES256", "HS256"}
		change(&c.JWT)
	})
	k := a.keys
	k.refresher = newRefresher(func(context.Context) error {
		e.mu.Lock()
		e.fetches++
		body, takes := e.body, e.takes
		e.mu.Unlock()
		time.Sleep(takes)
		return k.take([]byte(body))
	}, k.log)
	synctest.Wait()
	return a
}

func noChange(*config.JWT) {}

func TestJWKS_AKeyThatCannotBeUsedTakesNoOtherWithIt(t *testing.T) {
	good, odd := newECKey(t), newECKey(t)
	small := `{"kty":"RSA","kid":"small","n":"` + enc.EncodeToString(bytes.Repeat([]byte{0xff}, 64)) + `","e":"AQAB"}`
	f := func(bad, says string) {
		t.Helper()
		for _, body := range []string{
			`{"keys":[` + bad + `,` + jwkOf(good, `,"kid":"good"`) + `]}`,
			`{"keys":[` + jwkOf(good, `,"kid":"good"`) + `,` + bad + `]}`,
		} {
			var log bytes.Buffer
			k := &keys{log: slog.New(slog.NewTextHandler(&log, nil)), changed: func() {}}
			for range 3 { // logged the first time
				if err := k.take([]byte(body)); err != nil || len(k.set().keys) != 1 || k.set().keys[0].kid != "good" {
					t.Errorf("%s: got %+v, %v", bad, k.set(), err)
				}
			}
			if n := strings.Count(log.String(), "ignored"); n != 1 || !strings.Contains(log.String(), says) {
				t.Errorf("%s: %d lines, want one with %q:\n%s", bad, n, says, &log)
			}
		}
	}
	f(`{"kty":"AKP","kid":"pq","alg":"ML-DSA-44","pub":"AAAA"}`, "kid=pq")
	f(`{"kty":"oct","kid":"mac","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}`, "symmetric")
	f(`{"kid":"kindless"}`, "kid=kindless")
	f(`{"kty":5}`, "not understood")
	f(`{"KTY":"EC"}`, "not understood")
	f(`{"kty":"RSA","kid":"n","e":"AQAB"}`, "kid=n")
	f(small, "1024 bits")
	f(`{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}`, "position=")
	f(`{"kty":"EC","crv":"secp256k1","x":"AAAA","y":"AAAA"}`, "position=")
	f(`{"kty":"OKP","crv":"X25519","x":"`+enc.EncodeToString(make([]byte, 32))+`"}`, "kind of key")
	f(`{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`, "position=")
	f(jwkOf(odd, `,"kid":{}`), "kid is neither")
	f(jwkOf(odd, `,"kid":"a","kid":"b"`), "twice")
	f(jwkOf(odd, `,"use":"enc","kid":"box"`), "level=INFO")
	f(jwkOf(odd, `,"alg":"RSA-OAEP"`), "alg")
	f(jwkOf(odd, `,"alg":"ES384"`), "alg")
	f(jwkOf(odd, `,"alg":[]`), "alg")
	f(`null`, "not a JSON object")
	f(`"key"`, "not a JSON object")
	f(`[]`, "not a JSON object")
}

func TestJWKS_TakesWhatVerifiesWhateverStandsBesideIt(t *testing.T) {
	key := newECKey(t)
	f := func(body, kid string) {
		t.Helper()
		set, ignored, err := parseKeySet([]byte(body))
		if err != nil || len(ignored) != 0 || len(set.keys) != 1 || set.keys[0].kid != kid {
			t.Errorf("%s: got %+v, %v, %v", body, set, ignored, err)
		}
	}
	f(`{"keys":[`+jwkOf(key, `,"x5c":"no list","x5t":5,"key_ops":"?","KTY":"oct","Crv":"P-384","Kid":"other"`)+`]}`, "")
	f(`{"keys":[`+jwkOf(key, `,"kid":7,"alg":"ES256"`)+`],"KEYS":[]}`, "7")
	f("\xef\xbb\xbf"+`{"keys":[`+jwkOf(key, `,"kid":null`)+`]}`, "")
	f(jwkOf(key, `,"kid":"alone"`), "alone")
	public, _, _ := ed25519.GenerateKey(rand.Reader)
	f(`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"Ed25519","x":"`+enc.EncodeToString(public)+`"}]}`, "")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f(`{"keys":[{"kty":"RSA","alg":"PS256","e":"AQAB","n":"`+enc.EncodeToString(rsaKey.N.Bytes())+`"}]}`, "")
}

func TestJWKS_RefusesWhatIsNoSet(t *testing.T) {
	for _, body := range []string{``, `<html>`, `null`, `[]`, `{}`, `{"Keys":[]}`, `{"keys":{}}`, `{"keys":[],"keys":[]}`} {
		if set, _, err := parseKeySet([]byte(body)); err == nil && len(set.keys) > 0 || err == nil && body != `{}` {
			t.Errorf("%s: got %+v", body, set)
		}
	}
}

func TestJWKS_ManyBadKeysAreFewLines(t *testing.T) {
	var log bytes.Buffer
	k := &keys{log: slog.New(slog.NewTextHandler(&log, nil)), changed: func() {}}
	body := `{"keys":[` + strings.Repeat(`{},`, 10_000) + jwkOf(newECKey(t), "") + `]}`
	for range 2 {
		if err := k.take([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 21 {
		t.Errorf("%d lines, want 21", n)
	}
}

// TestJWKS_AFailedSignatureAsksForTheKeys: the issuer changed its key and kept the
// kid, gives none, or there is a PEM file beside the set, whose key fits every kid.
func TestJWKS_AFailedSignatureAsksForTheKeys(t *testing.T) {
	der, err := x509.MarshalPKIXPublicKey(&newECKey(t).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	withFile := func(c *config.JWT) { c.PublicKeyFile = file }
	f := func(name, kidOfSet, kidOfToken string, change func(*config.JWT)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				before, after := newECKey(t), newECKey(t)
				e := &keyEndpoint{takes: time.Second}
				e.show(jwkOf(before, kidOfSet))
				a := e.auth(t, change)
				time.Sleep(time.Minute)
				if _, err := a.Token(t.Context(), es256(before, kidOfToken)); err != nil {
					t.Fatal(err)
				}
				e.show(jwkOf(after, kidOfSet))
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						if _, err := a.Token(t.Context(), es256(after, kidOfToken)); err != nil {
							t.Errorf("after the rotation: %v", err)
						}
					})
				}
				wg.Wait()
				if n := e.fetched(); n != 2 {
					t.Errorf("%d fetches, want the first and one more", n)
				}
			})
		})
	}
	f("reused kid", `,"kid":"k"`, `,"kid":"k"`, noChange)
	f("no kid", ``, ``, noChange)
	f("kid in the set only", `,"kid":"k"`, ``, noChange)
	f("PEM beside the set", `,"kid":"k"`, `,"kid":"k"`, withFile)
	f("numeric kid", `,"kid":7`, `,"kid":7`, noChange)
}

func TestJWKS_BadSignaturesCostAtMostOneFetchInTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, foreign := newECKey(t), newECKey(t)
		e := &keyEndpoint{}
		e.show(jwkOf(key, `,"kid":"k"`))
		a := e.auth(t, noChange)
		good := es256(key, `,"kid":"k"`)
		if _, err := a.Token(t.Context(), good); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		began, before := time.Now(), e.fetched()
		for time.Since(began) < time.Minute {
			for _, token := range []string{es256(foreign, `,"kid":"k"`), es256(foreign, ``), es256(foreign, `,"kid":"x"`)} {
				if _, err := a.Token(t.Context(), token); !errors.Is(err, ErrUnauthenticated) {
					t.Fatalf("a foreign signature: got %v", err)
				}
			}
			time.Sleep(time.Second)
		}
		if n := e.fetched() - before; n < 5 || n > 7 {
			t.Errorf("%d fetches in a minute, want 6", n)
		}
		if !a.cache.has(good) {
			t.Error("the same keys again emptied the token cache")
		}
	})
}

func TestJWKS_WaitsAtMostTwoSecondsForKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newECKey(t)
		e := &keyEndpoint{}
		e.show(jwkOf(key, `,"kid":"k"`))
		a := e.auth(t, noChange)
		time.Sleep(time.Minute)
		e.mu.Lock()
		e.takes = 30 * time.Second
		e.mu.Unlock()
		f := func(token string, want time.Duration, wantErr error) {
			t.Helper()
			began := time.Now()
			if _, err := a.Token(t.Context(), token); !errors.Is(err, wantErr) || time.Since(began) != want {
				t.Errorf("got %v after %v, want %v after %v", err, time.Since(began), wantErr, want)
			}
		}
		f(es256(key, `,"kid":"new"`), askWait, ErrUnauthenticated)
		f(es256(newECKey(t), `,"kid":"k"`), askWait, ErrUnauthenticated)
		f(es256(key, `,"kid":"k"`), 0, nil) // others do not wait
		f(compact(`{"alg":"HS256"}`, `{"sub":"x","exp":9999999999}`, hs256(strings.Repeat("x", 32))), 0, ErrUnauthenticated)
	})
}

func FuzzKeySet(f *testing.F) {
	key := newECKey(f)
	f.Add([]byte(`{"keys":[` + jwkOf(key, `,"kid":"k","use":"sig"`) + `,{"kty":"oct","k":"AA"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"EdDSA"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		set, _, err := parseKeySet(body)
		if err != nil {
			return
		}
		a := &Authenticator{keys: &keys{}, working: make(chan struct{}, 1)}
		for i := range set.keys {
			if set.keys[i].raw == nil || len(set.keys[i].algs) == 0 {
				t.Fatalf("%q: took %+v", body, set.keys[i])
			}
			for _, alg := range set.keys[i].algs {
				tok := &signedToken{alg: alg, signed: []byte("a.b"), signature: []byte("c")}
				if good, _, _ := a.signed(context.Background(), tok, set); good {
					t.Fatalf("%q: verified garbage", body)
				}
			}
		}
	})
}
