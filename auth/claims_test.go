package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
)

// TestToken_ClaimsAreMatchedByTheirExactNames: encoding/json takes EXP, or iſs with
// a long s, for the claim, and the last of several.
func TestToken_ClaimsAreMatchedByTheirExactNames(t *testing.T) {
	a := newAuth(t, func(c *config.Auth) {
		withSecret(c)
		c.JWT.Audience, c.JWT.Issuer = "app", "idp"
	})
	later, past := in(time.Hour), in(-time.Hour)
	good := fmt.Sprintf(`"sub":"ann","aud":"app","iss":"idp","exp":%d`, later)
	f := func(claims, says string) {
		t.Helper()
		id, err := a.Token(t.Context(), compact(`{"alg":"HS256"}`, "{"+claims+"}", hs256(secret)))
		switch {
		case says == "" && (err != nil || id.User != "ann" || id.ExpiresAt.Before(time.Now())):
			t.Errorf("%s: got %+v, %v, want it taken", claims, id, err)
		case says != "" && (!errors.Is(err, ErrUnauthenticated) || !strings.Contains(err.Error(), says)):
			t.Errorf("%s: got %v, want a refusal with %q", claims, err, says)
		}
	}
	for _, other := range []string{
		fmt.Sprintf(`"EXP":%d`, past), fmt.Sprintf(`"Nbf":%d`, later), fmt.Sprintf(`"IAT":%d`, later),
		`"Iss":"x"`, `"iſs":"x"`, `"AUD":"x"`, `"Sub":"eve"`, `"Channels":5`, `"Exp":"my own"`, `"eXp":{}`,
	} {
		f(good+","+other, "")
		f(other+","+good, "")
	}
	f(fmt.Sprintf(`"sub":"ann","aud":"app","iss":"idp","EXP":%d`, later), "no exp")
	f(fmt.Sprintf(`"sub":"ann","aud":"app","iss":"idp","exp":%d,"EXP":%d`, past, later), "expired")
	f(fmt.Sprintf(`"sub":"ann","aud":"app","iſs":"idp","exp":%d`, later), "issuer")
	f(fmt.Sprintf(`"sub":"ann","Aud":"app","iss":"idp","exp":%d`, later), "audience")
	f(fmt.Sprintf(`"Sub":"ann","aud":"app","iss":"idp","exp":%d`, later), "sub is missing")
	for _, again := range []string{
		fmt.Sprintf(`"exp":%d`, later), fmt.Sprintf(`"e\u0078p":%d`, past), `"sub":"ann"`, `"aud":"app"`, `"iss":"idp"`, `"x":1,"x":2`,
	} {
		f(good+","+again, "twice")
	}
}

func TestToken_HeaderIsMatchedByExactNames(t *testing.T) {
	a := newAuth(t, withSecret)
	claims := fmt.Sprintf(`{"sub":"ann","exp":%d}`, in(time.Hour))
	f := func(header string, good bool) {
		t.Helper()
		_, err := a.Token(t.Context(), compact(header, claims, hs256(secret)))
		if good != (err == nil) || err != nil && !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%s: got %v, want it taken: %v", header, err, good)
		}
	}
	f(`{"alg":"HS256","typ":"JWT","kid":null}`, true)
	f(`{"alg":"HS256","ALG":"none","Kid":{},"Crit":"x","cRit":["x"]}`, true)
	f(`{"ALG":"HS256"}`, false)
	f(`{"alg":"none","Alg":"HS256"}`, false)
	f(`{"alg":"none","alg":"HS256"}`, false)
	f(`{"alg":"HS256","alg":"HS256"}`, false)
	f(`{"alg":"HS256","kid":"a","kid":"b"}`, false)
	f(`{"alg":"HS256","kid":{}}`, false)
	f(`{"alg":"HS256","crit":["b64"],"b64":false}`, false)
	f(`{"alg":"HS256","crit":[]}`, false) // RFC 7515 §4.1.11
	f(`{"alg":"HS256","crit":"exp"}`, false)
	f(`{"alg":["HS256"]}`, false)
	f(`null`, false)
}

func TestToken_ChannelsMayBeOneString(t *testing.T) {
	a := newAuth(t, withSecret)
	claims := fmt.Sprintf(`{"sub":"ann","channels":"news","exp":%d}`, in(time.Hour))
	id, err := a.Token(t.Context(), compact(`{"alg":"HS256"}`, claims, hs256(secret)))
	if err != nil || len(id.Channels) != 1 || id.Channels[0] != "news" {
		t.Errorf("got %+v, %v", id, err)
	}
}

func TestToken_WithoutExpWhereItIsNotRequired(t *testing.T) {
	a := newAuth(t, func(c *config.Auth) {
		withSecret(c)
		c.JWT.RequireExp = false
	})
	f := func(claims string, good bool) {
		t.Helper()
		id, err := a.Token(t.Context(), compact(`{"alg":"HS256"}`, claims, hs256(secret)))
		if (err == nil) != good || !id.ExpiresAt.IsZero() {
			t.Errorf("%s: got %+v, %v, want it taken: %v", claims, id, err, good)
		}
	}
	f(`{"sub":"ann"}`, true)
	f(`{"sub":"ann","exp":null,"nbf":null,"iat":null,"channels":null}`, true) // as if absent
	f(`{"sub":"ann","exp":0}`, false)
	f(`{"sub":"ann","exp":-62135596800}`, false) // the zero time.Time
	f(`{"sub":"ann","exp":"soon"}`, false)
}

func TestToken_ExpFarAwayDoesNotWrap(t *testing.T) {
	a := newAuth(t, withSecret)
	for _, exp := range []string{"9007199254740993", "9223372036854775807", "18446744073709551616", "1e300"} {
		id, err := a.Token(t.Context(), compact(`{"alg":"HS256"}`, `{"sub":"ann","exp":`+exp+`}`, hs256(secret)))
		if err != nil || time.Until(id.ExpiresAt) < 200*365*24*time.Hour {
			t.Errorf("%s: got %v, %v", exp, id.ExpiresAt, err)
		}
	}
}

func TestUserAt(t *testing.T) {
	f := func(doc, path, want string, wantErr bool) {
		t.Helper()
		if got, err := userAt([]byte(doc), path); got != want || (err != nil) != wantErr {
			t.Errorf("%s in %s: got %q, %v, want %q", path, doc, got, err, want)
		}
	}
	f("\xef\xbb\xbf{\"user\":{\"id\":42}}", "/user/id", "42", false)
	f(`{"User":{"id":"eve"},"user":{"ID":"eve","id":"ann"}}`, "/user/id", "ann", false)
	f(`{"id":12345678901234567890123}`, "/id", "12345678901234567890123", false)
	f(`{"other":{"a":1,"a":2},"id":"ann"}`, "/id", "ann", false)
	f(`{"user":{"id":"ann","id":"eve"}}`, "/user/id", "", true)
	f(`{"user":{"id":"ann"},"user":{}}`, "/user/id", "", true)
	f(`{"x":1,"x":2,"id":"ann"}`, "/id", "", true) // nobody knows which of its lines the app meant
	f(`[{"id":"ann","id":"eve"}]`, "/0/id", "", true)
	f(`{"USER":{"id":"ann"}}`, "/user/id", "", true)
	f(`{"id":1.5}`, "/id", "", true)
	f(`{"id":"\ud800"}`, "/id", "", true)
	f(`{"id":"ann"`, "/id", "", true)
	f(``, "/id", "", true)
}
