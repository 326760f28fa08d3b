package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/config"
)

const (
	refreshMin   = 5 * time.Minute // the set is fetched anew at a random time between
	refreshMax   = 15 * time.Minute
	retryPause   = 5 * time.Second  // after a fetch that failed
	unknownPause = 10 * time.Second // between two fetches for the sake of an unknown kid
	unknownWait  = 2 * time.Second  // that a handshake waits for such a fetch
	fetchTimeout = 5 * time.Second
	maxKeySet    = 1 << 20
)

// keys are what tokens are verified with: a secret, public keys of a file, and
// the last good set of a JWKS.
type keys struct {
	cfg     config.JWT
	log     *slog.Logger
	allowed map[string]bool
	fixed   []verificationKey
	fetched atomic.Pointer[[]verificationKey]
	changed func()

	ctx    context.Context
	cancel context.CancelFunc
	ask    chan chan struct{} // a handshake wants the set fetched; closed when it was
	done   sync.WaitGroup
}

// verificationKey is one key and what it may verify.
type verificationKey struct {
	kid   string
	alg   jwa.SignatureAlgorithm // "": all that fit the key's type
	kind  string                 // HS, RS (PS too), ES or Ed
	curve string                 // of ES
	raw   any
}

func newKeys(cfg config.JWT, log *slog.Logger, changed func()) (*keys, error) {
	k := &keys{cfg: cfg, log: log, allowed: map[string]bool{}, changed: changed, ask: make(chan chan struct{})}
	for _, a := range cfg.Algorithms {
		k.allowed[a] = a != "none"
	}
	if len(cfg.Algorithms) == 0 {
		k.allowed = map[string]bool{"HS256": true, "HS384": true, "HS512": true}
	}
	if cfg.Secret != "" {
		k.fixed = append(k.fixed, verificationKey{kind: "HS", raw: []byte(cfg.Secret)})
	}
	if cfg.PublicKeyFile != "" {
		pem, err := os.ReadFile(cfg.PublicKeyFile)
		if err != nil {
			return nil, fmt.Errorf("auth.jwt.public_key_file: %w", err)
		}
		set, err := jwk.Parse(pem, jwk.WithPEM(true))
		if err != nil || set.Len() == 0 {
			return nil, errors.New("auth.jwt.public_key_file: no PEM key in it")
		}
		k.fixed = append(k.fixed, usable(set)...)
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	if cfg.JWKSURL != "" {
		k.done.Go(k.refresh)
	}
	return k, nil
}

func (k *keys) close() {
	k.cancel()
	k.done.Wait()
}

// usable takes the public keys of a set; symmetric ones have no place there, and
// keys for encryption are not for signatures.
func usable(set jwk.Set) []verificationKey {
	var out []verificationKey
	for i := range set.Len() {
		key, _ := set.Key(i)
		if key.KeyUsage() == "enc" {
			continue
		}
		public, err := key.PublicKey()
		if err != nil {
			continue
		}
		v := verificationKey{kid: key.KeyID()}
		if a, ok := key.Algorithm().(jwa.SignatureAlgorithm); ok {
			v.alg = a
		}
		switch p := public.(type) {
		case jwk.RSAPublicKey:
			v.kind = "RS"
		case jwk.ECDSAPublicKey:
			v.kind, v.curve = "ES", p.Crv().String()
		case jwk.OKPPublicKey:
			v.kind = "Ed"
		default:
			continue
		}
		if public.Raw(&v.raw) == nil {
			out = append(out, v)
		}
	}
	return out
}

// fits says whether the key may verify alg: what the token's header says must not
// choose how a key is used.
func (v *verificationKey) fits(alg jwa.SignatureAlgorithm) bool {
	if v.alg != "" && v.alg != alg {
		return false
	}
	switch family := string(alg)[:2]; family {
	case "PS":
		return v.kind == "RS"
	case "ES":
		return v.kind == "ES" && map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[string(alg)] == v.curve
	default:
		return v.kind == family
	}
}

// find returns the keys for a token. known is false where a JWKS might have a key
// with this kid that was not fetched yet.
func (k *keys) find(alg jwa.SignatureAlgorithm, kid string) (candidates []any, known bool) {
	take := func(list []verificationKey) {
		for i := range list {
			v := &list[i]
			if v.fits(alg) && (kid == "" || v.kid == "" || v.kid == kid) {
				candidates = append(candidates, v.raw)
			}
		}
	}
	take(k.fixed)
	if set := k.fetched.Load(); set != nil {
		take(*set)
	}
	return candidates, len(candidates) > 0 || k.cfg.JWKSURL == "" || strings.HasPrefix(string(alg), "HS")
}

// wait asks for the set to be fetched and looks again.
func (k *keys) wait(ctx context.Context, alg jwa.SignatureAlgorithm, kid string) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, unknownWait)
	defer cancel()
	fetched := make(chan struct{})
	select {
	case k.ask <- fetched:
		select {
		case <-fetched:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	case <-k.ctx.Done():
	}
	candidates, _ := k.find(alg, kid)
	switch {
	case len(candidates) > 0:
		return candidates, nil
	case k.fetched.Load() == nil:
		return nil, fmt.Errorf("%w: the keys cannot be fetched", ErrUnavailable)
	}
	return nil, unauthenticated("token's key is not known")
}

// refresh is the one goroutine that fetches: at start, from time to time, and for
// an unknown kid, at most every unknownPause.
func (k *keys) refresh() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time
	for {
		var waiting []chan struct{}
		select {
		case <-k.ctx.Done():
			return
		case <-timer.C:
		case w := <-k.ask:
			if time.Since(last) < unknownPause {
				close(w) // what was fetched a moment ago is all there is
				continue
			}
			waiting = append(waiting, w)
		}
		last = time.Now()
		timer.Reset(k.fetchWhile(&waiting))
		for _, w := range waiting {
			close(w)
		}
	}
}

// fetchWhile fetches, lets further handshakes join the wait, and returns the pause
// until the next fetch.
func (k *keys) fetchWhile(waiting *[]chan struct{}) time.Duration {
	result := make(chan error, 1)
	k.done.Go(func() { result <- k.fetch() })
	for {
		select {
		case w := <-k.ask:
			*waiting = append(*waiting, w)
		case err := <-result:
			if err != nil {
				k.log.Warn("key set not fetched", "err", err)
				return retryPause
			}
			return refreshMin + rand.N(refreshMax-refreshMin)
		}
	}
}

func (k *keys) fetch() error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(k.cfg.JWKSURL)
	client := fasthttp.Client{MaxResponseBodySize: maxKeySet, NoDefaultUserAgentHeader: true}
	if err := client.DoTimeout(req, resp, fetchTimeout); err != nil {
		return fmt.Errorf("fetch auth.jwt.jwks_url: %w", err)
	}
	client.CloseIdleConnections()
	if resp.StatusCode() != fasthttp.StatusOK {
		return fmt.Errorf("fetch auth.jwt.jwks_url: status %d", resp.StatusCode())
	}
	return k.take(resp.Body())
}

// take replaces the set, unless what came has no key in it.
func (k *keys) take(body []byte) error {
	if !json.Valid(body) {
		return errors.New("auth.jwt.jwks_url: not JSON")
	}
	set, err := jwk.Parse(body)
	if err != nil {
		return fmt.Errorf("auth.jwt.jwks_url: %w", err)
	}
	list := usable(set)
	if len(list) == 0 {
		return errors.New("auth.jwt.jwks_url: no usable key in it")
	}
	k.fetched.Store(&list)
	k.changed()
	return nil
}
