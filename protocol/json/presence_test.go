package json

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testkit"
)

// newRoom is a rig whose channels room.* keep who is there, of up to 3 members told, and
// some of them history.
func newRoom(t *testing.T) *rig {
	return newRig(t, func(c *config.Config) {
		keep := config.History{Messages: keeping, Age: time.Hour}
		c.Channels = append([]config.ChannelRule{
			{Match: "room.*", Subscribe: config.Anyone, Publish: config.Anyone, Presence: true, PresenceFrames: 3},
			{Match: "kept.*", Subscribe: config.Anyone, Publish: config.Anyone, Presence: true, PresenceFrames: 3, History: keep},
			{Match: "asked.*", Subscribe: config.ByWebhook, Presence: true},
			{Match: "mine.{user}", Subscribe: config.AnyUser, Presence: true},
		}, c.Channels...)
	})
}

var sinces = regexp.MustCompile(`,"since":"[^"]*"`)

// presence asks who is there, without the times.
func (c *client) presence(channel, more string) string {
	c.t.Helper()
	return sinces.ReplaceAllString(c.ask(`{"type":"presence","id":1,"channel":"`+channel+`"`+more+`}`), "")
}

func subscribed(t *testing.T, r *rig, user, channel string) *client {
	t.Helper()
	token := ""
	if user != "" {
		token = tokenFor(user)
	}
	c, _ := r.join(token, "")
	if got := c.ask(`{"type":"subscribe","id":0,"channel":"` + channel + `"}`); !strings.Contains(got, `"type":"ok"`) {
		t.Fatal(got)
	}
	return c
}

func TestPresence_TellsWhoComesAndGoes(t *testing.T) {
	for _, channel := range []string{"room.1", "kept.1"} {
		r := newRoom(t)
		ann := subscribed(t, r, "ann", channel)
		bob := subscribed(t, r, "bob", channel)
		ann.wants(`{"type":"join","channel":"` + channel + `","user_id":"bob"}`)
		other := subscribed(t, r, "bob", channel) // a second connection of his
		bob.ask(`{"type":"unsubscribe","id":2,"channel":"` + channel + `"}`)
		if got, want := ann.presence(channel, ""), `{"type":"ok","id":1,"users":[{"user_id":"ann","connections":1},{"user_id":"bob","connections":1}],"total":2}`; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		other.End(&hub.Cause{Why: hub.PeerClosed})
		ann.wants(`{"type":"leave","channel":"` + channel + `","user_id":"bob"}`)
		ann.none()
		bob.none()
	}
}

func TestPresence_KeepsTheOrderOfMessages(t *testing.T) {
	r := newRoom(t)
	ann := subscribed(t, r, "ann", "kept.1")
	r.say("kept.1", "1")
	bob := subscribed(t, r, "bob", "kept.1")
	r.say("kept.1", "2")
	bob.End(&hub.Cause{Why: hub.PeerClosed})
	r.say("kept.1", "3")
	ann.wants(
		`{"type":"message","channel":"kept.1","data":1,"offset":1}`, `{"type":"join","channel":"kept.1","user_id":"bob"}`,
		`{"type":"message","channel":"kept.1","data":2,"offset":2}`, `{"type":"leave","channel":"kept.1","user_id":"bob"}`,
		`{"type":"message","channel":"kept.1","data":3,"offset":3}`,
	)
}

func TestPresence_IsPausedInACrowd(t *testing.T) {
	r := newRoom(t)
	ann := subscribed(t, r, "ann", "room.1")
	var others []*client
	for _, user := range []string{"b", "c", "d", "e"} {
		others = append(others, subscribed(t, r, user, "room.1"))
	}
	ann.wants(`{"type":"join","channel":"room.1","user_id":"b"}`, `{"type":"join","channel":"room.1","user_id":"c"}`,
		`{"type":"presence","channel":"room.1","paused":true}`)
	for _, c := range others[1:] {
		c.End(&hub.Cause{Why: hub.PeerClosed})
	}
	if got, want := sinces.ReplaceAllString(ann.next(), ""),
		`{"type":"presence","channel":"room.1","paused":false,"users":[{"user_id":"ann","connections":1},{"user_id":"b","connections":1}]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	ann.none()
}

func TestPresence_ShowsInfo(t *testing.T) {
	r := newRoom(t)
	ann, _ := r.join(token(`{"sub":"ann","exp":4102444800,"info":{"name":"Ann","n":1.50}}`), "")
	watch := subscribed(t, r, "", "room.1")
	ann.ask(`{"type":"subscribe","id":0,"channel":"room.1"}`)
	watch.wants(`{"type":"join","channel":"room.1","user_id":"ann","info":{"name":"Ann","n":1.50}}`)
	large, _ := r.join(token(`{"sub":"bob","exp":4102444800,"info":"`+strings.Repeat("x", 1023)+`"}`), "")
	large.ask(`{"type":"subscribe","id":0,"channel":"room.1"}`)
	watch.wants(`{"type":"join","channel":"room.1","user_id":"bob"}`)
	if got := watch.presence("room.1", ""); !strings.Contains(got, `{"user_id":"ann","connections":1,"info":{"name":"Ann","n":1.50}},{"user_id":"bob","connections":1}`) {
		t.Errorf("got %s", got)
	}
}

func TestPresence_InfoOfTheConnectAnswerReplacesTheTokens(t *testing.T) {
	r := newRig(t, func(c *config.Config) {
		c.Webhook.Events = append(c.Webhook.Events, "connect")
		c.Channels = []config.ChannelRule{{Match: "**", Subscribe: config.Anyone, Publish: config.Nobody, Presence: true, PresenceFrames: 3}}
	})
	r.app(func(w http.ResponseWriter, event, body string) {
		if event == "connect" && strings.Contains(body, `"ann"`) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"info":{"from":"app"}}`))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	watch := subscribed(t, r, "", "a")
	ann, _ := r.join(token(`{"sub":"ann","exp":4102444800,"info":1}`), "")
	ann.ask(`{"type":"subscribe","id":0,"channel":"a"}`)
	watch.wants(`{"type":"join","channel":"a","user_id":"ann","info":{"from":"app"}}`)
}

func TestPresence_WhoMayAsk(t *testing.T) {
	r := newRoom(t)
	ann, anonymous := subscribed(t, r, "ann", "asked.1"), subscribed(t, r, "", "room.1")
	f := func(c *client, channel, want string) {
		t.Helper()
		if got := c.presence(channel, ""); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", channel, got, want)
		}
	}
	f(anonymous, "room.2", `"users":[],"total":0`)
	f(anonymous, "mine.x", `"code":"forbidden"`)
	f(ann, "mine.ann", `"total":0`)
	f(ann, "mine.bob", `"code":"forbidden"`)
	f(ann, "none.x", `"code":"forbidden"`)
	f(ann, "open.x", `"code":"not_found"`)
	f(ann, "asked.1", `"total":1`)
	f(ann, "asked.2", `"code":"forbidden"`) // without asking the app
	if got := strings.Count(strings.Join(r.events(), "\n"), "subscribe"); got != 1 {
		t.Errorf("the app was asked %d times", got)
	}
}

func TestPresence_Pages(t *testing.T) {
	r := newRoom(t)
	watch := subscribed(t, r, "", "room.1")
	testkit.Until(func() bool { return r.hub.Channels() == 1 })
	for _, user := range []string{"b", "a"} {
		subscribed(t, r, user, "room.1")
	}
	watch.next()
	watch.next()
	if got, want := watch.presence("room.1", `,"cursor":"a"`), `{"type":"ok","id":1,"users":[{"user_id":"b","connections":1}],"total":2}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
