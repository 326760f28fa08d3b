package auth

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/pushcart/pushcart/internal/names"
	"github.com/pushcart/pushcart/internal/strictjson"
)

// claims checks a payload whose signature is good (RFC 7519 §4.1). A claim that is
// null is absent. anybody: it need not name a user.
func (a *Authenticator) claims(payload []byte, now time.Time, anybody bool) (Identity, error) {
	all, err := strictjson.Object(payload)
	switch {
	case errors.Is(err, strictjson.ErrTwice):
		return Identity{}, unauthenticated("auth.jwt", "token has a claim twice")
	case err != nil:
		return Identity{}, unauthenticated("auth.jwt", "token's claims cannot be read")
	}
	id := Identity{Claims: payload}
	if id.ExpiresAt, err = a.checkTimes(all, now); err != nil {
		return Identity{}, err
	}
	if err := a.checkOrigin(all); err != nil {
		return Identity{}, err
	}
	user := all[a.jwt.UserClaim]
	if id.User, err = userValue(user); err != nil && !(anybody && strictjson.Null(user)) {
		return Identity{}, badClaim("auth.jwt.user_claim", a.jwt.UserClaim, err)
	}
	if raw := all[a.jwt.ChannelsClaim]; !strictjson.Null(raw) {
		if id.Channels, err = strictjson.Texts(raw); err != nil {
			return Identity{}, badClaim("auth.jwt.channels_claim", a.jwt.ChannelsClaim, err)
		}
	}
	for _, ch := range id.Channels {
		if names.CheckUser(ch) != nil { // patterns are grants
			return Identity{}, badClaim("auth.jwt.channels_claim", a.jwt.ChannelsClaim, errors.New("has a bad name"))
		}
	}
	return id, nil
}

// checkTimes returns when the token ends, leeway included; zero if it has no exp.
func (a *Authenticator) checkTimes(all map[string]json.RawMessage, now time.Time) (ends time.Time, err error) {
	var exp, nbf, iat time.Time // zero: absent
	for _, claim := range [...]struct {
		name string
		into *time.Time
	}{{"exp", &exp}, {"nbf", &nbf}, {"iat", &iat}} {
		if raw := all[claim.name]; !strictjson.Null(raw) {
			if *claim.into, err = strictjson.Seconds(raw); err != nil {
				return time.Time{}, badClaim("auth.jwt", claim.name, err)
			}
		}
	}
	leeway := a.jwt.Leeway
	if !exp.IsZero() {
		ends = exp.Add(leeway)
	}
	switch {
	case exp.IsZero() && a.jwt.RequireExp:
		return ends, unauthenticated("auth.jwt.require_exp", "token has no exp")
	case !exp.IsZero() && !now.Before(ends):
		return ends, unauthenticated("auth.jwt.leeway", "token expired")
	case now.Add(leeway).Before(nbf):
		return ends, unauthenticated("auth.jwt.leeway", "token is not valid yet")
	case now.Add(leeway).Before(iat):
		return ends, unauthenticated("auth.jwt.leeway", "token was issued in the future")
	}
	return ends, nil
}

// checkOrigin looks at who made the token and for whom.
func (a *Authenticator) checkOrigin(all map[string]json.RawMessage) error {
	if want := a.jwt.Issuer; want != "" {
		if got, err := strictjson.Text(all["iss"]); err != nil || got != want {
			return unauthenticated("auth.jwt.issuer", "token has the wrong issuer")
		}
	}
	if want := a.jwt.Audience; want != "" {
		if got, err := strictjson.Texts(all["aud"]); err != nil || !slices.Contains(got, want) {
			return unauthenticated("auth.jwt.audience", "token has the wrong audience")
		}
	}
	return nil
}

func badClaim(key, name string, err error) error {
	return unauthenticated(key, "token's claim "+name+" "+err.Error())
}
