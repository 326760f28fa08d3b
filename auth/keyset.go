package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/pushcart/pushcart/internal/strictjson"
)

// keySet is what of a JWKS verifies tokens.
type keySet struct{ keys []verificationKey }

// verificationKey is one key and what it may verify.
type verificationKey struct {
	kid  string
	alg  jwa.SignatureAlgorithm   // "": all of algs
	algs []jwa.SignatureAlgorithm // that fit the kind of key
	raw  any
}

// ignoredKey is a key of a set that is not used.
type ignoredKey struct {
	kid      string
	position int // in the set, from 0
	reason   string
	level    slog.Level
}

var (
	hsAlgorithms = []jwa.SignatureAlgorithm{jwa.HS256, jwa.HS384, jwa.HS512}
	rsAlgorithms = []jwa.SignatureAlgorithm{jwa.RS256, jwa.RS384, jwa.RS512, jwa.PS256, jwa.PS384, jwa.PS512}
	edAlgorithms = []jwa.SignatureAlgorithm{jwa.EdDSA}
	// esAlgorithms go by the curve.
	esAlgorithms = map[string][]jwa.SignatureAlgorithm{"P-256": {jwa.ES256}, "P-384": {jwa.ES384}, "P-521": {jwa.ES512}}
)

// minRSA is what crypto/rsa wants; it would refuse every signature of a shorter key.
const minRSA = 1024

// fits says whether the key may verify alg: what the token's header says must not
// choose how a key is used.
func (v *verificationKey) fits(alg jwa.SignatureAlgorithm) bool {
	return (v.alg == "" || v.alg == alg) && slices.Contains(v.algs, alg)
}

// setKey fills in a public key.
func (v *verificationKey) setKey(key jwk.Key) error {
	public, err := key.PublicKey()
	if err != nil {
		return err
	}
	if err := public.Raw(&v.raw); err != nil {
		return err
	}
	switch raw := v.raw.(type) {
	case *rsa.PublicKey:
		if v.algs = rsAlgorithms; raw.N.BitLen() < minRSA {
			return fmt.Errorf("an RSA key needs at least %d bits", minRSA)
		}
	case *ecdsa.PublicKey:
		if _, err := raw.ECDH(); err != nil {
			return errors.New("not a point of its curve")
		}
		v.algs = esAlgorithms[raw.Curve.Params().Name]
	case ed25519.PublicKey:
		if v.algs = edAlgorithms; len(raw) != ed25519.PublicKeySize {
			return errors.New("an Ed25519 key has 32 bytes") // ed25519.Verify would panic
		}
	}
	if v.algs == nil {
		return errors.New("not a kind of key that signs tokens")
	}
	return nil
}

func parsePEM(pem []byte) ([]verificationKey, error) {
	set, err := jwk.Parse(pem, jwk.WithPEM(true))
	if err != nil || set.Len() == 0 {
		return nil, errors.New("no PEM key in it")
	}
	list := make([]verificationKey, set.Len())
	for i := range list {
		key, _ := set.Key(i)
		if err := list[i].setKey(key); err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
	}
	return list, nil
}

// parseKeySet reads a JWKS key by key: one that cannot be used must not take the
// others with it (RFC 7517 §5).
func parseKeySet(body []byte) (*keySet, []ignoredKey, error) {
	body = strictjson.TrimBOM(body)
	doc, err := strictjson.Object(body)
	if err != nil {
		return nil, nil, err
	}
	var list []json.RawMessage
	if _, single := doc["kty"]; single && doc["keys"] == nil {
		list = []json.RawMessage{body} // a key without a set around it
	} else if json.Unmarshal(doc["keys"], &list) != nil {
		return nil, nil, errors.New("has no list of keys")
	}
	set, ignored := &keySet{}, []ignoredKey(nil)
	for i, raw := range list {
		v := verificationKey{}
		switch err := v.read(raw); {
		case err == nil:
			set.keys = append(set.keys, v)
		case errors.Is(err, errOtherUse):
			ignored = append(ignored, ignoredKey{v.kid, i, err.Error(), slog.LevelInfo})
		default:
			ignored = append(ignored, ignoredKey{v.kid, i, err.Error(), slog.LevelWarn})
		}
	}
	return set, ignored, nil
}

// errOtherUse: nothing is wrong with the key. Keycloak's sets have one.
var errOtherUse = errors.New("it is for encryption")

// read takes a JWK. The library gets only what makes up the key, by exact names;
// it would match them with case folded, and refuse a key for an x5c or another
// member that nobody needs.
func (v *verificationKey) read(raw json.RawMessage) error {
	all, err := strictjson.Object(raw)
	if err != nil {
		return err
	}
	if kid := all["kid"]; !strictjson.Null(kid) {
		if v.kid, err = strictjson.Text(kid); err != nil {
			return fmt.Errorf("kid %w", err)
		}
	}
	if string(all["kty"]) == `"oct"` {
		return errors.New("it is symmetric, which has no place in a set that everybody may read")
	}
	if string(all["use"]) == `"enc"` {
		return errOtherUse
	}
	public := map[string]json.RawMessage{}
	for _, name := range []string{"kty", "n", "e", "crv", "x", "y"} {
		if value, ok := all[name]; ok {
			public[name] = value
		}
	}
	if raw, err = json.Marshal(public); err != nil {
		return err
	}
	key, err := jwk.ParseKey(raw)
	if err != nil {
		return errors.New("it is not understood, or a member is missing or bad")
	}
	if err := v.setKey(key); err != nil {
		return err
	}
	return v.setAlgorithm(all["alg"])
}

// setAlgorithm takes the one algorithm that a key is for, if it names one.
func (v *verificationKey) setAlgorithm(raw json.RawMessage) error {
	if strictjson.Null(raw) {
		return nil
	}
	alg, err := strictjson.Text(raw)
	if err != nil {
		return fmt.Errorf("alg %w", err)
	}
	if v.alg = jwa.SignatureAlgorithm(alg); v.alg == "Ed25519" { // RFC 9864's name
		v.alg = jwa.EdDSA
	}
	if !slices.Contains(v.algs, v.alg) {
		return errors.New("its alg does not fit its kind")
	}
	return nil
}
