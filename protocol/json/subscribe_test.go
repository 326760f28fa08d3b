package json

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/session"
)

const (
	notAllowed  = `"code":"forbidden","message":"not allowed to subscribe to this channel"}`
	backendSays = `"code":"forbidden","message":"the backend refused"}`
)

func TestSubscribe_ByEveryWord(t *testing.T) {
	r := newRig(t, nil)
	r.app(func(w http.ResponseWriter, event, body string) {
		if strings.Contains(body, "asked.no") {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	ann, _ := r.join(tokenFor("ann", "granted.name", "granted.*.x", "bad.***"), "")
	nobody, _ := r.join("", "")
	f := func(channel string, anns, others string) {
		t.Helper()
		for c, want := range map[*client]string{ann: anns, nobody: others} {
			want := `{"type":"` + want
			if strings.HasSuffix(want, "ok") {
				want += `","id":1,"channel":"` + channel + `"`
			} else {
				want = `{"type":"error","id":1,` + want[9:]
			}
			if got := c.ask(`{"type":"subscribe","id":1,"channel":"` + channel + `"}`); !strings.HasPrefix(got, want) {
				t.Errorf("%s: got %s, want %s", channel, got, want)
			}
		}
	}
	f("open.a", "ok", "ok")
	f("plain.a", "ok", "ok")
	f("users.a", "ok", notAllowed)
	f("none.a", notAllowed, notAllowed)
	f("granted.name", "ok", notAllowed)
	f("granted.a.x", "ok", notAllowed)
	f("granted.a.b.x", notAllowed, notAllowed)
	f("bad.a", notAllowed, notAllowed)
	f("asked.yes", "ok", "ok")
	f("asked.no", backendSays, backendSays)
	// The id in {user} is the one who asks, and nobody else; later rules are not asked.
	f("mine.ann.x.y", "ok", notAllowed)
	f("mine.bob.x", notAllowed, notAllowed)
	f("mine..x", notAllowed, notAllowed)
	want := []string{
		`subscribe application/json {"channel":"asked.yes"}`, `subscribe application/json {"channel":"asked.yes"}`,
		`subscribe application/json {"channel":"asked.no"}`, `subscribe application/json {"channel":"asked.no"}`,
	}
	if got := r.events(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the app was asked %q", got)
	}
}

// Ids under {user} are one segment and no pattern, whatever is in them.
func TestSubscribe_StrangeUsers(t *testing.T) {
	r := newRig(t, nil)
	long := strings.Repeat("é", 120)
	for user, segment := range map[string]string{
		"a.b": "a%2Eb", "*": "%2A", "**": "%2A%2A", "100%": "100%25", "a%2Eb": "a%252Eb", long: long, "κόσμε 🚀": "κόσμε 🚀", "{user}": "{user}",
	} {
		c, _ := r.join(tokenFor(user), "")
		if got := c.ask(`{"type":"subscribe","id":1,"channel":"mine.` + segment + `.x"}`); !strings.HasPrefix(got, `{"type":"ok"`) {
			t.Errorf("%s: got %s", user, got)
		}
		for _, other := range []string{"mine." + user + ".y", "mine.a.b.x", "mine.b.x", "mine.A%2Eb.x", "mine.a%2eb.x"} {
			if strings.Contains(other, "*") || other == "mine."+segment+".y" {
				continue
			}
			if got := c.ask(`{"type":"subscribe","id":1,"channel":"` + other + `"}`); !strings.HasSuffix(got, notAllowed) {
				t.Errorf("%s: %s: got %s", user, other, got)
			}
		}
	}
}

func TestSubscribe_FromAPositionAndRecent(t *testing.T) {
	r := newRig(t, nil)
	for _, n := range []string{"1", "2", "3"} {
		r.say("open.a", n)
	}
	epoch := r.say("open.a", "4").Positions[0].Epoch
	at := func(offset, epoch string) string {
		return `"position":{"offset":` + offset + `,"epoch":"` + epoch + `"}`
	}
	f := func(more string, want ...string) {
		t.Helper()
		c, _ := r.join("", "")
		c.send(`{"type":"subscribe","id":"s","channel":"open.a"` + more + `}`)
		c.wants(want...)
		c.none()
	}
	ok := `{"type":"ok","id":"s","channel":"open.a","position":{"offset":4,"epoch":"e"}`
	three, four := `{"type":"message","channel":"open.a","data":3,"offset":3}`, `{"type":"message","channel":"open.a","data":4,"offset":4}`
	f("", ok+`}`)
	f(`,"recent":2`, ok+`}`, three, four)
	f(`,"recent":0`, ok+`}`)
	f(","+at("2", epoch), ok+`,"recovered":true}`, three, four)
	f(","+at("4", epoch), ok+`,"recovered":true}`)
	gap := `{"type":"gap","channel":"open.a","position":{"offset":4,"epoch":"e"}}`
	f(","+at("5", epoch), ok+`,"recovered":false}`, gap)                    // of the future
	f(","+at("18446744073709551615", epoch), ok+`,"recovered":false}`, gap) // as far as it goes
	f(","+at("2", "other"), ok+`,"recovered":false}`, gap)                  // of a foreign epoch
	f(","+at("2", r.say("open.b", "1").Positions[0].Epoch), ok+`,"recovered":false}`, gap)
	for range keeping {
		r.say("open.a", "0")
	}
	c, _ := r.join("", "")
	c.send(`{"type":"subscribe","id":"s","channel":"open.a",` + at("2", epoch) + `}`)
	c.wants(`{"type":"ok","id":"s","channel":"open.a","position":{"offset":54,"epoch":"e"},"recovered":false}`,
		`{"type":"gap","channel":"open.a","position":{"offset":54,"epoch":"e"}}`)
	c.none()
	// Where nothing is kept nothing is recovered.
	c.send(`{"type":"subscribe","id":"s","channel":"plain.a",` + at("2", epoch) + `}`)
	c.wants(`{"type":"ok","id":"s","channel":"plain.a","recovered":false}`)
}

func TestSubscribe_TwiceUnsubscribeAndLimits(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Limits.ChannelsPerConnection = 2 })
	c, _ := r.join("", "")
	ok := func(channel string) string { return `{"type":"ok","id":1,"channel":"` + channel + `"}` }
	for _, ch := range []string{"plain.a", "plain.b", "plain.a"} {
		if got := c.ask(`{"type":"subscribe","id":1,"channel":"` + ch + `"}`); got != ok(ch) {
			t.Errorf("%s: got %s", ch, got)
		}
	}
	if got := c.ask(`{"type":"subscribe","id":1,"channel":"plain.c"}`); got != `{"type":"error","id":1,"code":"rate_limited","message":"the connection is at its limit of channels"}` {
		t.Errorf("one too many: got %s", got)
	}
	r.say("plain.a", "1")
	c.wants(`{"type":"message","channel":"plain.a","data":1}`) // once
	for range 2 {
		if got := c.ask(`{"type":"unsubscribe","id":2,"channel":"plain.a"}`); got != `{"type":"ok","id":2}` {
			t.Errorf("got %s", got)
		}
	}
	r.say("plain.a", "2")
	if got := c.ask(`{"type":"subscribe","id":1,"channel":"plain.c"}`); got != ok("plain.c") {
		t.Errorf("got %s", got)
	}
	// Without an id nothing comes back but an error.
	c.send(`{"type":"unsubscribe","channel":"plain.b"}`)
	c.send(`{"type":"subscribe","channel":"none.x"}`)
	c.wants(`{"type":"error",` + notAllowed)
	c.send(`{"type":"subscribe","channel":"plain.b"}`)
	if got := c.ask(`{"type":"subscribe","id":1,"channel":"plain.b"}`); got != ok("plain.b") { // the first was carried out before
		t.Errorf("got %s", got)
	}
	r.say("plain.b", "3")
	c.wants(`{"type":"message","channel":"plain.b","data":3}`)
}

// While the backend is asked about a subscription, the client goes on talking; what is
// about the channel is answered in order.
func TestUnsubscribe_WhileTheWebhookIsUnderWay(t *testing.T) {
	r := newRig(t, nil)
	hold := make(chan struct{})
	r.app(func(w http.ResponseWriter, event, body string) { <-hold })
	c, _ := r.join("", "")
	c.send(`{"type":"subscribe","id":1,"channel":"asked.a"}`)
	c.send(`{"type":"unsubscribe","id":2,"channel":"asked.a"}`)
	c.send(`{"type":"subscribe","id":3,"channel":"open.b"}`)
	c.wants(`{"type":"ok","id":3,"channel":"open.b","position":{"offset":0,"epoch":"e"}}`)
	close(hold)
	c.wants(`{"type":"ok","id":1,"channel":"asked.a","position":{"offset":0,"epoch":"e"}}`, `{"type":"ok","id":2}`)
	if got := c.Member().Channels(); len(got) != 1 || got[0] != "open.b" {
		t.Errorf("subscribed to %q", got)
	}
}

func TestSubscribe_WhenTheBackendDoesNotAnswer(t *testing.T) {
	for onError, want := range map[string]string{
		config.Deny:  `{"type":"error","id":1,"code":"unavailable","message":"the backend did not answer"}`,
		config.Allow: `{"type":"ok","id":1,"channel":"asked.a","position":{"offset":0,"epoch":"e"}}`,
	} {
		r := newRig(t, func(c *config.Config) { c.Webhook.OnError.Subscribe = onError })
		r.app(func(w http.ResponseWriter, event, body string) { w.WriteHeader(http.StatusServiceUnavailable) })
		c, _ := r.join("", "")
		if got := c.ask(`{"type":"subscribe","id":1,"channel":"asked.a"}`); got != want {
			t.Errorf("%s: got %s", onError, got)
		}
		if got := r.events(); len(got) != 1 {
			t.Errorf("asked %q, want once", got)
		}
	}
}

// The rules are asked at each request; a reload leaves what is there.
func TestRules_ChangeForWhatComes(t *testing.T) {
	r := newRig(t, nil)
	c, _ := r.join("", "")
	c.ask(`{"type":"subscribe","id":1,"channel":"open.a"}`)
	cfg := config.Default()
	cfg.Channels[0].Subscribe = config.Nobody
	s, err := session.NewSettings(session.Sections{WebSocket: cfg.WebSocket, Limits: cfg.Limits, Channels: cfg.Channels, Users: cfg.Users}, nil, nil)
	must(t, err)
	r.engine.Apply(s)
	if got := c.ask(`{"type":"subscribe","id":1,"channel":"open.b"}`); !strings.HasSuffix(got, notAllowed) {
		t.Errorf("got %s", got)
	}
	r.say("open.a", "1")
	c.wants(`{"type":"message","channel":"open.a","data":1,"offset":1}`)
}
