package json

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
)

func (r *rig) put(user, channel string) {
	r.t.Helper()
	must(r.t, r.hub.SubscribeUser(r.t.Context(), user, channel))
}

func (r *rig) del(user, channel string) {
	r.t.Helper()
	must(r.t, r.hub.UnsubscribeUser(r.t.Context(), user, channel))
}

func TestLasting_OpenConnectionsAreToldAndWelcomeNamesThem(t *testing.T) {
	r := newRig(t, nil)
	at := r.say("none.a", "1")
	c, welcome := r.join(tokenFor("ann"), "")
	if strings.Contains(welcome, "channels") && !strings.Contains(welcome, `"channels":{}`) {
		t.Errorf("welcome: %s", welcome)
	}
	r.put("ann", "room.1")
	r.put("ann", "none.a") // whatever the rules let clients do
	first := c.next()
	if !strings.HasPrefix(first, `{"type":"subscribed","channel":"room.1","position":{`) {
		t.Errorf("got %s", first)
	}
	c.wants(`{"type":"subscribed","channel":"none.a"}`)
	r.say("none.a", "2")
	if got := c.next(); !strings.Contains(got, `"channel":"none.a"`) || !strings.Contains(got, `"data":2`) {
		t.Errorf("got %s", got)
	}
	if len(at.Positions) != 0 {
		t.Fatal("none.* keeps nothing")
	}
	late, welcome := r.join(tokenFor("ann"), "")
	if !strings.Contains(welcome, `"none.a":{}`) || !strings.Contains(welcome, `"room.1":{"offset":0,"epoch":`) {
		t.Errorf("welcome: %s", welcome)
	}
	other, welcome := r.join(tokenFor("bob"), "")
	if strings.Contains(welcome, "room.1") {
		t.Errorf("welcome of another: %s", welcome)
	}
	r.del("ann", "none.a")
	for _, c := range []*client{c, late} {
		c.wants(`{"type":"unsubscribed","channel":"none.a"}`)
		c.none()
	}
	other.none()
}

// A client that comes back gets what it missed of a lasting subscription, which no rule
// would give it.
func TestLasting_IsResumed(t *testing.T) {
	r := newRig(t, nil)
	r.put("ann", "room.1")
	at := r.say("room.1", "1").Positions[0].Position
	r.say("room.1", "2")
	r.say("room.1", "3")
	c, welcome := r.join(tokenFor("ann"), strings.TrimSuffix(string(resumeQuery(
		fmt.Sprintf(`{"channels":{"room.1":{"offset":%d,"epoch":%q}}}`, at.Offset, at.Epoch))), "&c"))
	if !strings.Contains(welcome, `"recovered":true`) || strings.Contains(welcome, "refused") {
		t.Errorf("welcome: %s", welcome)
	}
	for _, want := range []string{`"data":2`, `"data":3`} {
		if got := c.next(); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	c.none()
}

// What lasts stands on no token, also if the token names it too.
func TestLasting_OutlivesTheToken(t *testing.T) {
	r := newRig(t, nil)
	r.put("ann", "room.1")
	c, welcome := r.join(tokenFor("ann", "room.1", "room.2"), "")
	if !strings.Contains(welcome, `"room.1"`) || !strings.Contains(welcome, `"room.2"`) {
		t.Errorf("welcome: %s", welcome)
	}
	c.send(fmt.Sprintf(`{"type":"refresh","id":1,"token":%q}`, tokenFor("ann")))
	got := []string{c.next(), c.next()}
	if !strings.Contains(strings.Join(got, " "), `{"type":"unsubscribed","channel":"room.2"}`) {
		t.Errorf("got %q", got)
	}
	c.none()
	r.say("room.1", "1")
	if got := c.next(); !strings.Contains(got, `"data":1`) {
		t.Errorf("got %s", got)
	}
}

func TestLasting_ConnectsThatCrossChangesMissNone(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Webhook = config.Default().Webhook })
	deadline := time.Now().Add(time.Second)
	for i := 0; time.Now().Before(deadline); i++ {
		channel, tok := fmt.Sprint("room.", i%2), tokenFor("ann")
		done := make(chan error, 1)
		go func() { done <- r.hub.SubscribeUser(t.Context(), "ann", channel) }()
		c, welcome := r.join(tok, "")
		must(t, <-done)
		r.say(channel, "1")
		for got := welcome; !strings.Contains(got, `"data":1`); got = c.next() {
			if strings.Contains(got, `"type":"unsubscribed"`) {
				t.Fatalf("got %s", got)
			}
		}
		go func() { done <- r.hub.UnsubscribeUser(t.Context(), "ann", channel) }()
		late, _ := r.join(tok, "")
		must(t, <-done)
		for _, c := range []*client{c, late} {
			if got := c.Member().Channels(); len(got) != 0 {
				t.Fatalf("round %d: still in %q", i, got)
			}
		}
	}
}
