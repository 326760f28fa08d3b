package auth

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/files"
	"github.com/pushcart/pushcart/internal/httpclient"
)

const (
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
	fetched atomic.Pointer[keySet]
	changed func()
	ignored map[ignoredKey]bool // keys of the last set that are not used; of the fetch alone

	refresher *refresher // of the JWKS; nil without one
}

// newKeys reads the keys; known, if not nil, is what the JWKS had last.
func newKeys(cfg config.JWT, log *slog.Logger, known *keySet, changed func()) (*keys, error) {
	k := &keys{cfg: cfg, log: log, allowed: map[string]bool{}, changed: changed}
	for _, a := range cfg.Algorithms {
		k.allowed[a] = a != "none"
	}
	if len(cfg.Algorithms) == 0 {
		k.allowed = map[string]bool{"HS256": true, "HS384": true, "HS512": true}
	}
	if cfg.Secret != "" {
		k.fixed = append(k.fixed, verificationKey{algs: hsAlgorithms, raw: []byte(cfg.Secret)})
	}
	if cfg.PublicKeyFile != "" {
		pem, err := files.Read(cfg.PublicKeyFile)
		if err != nil {
			return nil, fmt.Errorf("auth.jwt.public_key_file: %w", err)
		}
		list, err := parsePEM(pem)
		if err != nil {
			return nil, fmt.Errorf("auth.jwt.public_key_file: %w", err)
		}
		k.fixed = append(k.fixed, list...)
	}
	if cfg.JWKSURL != "" {
		k.fetched.Store(known)
		k.refresher = newRefresher(k.fetch, log)
	}
	return k, nil
}

func (k *keys) close() {
	if k.refresher != nil {
		k.refresher.close()
	}
}

// set is what was fetched last; nil before the first fetch.
func (k *keys) set() *keySet { return k.fetched.Load() }

// refreshable says whether a JWKS could have another key for alg.
func (k *keys) refreshable(alg jwa.SignatureAlgorithm) bool {
	return k.refresher != nil && !strings.HasPrefix(string(alg), "HS")
}

// candidates are the keys that may have signed a token with this header.
func (k *keys) candidates(set *keySet, alg jwa.SignatureAlgorithm, kid string) iter.Seq[any] {
	return func(yield func(any) bool) {
		lists := [][]verificationKey{k.fixed}
		if set != nil {
			lists = append(lists, set.keys)
		}
		for _, list := range lists {
			for i := range list {
				v := &list[i]
				if v.fits(alg) && (kid == "" || v.kid == "" || v.kid == kid) && !yield(v.raw) {
					return
				}
			}
		}
	}
}

// wait asks for a set newer than old, if that is still the last.
func (k *keys) wait(ctx context.Context, old *keySet) {
	if k.set() == old {
		k.refresher.wait(ctx)
	}
}

func (k *keys) fetch(ctx context.Context) error {
	body, err := httpclient.Fetch(ctx, k.cfg.JWKSURL, maxKeySet, fetchTimeout)
	if err != nil {
		return fmt.Errorf("fetch auth.jwt.jwks_url: %w", err)
	}
	return k.take(body)
}

// take replaces the set, unless what came has no key in it or the same ones. It is
// called by one fetch at a time.
func (k *keys) take(body []byte) error {
	set, ignored, err := parseKeySet(body)
	if err != nil {
		return fmt.Errorf("auth.jwt.jwks_url: %w", err)
	}
	k.logIgnored(ignored)
	if len(set.keys) == 0 {
		return errors.New("auth.jwt.jwks_url: no usable key in it")
	}
	if old := k.set(); old != nil && reflect.DeepEqual(old, set) {
		return nil // verified tokens stay known
	}
	k.fetched.Store(set)
	k.changed()
	return nil
}

// logIgnored says once of each key why it is not used.
func (k *keys) logIgnored(list []ignoredKey) {
	const most = 20 // a set with more is not a key set
	if n := len(list) - most; n > 0 {
		rest := ignoredKey{position: most, reason: fmt.Sprintf("as are %d further ones", n), level: slog.LevelWarn}
		list = append(list[:most:most], rest)
	}
	now := map[ignoredKey]bool{}
	for _, key := range list {
		if now[key] = true; !k.ignored[key] {
			k.log.Log(context.Background(), key.level, "key of auth.jwt.jwks_url ignored",
				"kid", key.kid, "position", key.position, "reason", key.reason)
		}
	}
	k.ignored = now
}
