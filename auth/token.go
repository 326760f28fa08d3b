package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/pushcart/pushcart/internal/strictjson"
)

// maxToken bounds what is verified at all.
const maxToken = 16 << 10

var errCritical = errors.New("has critical extensions")

// signedToken is a token taken apart. Its header is read here and by nobody else,
// so that no second reader can understand it differently.
type signedToken struct {
	alg       jwa.SignatureAlgorithm
	kid       string
	signed    []byte // header and payload as they were signed
	payload   []byte
	signature []byte
}

// verify checks signature and claims. Where no key fits, or none made the
// signature, the issuer may have changed its keys: it asks for them once more.
func (a *Authenticator) verify(ctx context.Context, token string, anybody bool) (Identity, error) {
	t, err := parseToken(token)
	if err != nil {
		return Identity{}, err
	}
	if !a.keys.allowed[string(t.alg)] {
		return Identity{}, unauthenticated("auth.jwt.algorithms", "token's algorithm is not accepted")
	}
	version, set := a.cache.version(), a.keys.set() // in this order: put must see keys that came between
	good, known, err := a.signed(ctx, t, set)
	if err == nil && !good && a.keys.refreshable(t.alg) {
		a.keys.wait(ctx, set)
		old := set
		version, set = a.cache.version(), a.keys.set()
		switch {
		case set == nil:
			return Identity{}, unavailable("auth.jwt.jwks_url", "the keys cannot be fetched")
		case set != old:
			good, known, err = a.signed(ctx, t, set)
		}
	}
	switch {
	case err != nil:
		return Identity{}, err
	case !known:
		return Identity{}, unauthenticated("auth.jwt.jwks_url", "token's key is not known")
	case !good:
		return Identity{}, unauthenticated("auth.jwt", "token's signature is not valid")
	}
	id, err := a.claims(t.payload, time.Now(), anybody)
	if err == nil {
		a.cache.put(token, version)
	}
	return id, err
}

// signed says whether one of the keys made the signature, and whether there was
// one to try. It waits for a place among the verifications.
func (a *Authenticator) signed(ctx context.Context, t *signedToken, set *keySet) (good, known bool, err error) {
	verifier, err := jws.NewVerifier(t.alg)
	if err != nil {
		return false, false, unauthenticated("auth.jwt.algorithms", "token's algorithm is not accepted")
	}
	select {
	case a.working <- struct{}{}:
	case <-ctx.Done():
		return false, false, unavailable("auth.jwt", "too many handshakes")
	}
	defer func() { <-a.working }()
	for key := range a.keys.candidates(set, t.alg, t.kid) {
		known = true
		if verifier.Verify(t.signed, t.signature, key) == nil {
			return true, true, nil
		}
	}
	return false, known, nil
}

func parseToken(token string) (*signedToken, error) {
	head, rest, _ := strings.Cut(token, ".")
	body, signature, ok := strings.Cut(rest, ".")
	if !ok || len(token) > maxToken || strings.Contains(signature, ".") {
		return nil, unauthenticated("auth.jwt.sources", "not a token")
	}
	t := &signedToken{signed: []byte(token[:len(head)+1+len(body)])}
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return nil, unauthenticated("auth.jwt", "token's header cannot be read")
	}
	if err := t.readHeader(raw); errors.Is(err, errCritical) {
		return nil, unauthenticated("auth.jwt", "token has critical extensions that are not known")
	} else if err != nil {
		return nil, unauthenticated("auth.jwt", "token's header cannot be read")
	}
	if t.payload, err = base64.RawURLEncoding.DecodeString(body); err != nil {
		return nil, unauthenticated("auth.jwt", "token's claims cannot be read")
	}
	if t.signature, err = base64.RawURLEncoding.DecodeString(signature); err != nil {
		return nil, unauthenticated("auth.jwt", "token's signature is not valid")
	}
	return t, nil
}

// readHeader takes what counts (RFC 7515 §4). Critical extensions are refused
// whatever they are: none is known here.
func (t *signedToken) readHeader(raw []byte) error {
	header, err := strictjson.Object(raw)
	if err != nil {
		return err
	}
	if _, critical := header["crit"]; critical {
		return errCritical
	}
	for name, into := range map[string]*string{"alg": (*string)(&t.alg), "kid": &t.kid} {
		if raw := header[name]; !strictjson.Null(raw) {
			if *into, err = strictjson.Text(raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// payloadOf reads the payload of a token whose signature is known to be good.
func payloadOf(token string) (payload []byte, ok bool) {
	_, rest, _ := strings.Cut(token, ".")
	body, _, _ := strings.Cut(rest, ".")
	payload, err := base64.RawURLEncoding.DecodeString(body)
	return payload, err == nil
}
