package json

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
)

func ending(user string, in time.Duration, channels string) (string, int64) {
	exp := time.Now().Add(in).Unix()
	return token(fmt.Sprintf(`{"sub":%q,"channels":%s,"exp":%d}`, user, channels, exp)), exp
}

func refresh(token string) string { return `{"type":"refresh","id":8,"token":"` + token + `"}` }

func TestRefresh_ReplacesGrantsAndTheEnd(t *testing.T) {
	r := newRig(t, nil)
	old, _ := ending("ann", time.Minute, `["exact","gone","pat.*","plain.exact"]`)
	c, _ := r.join(old, "")
	for _, ch := range []string{"pat.a", "pat.b", "open.a"} {
		if got := c.ask(`{"type":"subscribe","id":1,"channel":"` + ch + `"}`); !strings.HasPrefix(got, `{"type":"ok"`) {
			t.Fatalf("%s: %s", ch, got)
		}
	}
	next, exp := ending("ann", time.Hour, `["exact","pat.b","new.*"]`)
	got := map[string]bool{}
	c.send(refresh(next))
	for range 3 {
		got[c.next()] = true
	}
	for _, want := range []string{
		`{"type":"unsubscribed","channel":"gone"}`, `{"type":"unsubscribed","channel":"pat.a"}`,
		fmt.Sprintf(`{"type":"ok","id":8,"expires_at":%d}`, exp+30), // with auth.jwt.leeway
	} {
		if !got[want] {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	// plain.* is open to all, so that the token did not give it alone.
	if got := strings.Join(c.Member().Channels(), " "); got != "exact plain.exact pat.b open.a" {
		t.Errorf("subscribed to %s", got)
	}
	if got := c.session.Expires().Unix(); got != exp+30 {
		t.Errorf("ends at %d, want %d", got, exp+30)
	}
	if got := c.ask(`{"type":"subscribe","id":1,"channel":"pat.a"}`); got != `{"type":"error","id":1,`+notAllowed {
		t.Errorf("an old grant: got %s", got)
	}
	if got := c.ask(`{"type":"subscribe","id":1,"channel":"new.a"}`); !strings.HasPrefix(got, `{"type":"ok"`) {
		t.Errorf("a new grant: got %s", got)
	}
	c.none()
}

func TestRefresh_IsRefused(t *testing.T) {
	r := newRig(t, nil)
	c, _ := r.join(tokenFor("ann", "news"), "")
	before := c.session.Expires()
	f := func(token, code, says string) {
		t.Helper()
		if got := c.ask(refresh(token)); got != failure("8", code, says) {
			t.Errorf("got %s", got)
		}
	}
	f("nonsense", "unauthenticated", "not a token")
	f(tokenFor("ann")+"x", "unauthenticated", "token's signature is not valid")
	f(tokenFor("bob"), "forbidden", "the token is another user's")
	f(token(`{"exp":4102444800}`), "unauthenticated", "token's claim sub is missing")
	old, _ := ending("ann", -time.Hour, `[]`)
	f(old, "unauthenticated", "token expired")
	if c.session.Expires() != before || len(c.Member().Channels()) != 1 {
		t.Error("a refused token changed something")
	}
	nobody, _ := r.join("", "")
	if got := nobody.ask(refresh(tokenFor("ann"))); got != failure("8", "forbidden", "the token is another user's") {
		t.Errorf("anonymous: got %s", got)
	}
	r = newRig(t, func(c *config.Config) { c.Auth.JWT.Secret = "" })
	nobody, _ = r.join("", "")
	if got := nobody.ask(refresh(tokenFor("ann"))); got != failure("8", "not_found", "tokens are not verified here") {
		t.Errorf("without auth.jwt: got %s", got)
	}
}

// The connect answer gave the connection another user than its token has, channels, and an
// end: a new token of the same subject changes none of these.
func TestRefresh_LeavesWhatTheConnectAnswerGave(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Webhook.Events = append(c.Webhook.Events, "connect") })
	latest := time.Now().Add(2 * time.Hour).Unix()
	r.app(func(w http.ResponseWriter, event, body string) {
		_, _ = io.WriteString(w, fmt.Sprintf(`{"user_id":"42","channels":["given","given.*"],"expires_at":%d,"messages":["hi",{"a":1}]}`, latest))
	})
	first, _ := ending("ann", time.Minute, `["granted"]`)
	c, welcome := r.join(first, "")
	if !strings.Contains(welcome, `"user_id":"42"`) {
		t.Errorf("got %s", welcome)
	}
	c.wants(`{"type":"message","data":"hi"}`, `{"type":"message","data":{"a":1}}`)
	c.ask(`{"type":"subscribe","id":1,"channel":"given.a"}`)
	late, _ := ending("ann", 3*time.Hour, `[]`)
	c.send(refresh(late))
	c.wants(`{"type":"unsubscribed","channel":"granted"}`, fmt.Sprintf(`{"type":"ok","id":8,"expires_at":%d}`, latest))
	if got := strings.Join(c.Member().Channels(), " "); got != "given given.a" {
		t.Errorf("subscribed to %s", got)
	}
	if got := c.ask(refresh(tokenFor("42"))); got != failure("8", "forbidden", "the token is another user's") {
		t.Errorf("got %s", got)
	}
}

