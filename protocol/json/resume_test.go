package json

import (
	"context"
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/session"
)

func resumeQuery(doc string) []byte {
	return []byte("a=b&resume=" + base64.RawURLEncoding.EncodeToString([]byte(doc)) + "&c")
}

func TestResume_ReadsPositions(t *testing.T) {
	f := func(query []byte, want session.Resume) {
		t.Helper()
		if got, err := (Protocol{}).Resume(query); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", query, got, err, want)
		}
	}
	f(nil, session.Resume{})
	f([]byte("token=x&resume2=y"), session.Resume{})
	f(resumeQuery(`{}`), session.Resume{})
	f(resumeQuery(`{"user":{"offset":7,"epoch":"e"}}`), session.Resume{User: &hub.Position{Offset: 7, Epoch: "e"}})
	both := session.Resume{User: &hub.Position{Offset: 7, Epoch: "e"}, Channels: []session.Resumed{
		{Channel: "a.b", After: hub.Position{Offset: 1, Epoch: "x"}}, {Channel: "ü", After: hub.Position{Offset: 2, Epoch: "y"}},
	}}
	const doc = `{"channels":{"a.b":{"offset":1,"epoch":"x"},"\u00fc":{"epoch":"y","offset":2}},"user":{"offset":7,"epoch":"e"}}`
	f(resumeQuery(doc), both)
	padded := base64.URLEncoding.EncodeToString([]byte(doc + " "))
	f([]byte("resume="+padded), both)
	f([]byte("resume="+strings.ReplaceAll(padded, "=", "%3D")), both)
	f(resumeQuery(many(64)), func() (r session.Resume) {
		for i := range 64 {
			r.Channels = append(r.Channels, session.Resumed{Channel: fmt.Sprint("c", i), After: hub.Position{Offset: 1, Epoch: "e"}})
		}
		return r
	}())
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"c%d":{"offset":1,"epoch":"e"}`, i)
	}
	return `{"channels":{` + b.String()[1:] + `}}`
}

func TestResume_SaysWhatIsWrong(t *testing.T) {
	f := func(query []byte, want string) {
		t.Helper()
		if got, err := (Protocol{}).Resume(query); err == nil || err.Error() != "resume: "+want {
			t.Errorf("%.100s: got %+v, %v, want %s", query, got, err, want)
		}
	}
	f([]byte("resume=!!!"), "not base64url (RFC 4648 §5)")
	f([]byte("resume=%zz"), "not base64url (RFC 4648 §5)")
	f([]byte("resume=e30%0A"), "not base64url (RFC 4648 §5)")
	f([]byte("resume="+strings.ReplaceAll(string(resumeQuery(`{"?":"???"}`)[11:]), "_", "/")), "not base64url (RFC 4648 §5)")
	f([]byte("resume=e30&resume=e30"), "is there twice")
	f([]byte("resume="+strings.Repeat("e", 8<<10+1)), "longer than 8 KiB")
	f([]byte("resume="), "not JSON: it ends too early")
	f(resumeQuery("\xff"), "not UTF-8")
	f(resumeQuery(`[]`), "must be an object, not an array")
	f(resumeQuery(`{} {}`), "more than one JSON value")
	f(resumeQuery(`{"users":{}}`), `"users": unknown field`)
	f(resumeQuery(`{"user":{"offset":1,"epoch":"e"},"user":{"offset":1,"epoch":"e"}}`), "user: is there twice")
	f(resumeQuery(`{"user":7}`), "user.position: must be an object, not a number")
	f(resumeQuery(`{"user":{"offset":18446744073709551616,"epoch":"e"}}`), "user.offset: must be a whole number from 0 to 18446744073709551615")
	f(resumeQuery(`{"channels":[]}`), "channels.channels: must be an object, not an array")
	f(resumeQuery(`{"channels":{"a*":{"offset":1,"epoch":"e"}}}`), `channels."a*": must not contain *`)
	f(resumeQuery(`{"channels":{"\ud800":{"offset":1,"epoch":"e"}}}`), `channels."�": has an invalid character`)
	f(resumeQuery(`{"channels":{"a":{"offset":1,"epoch":"e"},"a":{"offset":1,"epoch":"e"}}}`), `channels."a": is there twice`)
	f(resumeQuery(`{"channels":{"a":{"offset":1}}}`), `channels."a".position: must have offset and epoch`)
	f(resumeQuery(many(65)), "more than 64 streams")
	f(resumeQuery(strings.Replace(many(64), `{`, `{"user":{"offset":1,"epoch":"e"},`, 1)), "more than 64 streams")
}

func TestResume_SubscribesToWhatTheClientMay(t *testing.T) {
	r := newRig(t, nil)
	push := func(text string) hub.Position {
		return r.push(hub.Push{To: hub.Targets{Users: []string{"user:ann"}}, Kind: hub.Text, Data: []byte(text)}).Positions[0].Position
	}
	at := func(p hub.Position) string { return fmt.Sprintf(`{"offset":%d,"epoch":%q}`, p.Offset, p.Epoch) }
	user, news, open := push("1"), r.say("news", "1").Positions[0].Position, r.say("open.a", "1").Positions[0].Position
	push("2")
	r.say("news", "2")
	r.say("open.a", "2")
	r.say("pat.a", "1")
	asked := `{"user":` + at(user) + `,"channels":{"news":` + at(news) + `,"open.a":` + at(open) + `,"pat.a":` + at(user) +
		`,"plain.a":` + at(user) + `,"asked.a":` + at(user) + `,"own":` + at(user) + `,"none.a":` + at(user) + `,"mine.bob.x":` + at(user) + `}}`
	c, welcome := r.join(tokenFor("ann", "news", "pat.*"), string(resumeQuery(asked)))
	want := `{"type":"welcome","user_id":"ann","ping_interval":25,"position":{"offset":2,"epoch":"e","recovered":true},"channels":{` +
		`"news":{"offset":2,"epoch":"e","recovered":true},"open.a":{"offset":2,"epoch":"e","recovered":true},` +
		`"pat.a":{"offset":1,"epoch":"e","recovered":false},"plain.a":{"recovered":false}},` +
		`"refused":{"asked.a":"ask","own":"ask","none.a":"forbidden","mine.bob.x":"forbidden"}}`
	if withoutIDs(welcome) != want {
		t.Errorf("got  %s\nwant %s", withoutIDs(welcome), want)
	}
	got := map[string]bool{}
	for range 4 {
		got[c.next()] = true
	}
	for _, want := range []string{
		`{"type":"message","data":"2","offset":2}`, `{"type":"message","channel":"news","data":2,"offset":2}`,
		`{"type":"message","channel":"open.a","data":2,"offset":2}`, `{"type":"gap","channel":"pat.a","position":{"offset":1,"epoch":"e"}}`,
	} {
		if !got[want] {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	push("3")
	c.wants(`{"type":"message","data":"3","offset":3}`)
	c.none()
	if len(r.events()) > 0 {
		t.Errorf("the app was asked %q", r.events())
	}
	// Where no tokens are verified, a grant can only be there or not.
	r = newRig(t, func(c *config.Config) { c.Auth.JWT.Secret, c.Limits.ChannelsPerConnection = "", 1 })
	_, welcome = r.join("", string(resumeQuery(`{"channels":{"own":`+at(user)+`,"plain.a":`+at(user)+`,"plain.b":`+at(user)+`}}`)))
	if want := `{"type":"welcome","user_id":"","ping_interval":25,"channels":{"plain.a":{"recovered":false}},"refused":{"own":"forbidden","plain.b":"rate_limited"}}`; withoutIDs(welcome) != want {
		t.Errorf("got  %s\nwant %s", withoutIDs(welcome), want)
	}
}

func TestResume_RefusesTheHandshakeWithTheReason(t *testing.T) {
	r := newRig(t, nil)
	for query, want := range map[string]string{
		"resume=!!!":                             `"resume: not base64url (RFC 4648 §5)"`,
		"resume=" + strings.Repeat("e", 8<<10+1): `"resume: longer than 8 KiB"`,
		string(resumeQuery(many(65))):            `"resume: more than 64 streams"`,
	} {
		if _, refusal := r.try("", query); refusal == nil || refusal.Status != 400 || !strings.Contains(string(refusal.Body), want) {
			t.Errorf("%.60s: got %+v, want 400 with %s", query, refusal, want)
		}
	}
	if n := r.engine.Sessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// slowBroker answers what is kept only when it is let.
type slowBroker struct {
	*memory.Broker
	held atomic.Bool
	let  chan struct{}
}

func (b *slowBroker) Read(ctx context.Context, q broker.Query) (broker.Range, error) {
	if b.held.Load() {
		<-b.let
	}
	return b.Broker.Read(ctx, q)
}

// What cannot be read within a second is not in welcome. What the server gives comes later
// all the same, and what the client resumed does not: it has to ask again.
func TestWelcome_LeavesOutWhatCannotBeReadInTime(t *testing.T) {
	b := &slowBroker{Broker: memory.New(), let: make(chan struct{})}
	r := newRigOver(t, b, nil)
	at := r.say("open.a", "1").Positions[0].Position
	r.say("news", "1")
	b.held.Store(true)
	c, welcome := r.join(tokenFor("ann", "news", "plain.x"), string(resumeQuery(fmt.Sprintf(`{"channels":{"open.a":{"offset":1,"epoch":%q}}}`, at.Epoch))))
	if want := `{"type":"welcome","user_id":"ann","ping_interval":25,"channels":{"plain.x":{}}}`; withoutIDs(welcome) != want {
		t.Errorf("got  %s\nwant %s", withoutIDs(welcome), want)
	}
	b.held.Store(false)
	close(b.let)
	c.wants(`{"type":"subscribed","channel":"news","position":{"offset":1,"epoch":"e"}}`)
	testkit.Eventually(t, "the other is given up", func() bool { return strings.Join(c.Member().Channels(), " ") == "news plain.x" })
	r.say("open.a", "2")
	r.say("news", "2")
	c.wants(`{"type":"message","channel":"news","data":2,"offset":2}`)
	c.send(fmt.Sprintf(`{"type":"subscribe","id":1,"channel":"open.a","position":{"offset":1,"epoch":%q}}`, at.Epoch))
	c.wants(`{"type":"ok","id":1,"channel":"open.a","position":{"offset":2,"epoch":"e"},"recovered":true}`, `{"type":"message","channel":"open.a","data":2,"offset":2}`)
	c.none()
}
