package ws

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
)

const tokenSecret = "0123456789abcdef0123456789abcdef"

// annsToken lets ann in until 2100, with a channel and a grant.
func annsToken(secret string) string {
	return signedBy(secret, `{"sub":"ann","exp":4102444800,"channels":["token","more.*"]}`)
}

// signed is a token with these claims.
func signed(claims string) string { return signedBy(tokenSecret, claims) }

func signedBy(secret, claims string) string {
	enc := base64.RawURLEncoding
	t := enc.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + enc.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(mac, t)
	return t + "." + enc.EncodeToString(mac.Sum(nil))
}

func withTokens(c *config.Config) {
	c.Auth.JWT.Secret, c.Auth.JWT.Leeway = tokenSecret, time.Second
	c.Auth.JWT.Sources = []string{"header", "protocol"}
}

func TestToken_EndsTheConnectionAtExpPlusLeeway(t *testing.T) {
	n := newNode(t, roads[0], withTokens)
	exp := time.Now().Add(time.Second).Unix()
	c, _ := n.connect(t, "Authorization: Bearer "+signed(fmt.Sprintf(`{"sub":"ann","exp":%d}`, exp))+"\r\n", nil)
	c.hearsClose(CodeExpired)
	if early := time.Until(time.Unix(exp, 0).Add(time.Second)); early > 0 {
		t.Errorf("closed %v too early", early)
	}
}

// TestToken_ThatEndsInManyYearsKeepsTheConnection: the ticks of an exp 6.81 years
// ahead wrapped, and it was closed after 50 ms.
func TestToken_ThatEndsInManyYearsKeepsTheConnection(t *testing.T) {
	n := newNode(t, roads[0], withTokens)
	var all []*client
	for _, exp := range []string{
		fmt.Sprint(time.Now().Add(6*year + 81*year/100).Unix()), fmt.Sprint(time.Now().Add(100 * year).Unix()),
		"9223372036854775807", "1e300",
	} {
		c, _ := n.connect(t, "Authorization: Bearer "+signed(`{"sub":"ann","exp":`+exp+`}`)+"\r\n", nil)
		all = append(all, c)
	}
	for began := time.Now(); time.Since(began) < 6*tickLength; {
		for _, c := range all {
			c.write(ping("p"), oneWrite)
			c.hears(aPong("p"))
		}
	}
}

func TestToken_InASubprotocolIsNotEchoedBesideAnother(t *testing.T) {
	n := newNode(t, roads[0], withTokens)
	good, bad := "bearer."+signed(`{"sub":"ann","exp":4102444800}`), "bearer."+annsToken("another")
	f := func(offer, selected string, status int) {
		t.Helper()
		resp, body := n.ask(t, "+Sec-WebSocket-Protocol: "+offer)
		if got := resp.Header.Get("Sec-WebSocket-Protocol"); resp.StatusCode != status || got != selected {
			t.Errorf("%.20s: got %d %s, %q selected, want %d and %q", offer, resp.StatusCode, body, got, status, selected)
		}
	}
	f("pushcart.raw.v1, "+good, "pushcart.raw.v1", 101)
	f(good+", pushcart.raw.v1", "pushcart.raw.v1", 101)
	f(good, good, 101) // browsers insist
	f("pushcart.raw.v1, "+bad, "", 401)
	f("pushcart.raw.v1", "pushcart.raw.v1", 101) // anonymous is allowed
}