func own(channel, token string) string {
	return `{"type":"subscribe","id":1,"channel":"` + channel + `","token":"` + token + `"}`
}

func TestSubscribe_WithATokenOfItsOwn(t *testing.T) {
	r := newRig(t, nil)
	ann, _ := r.join(tokenFor("ann"), "")
	f := func(frame, want string) {
		t.Helper()
		if got := ann.ask(frame); !strings.HasPrefix(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	no := `{"type":"error","id":1,` + notAllowed
	f(own("a", tokenFor("ann", "b", "c.*")), no)
	f(own("a", tokenFor("bob", "a")), failure("1", "forbidden", "the token is another user's"))
	f(own("a", tokenFor("ann", "a")+"x"), failure("1", "unauthenticated", "token's signature is not valid"))
	f(own("none.a", tokenFor("ann", "none.a")), no)
	f(own("mine.bob.a", tokenFor("ann", "mine.bob.a")), no)
	f(own("a", tokenFor("ann", "a")), `{"type":"ok"`)
	f(own("c.x", token(`{"channels":"c.*","exp":4102444800}`)), `{"type":"ok"`)
	ann.send(`{"type":"publish","id":1,"channel":"c.x","data":1}`)
	if x, y := ann.next(), ann.next(); !strings.Contains(x+y, `{"type":"ok","id":1`) || !strings.Contains(x+y, `{"type":"message"`) {
		t.Errorf("publish: got %s, %s", x, y)
	}
	f(`{"type":"publish","id":1,"channel":"c.y","data":1}`, failure("1", "forbidden", mayNotPublish))
	f(`{"type":"history","id":1,"channel":"a"}`, `{"type":"ok"`)
	f(`{"type":"subscribe","id":1,"channel":"a"}`, `{"type":"ok"`) // it is already
	// The connection's token is another.
	f(refresh(tokenFor("ann")), `{"type":"ok"`)
	if got := strings.Join(ann.Member().Channels(), " "); got != "a c.x" {
		t.Errorf("subscribed to %s", got)
	}
	f(`{"type":"unsubscribe","id":1,"channel":"a"}`, `{"type":"ok"`)
	f(`{"type":"subscribe","id":1,"channel":"a"}`, no)
	r = newRig(t, func(c *config.Config) { c.Auth.JWT.Secret = "" })
	nobody, _ := r.join("", "")
	if got := nobody.ask(own("a", tokenFor("ann", "a"))); got != failure("1", "not_found", "tokens are not verified here") {
		t.Errorf("without auth.jwt: got %s", got)
	}
}

// At the end of its token a subscription ends, unless a fresh one came, or another right
// was there.
func TestSubscribe_EndsWithItsToken(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Auth.JWT.Leeway = 0 })
	c, _ := r.join(tokenFor("ann", "both"), "")
	soon, _ := ending("ann", 2*time.Second, `["x","fresh","both","plain.a","left"]`)
	for _, ch := range []string{"x", "fresh", "both", "plain.a", "left"} {
		if got := c.ask(own(ch, soon)); !strings.HasPrefix(got, `{"type":"ok"`) {
			t.Fatalf("%s: %s", ch, got)
		}
	}
	later, _ := ending("ann", time.Hour, `["fresh"]`)
	if got := c.ask(own("fresh", later)); !strings.HasPrefix(got, `{"type":"ok"`) {
		t.Fatal(got)
	}
	c.ask(`{"type":"unsubscribe","id":1,"channel":"left"}`)
	c.wants(`{"type":"unsubscribed","channel":"x"}`)
	c.none()
	if got := strings.Join(c.Member().Channels(), " "); got != "both fresh plain.a" {
		t.Errorf("subscribed to %s", got)
	}
}
