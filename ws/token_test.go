package ws

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
)

// signed is a token with these claims.
func signed(claims string) string {
	enc := base64.RawURLEncoding
	t := enc.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + enc.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(tokenSecret))
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

// Ids are numbers, PHP sends one channel as a string, some write a byte order mark.
func TestIdentify_TakesWhatBackendsWrite(t *testing.T) {
	a := newApp(t)
	id, r := a.identify(t, ways{connect: "php"})
	if r != nil || id.user != "42" || len(id.channels) != 1 || id.channels[0] != "news" || id.expires.Unix() != 4102444800 {
		t.Errorf("connect: got %+v, %+v", id, r)
	}
	if id, r := a.identify(t, ways{forward: "php"}); r != nil || id.user != "42" {
		t.Errorf("forward: got %+v, %+v", id, r)
	}
	if _, r := a.identify(t, ways{connect: "twice", anonymous: true}); r == nil || r.status != http.StatusServiceUnavailable {
		t.Errorf("a connect answer with two users: got %+v, want 503", r)
	}
	if _, r := a.identify(t, ways{forward: "twice"}); r == nil || r.status != http.StatusUnauthorized {
		t.Errorf("a forward answer with two users: got %+v, want 401", r)
	}
}
