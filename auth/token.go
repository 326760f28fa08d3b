package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/pushcart/pushcart/internal/names"
)

// maxToken bounds what is verified at all.
const maxToken = 16 << 10

// joseHeader is what of a token's header counts (RFC 7515 §4).
type joseHeader struct {
	Alg  string   `json:"alg"`
	Kid  string   `json:"kid"`
	Crit []string `json:"crit"`
}

// verify checks signature and claims. release gives back the place among the
// verifications; it is called once, before any wait for keys.
func (a *Authenticator) verify(ctx context.Context, token string, release func()) (Identity, error) {
	held := true
	free := func() {
		if held {
			release()
		}
		held = false
	}
	defer free()
	head, err := readHeader(token)
	if err != nil {
		return Identity{}, err
	}
	if !a.keys.allowed[head.Alg] {
		return Identity{}, unauthenticated("token's algorithm is not accepted")
	}
	alg := jwa.SignatureAlgorithm(head.Alg)
	candidates, known := a.keys.find(alg, head.Kid)
	if !known {
		free()
		if candidates, err = a.keys.wait(ctx, alg, head.Kid); err != nil {
			return Identity{}, err
		}
	}
	for _, key := range candidates {
		if payload, err := jws.Verify([]byte(token), jws.WithKey(alg, key)); err == nil {
			return a.claims(payload, time.Now())
		}
	}
	return Identity{}, unauthenticated("token's signature is not valid")
}

func readHeader(token string) (h joseHeader, err error) {
	head, rest, ok := strings.Cut(token, ".")
	if !ok || len(token) > maxToken || strings.Count(rest, ".") != 1 {
		return h, unauthenticated("not a token")
	}
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil || json.Unmarshal(raw, &h) != nil {
		return h, unauthenticated("token's header cannot be read")
	}
	if len(h.Crit) > 0 {
		return h, unauthenticated("token has critical extensions that are not known")
	}
	return h, nil
}

// payloadOf reads the payload of a token whose signature is known to be good.
func payloadOf(token string) (payload []byte, ok bool) {
	_, rest, _ := strings.Cut(token, ".")
	body, _, _ := strings.Cut(rest, ".")
	payload, err := base64.RawURLEncoding.DecodeString(body)
	return payload, err == nil
}

// standardClaims are those of RFC 7519 §4.1 that are checked.
type standardClaims struct {
	Exp *numericDate `json:"exp"`
	Nbf *numericDate `json:"nbf"`
	Iat *numericDate `json:"iat"`
	Iss string       `json:"iss"`
	Aud audience     `json:"aud"`
}

// numericDate is seconds since 1970, fractions allowed (RFC 7519 §2).
type numericDate time.Time

func (n *numericDate) UnmarshalJSON(b []byte) error {
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err != nil {
		return err
	}
	const most = 1 << 40 // far beyond any date; a time.Duration must not overflow
	seconds = min(max(seconds, -most), most)
	whole := int64(seconds)
	*n = numericDate(time.Unix(whole, int64((seconds-float64(whole))*1e9)))
	return nil
}

// audience is one string or a list of them.
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

func (a audience) has(want string) bool {
	for _, s := range a {
		if s == want {
			return true
		}
	}
	return false
}

// claims checks a payload whose signature is good.
func (a *Authenticator) claims(payload []byte, now time.Time) (Identity, error) {
	var std standardClaims
	var all map[string]json.RawMessage
	if json.Unmarshal(payload, &std) != nil || json.Unmarshal(payload, &all) != nil {
		return Identity{}, unauthenticated("token's claims cannot be read")
	}
	id := Identity{Claims: payload}
	if err := a.checkTimes(&std, now, &id); err != nil {
		return Identity{}, err
	}
	switch {
	case a.jwt.Issuer != "" && std.Iss != a.jwt.Issuer:
		return Identity{}, unauthenticated("token has the wrong issuer")
	case a.jwt.Audience != "" && !std.Aud.has(a.jwt.Audience):
		return Identity{}, unauthenticated("token has the wrong audience")
	}
	user, err := userValue(all[a.jwt.UserClaim])
	if err != nil {
		return Identity{}, unauthenticated("token's claim " + a.jwt.UserClaim + " " + err.Error())
	}
	id.User = user
	if raw, ok := all[a.jwt.ChannelsClaim]; ok && string(raw) != "null" {
		if json.Unmarshal(raw, &id.Channels) != nil {
			return Identity{}, unauthenticated("token's claim " + a.jwt.ChannelsClaim + " is not a list of names")
		}
		for _, ch := range id.Channels {
			if names.CheckUser(ch) != nil {
				return Identity{}, unauthenticated("token's claim " + a.jwt.ChannelsClaim + " has a bad name")
			}
		}
	}
	return id, nil
}

func (a *Authenticator) checkTimes(c *standardClaims, now time.Time, id *Identity) error {
	leeway := a.jwt.Leeway
	switch {
	case c.Exp == nil && a.jwt.RequireExp:
		return unauthenticated("token has no exp")
	case c.Exp != nil && !now.Before(time.Time(*c.Exp).Add(leeway)):
		return unauthenticated("token expired")
	case c.Nbf != nil && now.Add(leeway).Before(time.Time(*c.Nbf)):
		return unauthenticated("token is not valid yet")
	case c.Iat != nil && now.Add(leeway).Before(time.Time(*c.Iat)):
		return unauthenticated("token was issued in the future")
	}
	if c.Exp != nil {
		id.ExpiresAt = time.Time(*c.Exp).Add(leeway)
	}
	return nil
}
