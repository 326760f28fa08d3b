package json

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testkit"
)

func failure(id, code, message string) string {
	return `{"type":"error","id":` + id + `,"code":"` + code + `","message":"` + message + `"}`
}

const mayNotPublish = "not allowed to publish there"

func TestPublish_ByEveryWord(t *testing.T) {
	r := newRig(t, nil)
	r.app(func(w http.ResponseWriter, event, body string) {
		if strings.Contains(body, `"no"`) {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	ann, _ := r.join(tokenFor("ann", "granted.name", "granted.*.x", "plain.granted"), "")
	nobody, _ := r.join("", "")
	ok := `{"type":"ok","id":1`
	f := func(channel string, anns, others string) {
		t.Helper()
		for c, want := range map[*client]string{ann: anns, nobody: others} {
			if got := c.ask(`{"type":"publish","id":1,"channel":"` + channel + `","data":"no"}`); !strings.HasPrefix(got, want) {
				t.Errorf("%s: got %s, want %s", channel, got, want)
			}
			if strings.HasPrefix(channel, "plain.granted") && c == ann {
				c.next() // its own message
			}
		}
	}
	no := failure("1", "forbidden", mayNotPublish)
	f("open.a", ok+`,"position":{"offset":`, ok+`,"position":{"offset":`)
	f("users.a", ok+`}`, no)
	f("none.a", no, no)
	f("granted.b.x", ok, no)
	f("plain.other", no, no) // whoever may subscribe
	f("mine.ann.x", ok, no)
	f("mine.bob.x", no, no)
	f("asked.a", failure("1", "forbidden", "the backend refused"), failure("1", "forbidden", "the backend refused"))
	if got := ann.ask(`{"type":"publish","id":1,"channel":"asked.a","event":"e","data":{"a": 1}}`); got != ok+`,"position":{"offset":1,"epoch":"e"}}` {
		t.Errorf("got %s", got)
	}
	if got := r.events(); got[len(got)-1] != `publish application/json {"channel":"asked.a","data":{"a": 1}}` {
		t.Errorf("the app was asked %q", got)
	}
}

func TestPublish_ReachesWhoIsThereWithItsSender(t *testing.T) {
	r := newRig(t, nil)
	ann, _ := r.join(tokenFor("ann"), "")
	anns, _ := r.join(tokenFor("ann"), "")
	bob, _ := r.join(tokenFor("bob"), "")
	nobody, _ := r.join("", "")
	for _, c := range []*client{ann, nobody} {
		c.ask(`{"type":"subscribe","id":1,"channel":"open.a"}`)
	}
	ann.send(`{"type":"publish","id":2,"channel":"open.a","event":"hi","data":{"n":1.0}}`)
	own := `{"type":"message","channel":"open.a","event":"hi","data":{"n":1.0},"from":"ann","offset":1}`
	answer := `{"type":"ok","id":2,"position":{"offset":1,"epoch":"e"}}`
	if x, y := ann.next(), ann.next(); x+y != own+answer && x+y != answer+own {
		t.Errorf("got %s and %s", x, y)
	}
	nobody.wants(own)
	nobody.send(`{"type":"publish","channel":"open.a","data":2}`)
	ann.wants(`{"type":"message","channel":"open.a","data":2,"offset":2}`)
	nobody.wants(`{"type":"message","channel":"open.a","data":2,"offset":2}`)

	if got := bob.ask(`{"type":"publish","id":"x","user":"ann","data":"psst"}`); got != `{"type":"ok","id":"x","position":{"offset":1,"epoch":"e"}}` {
		t.Errorf("got %s", got)
	}
	for _, c := range []*client{ann, anns} {
		c.wants(`{"type":"message","data":"psst","from":"bob","offset":1}`)
		c.none()
	}
	if got := nobody.ask(`{"type":"publish","id":1,"user":"ann","data":1}`); got != failure("1", "forbidden", mayNotPublish) {
		t.Errorf("got %s", got)
	}
	if got := bob.ask(`{"type":"publish","id":1,"user":"who is not there","data":1}`); !strings.HasPrefix(got, `{"type":"ok"`) {
		t.Errorf("got %s", got)
	}
	bob.none()
}

func TestMessage_RepliesAreOneFrame(t *testing.T) {
	r := newRig(t, nil)
	c, _ := r.join(tokenFor("ann"), "")
	f := func(status int, contentType, body, want string) {
		t.Helper()
		r.app(func(w http.ResponseWriter, event, _ string) {
			w.Header()["Content-Type"] = []string{contentType}
			if contentType == "" {
				w.Header()["Content-Type"] = nil
			}
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, body)
		})
		if got := c.ask(`{"type":"message","id":4,"data":1}`); got != `{"type":`+want+`}` {
			t.Errorf("%d %s %q: got %s, want %s", status, contentType, body, got, want)
		}
	}
	f(204, "", "", `"ok","id":4`)
	f(200, "application/json", "", `"ok","id":4`)
	f(202, "text/plain", "later", `"ok","id":4`)
	f(200, "application/json", "\ufeff{ \"a\": [1.0,\n\"\\ud800\"]}", `"reply","id":4,"data":{ "a": [1.0,`+"\n"+`"\ud800"]}`)
	f(200, "application/problem+json; charset=utf-8", `null`, `"reply","id":4,"data":null`)
	f(200, "application/json", `{"a":`, `"error","id":4,"code":"backend_error","message":"the backend's answer is not JSON"`)
	f(200, "application/json", "\"\xff\"", `"error","id":4,"code":"backend_error","message":"the backend's answer is not JSON"`)
	f(200, "text/plain", `{"a":1}`, `"reply","id":4,"data":"{\"a\":1}"`)
	f(200, "", "hi", `"reply","id":4,"data":"hi"`)
	f(200, "text/plain", "\xff", `"reply","id":4,"data_base64":"/w=="`)
	f(200, "image/png", "\x89P", `"reply","id":4,"data_base64":"iVA="`)
	f(422, "application/json", `{"error":"x"}`, `"error","id":4,"code":"rejected","message":"the backend answered 422"`)
	f(500, "", "", `"error","id":4,"code":"unavailable","message":"the backend did not answer"`)
	r.app(nil)
	c.ask(`{"type":"message","id":5,"event":"typing","data":{ "x":1.0 }}`)
	c.ask(`{"type":"message","id":5,"data_base64":"AP8="}`)
	c.ask(`{"type":"message","id":5}`)
	got := r.events()
	want := []string{"message typing application/json { \"x\":1.0 }", "message application/octet-stream \x00\xff", "message  "}
	if got := got[len(got)-3:]; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("the app was asked %q, want %q", got, want)
	}
	c.send(`{"type":"message","data":1}`)
	c.none()
}

func TestMessage_410Closes(t *testing.T) {
	r := newRig(t, nil)
	r.app(func(w http.ResponseWriter, event, body string) { w.WriteHeader(http.StatusGone) })
	c, _ := r.join("", "")
	c.send(`{"type":"message","id":1}`)
	testkit.Eventually(t, "it is closed", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.ended != nil })
	if c.ended.Why != hub.Dismissed {
		t.Errorf("ended with %+v", c.ended)
	}
	if code, _ := (Protocol{}).Code(c.ended); code != 1000 {
		t.Errorf("code %d", code)
	}
}

func TestMessage_WhereNobodyIsAsked(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Webhook.Events = []string{"subscribe", "publish"} })
	c, _ := r.join("", "")
	if got := c.ask(`{"type":"message","id":1}`); got != failure("1", "not_found", "the backend takes no messages") {
		t.Errorf("got %s", got)
	}
}

// The backend is asked one thing at a time, in the order in which the client said it;
// what does not ask it does not wait for it.
func TestRequests_AskInOrderAndCrossElsewhere(t *testing.T) {
	r := newRig(t, nil)
	var mu sync.Mutex
	under, most := 0, 0
	r.app(func(w http.ResponseWriter, event, body string) {
		mu.Lock()
		under++
		most = max(most, under)
		mu.Unlock()
		<-time.After(2 * time.Millisecond)
		mu.Lock()
		under--
		mu.Unlock()
	})
	c, _ := r.join("", "")
	for i := range 4 {
		c.send(fmt.Sprintf(`{"type":"message","data":%d}`, i))
		c.send(fmt.Sprintf(`{"type":"subscribe","channel":"asked.%d"}`, i))
		c.send(fmt.Sprintf(`{"type":"publish","channel":"asked.0","data":%d}`, i))
	}
	if got := c.ask(`{"type":"subscribe","id":1,"channel":"plain.a"}`); got != `{"type":"ok","id":1,"channel":"plain.a"}` {
		t.Errorf("got %s", got)
	}
	if n := len(r.events()); n >= 12 {
		t.Errorf("it waited for all of %d questions", n)
	}
	for range 4 {
		c.next() // what it published
	}
	testkit.Eventually(t, "all was asked", func() bool { return len(r.events()) == 12 })
	var want []string
	for i := range 4 {
		want = append(want, fmt.Sprintf("message application/json %d", i), fmt.Sprintf(`subscribe application/json {"channel":"asked.%d"}`, i),
			fmt.Sprintf(`publish application/json {"channel":"asked.0","data":%d}`, i))
	}
	if got := r.events(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if most != 1 {
		t.Errorf("%d at once", most)
	}
}

// Past websocket.requests_in_flight nothing is read; what is asked costs memory as long
// as it waits.
func TestRequests_HoldTheInputAndAreCharged(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.WebSocket.RequestsInFlight = 3 })
	hold := make(chan struct{})
	r.app(func(w http.ResponseWriter, event, body string) { <-hold })
	c, _ := r.join("", "")
	state := func() (holds, bytes int) { c.mu.Lock(); defer c.mu.Unlock(); return c.holds, c.bytes }
	for i := range 3 {
		if holds, _ := state(); holds != 0 {
			t.Errorf("held after %d", i)
		}
		c.send(fmt.Sprintf(`{"type":"message","id":%d,"data":"0123456789"}`, i))
	}
	if holds, bytes := state(); holds != 1 || bytes < 3*(1024+12) {
		t.Errorf("%d holds, %d bytes", holds, bytes)
	}
	if !r.engine.Settle(&c.session, c) {
		t.Error("nothing waits")
	}
	close(hold)
	for i := range 3 {
		c.wants(fmt.Sprintf(`{"type":"ok","id":%d}`, i))
	}
	testkit.Eventually(t, "it is let go", func() bool { holds, bytes := state(); return holds == 0 && bytes == 0 })
	if r.engine.Settle(&c.session, c) {
		t.Error("something waits")
	}
}

// A connection that ends forgets what did not begin, and whatever else was under way ends
// without it.
func TestRequests_EndWithTheConnection(t *testing.T) {
	r := newRig(t, nil)
	hold := make(chan struct{})
	r.app(func(w http.ResponseWriter, event, body string) { <-hold })
	c, _ := r.join(tokenFor("ann"), "")
	c.send(`{"type":"subscribe","id":1,"channel":"asked.a"}`)
	c.send(`{"type":"publish","id":2,"channel":"asked.a","data":1}`)
	c.send(`{"type":"message","id":3}`)
	c.send(`{"type":"history","id":4,"channel":"asked.a"}`)
	c.send(`{"type":"refresh","id":5,"token":"` + tokenFor("ann") + `"}`)
	c.send(`{"type":"recover","id":6,"position":{"offset":1,"epoch":"e"}}`)
	testkit.Eventually(t, "it is asked", func() bool { return len(r.events()) == 1 })
	c.End(&hub.Cause{Why: hub.PeerReset})
	close(hold)
	testkit.Eventually(t, "nothing is charged", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.bytes == 0 })
	if got := r.events(); len(got) != 1 {
		t.Errorf("asked %q", got)
	}
	c.send(`{"type":"message","id":7}`) // on its way already
	if n := r.hub.Connections(); n != 0 || r.hub.Channels() != 0 {
		t.Errorf("%d connections, %d channels", n, r.hub.Channels())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes != 0 {
		t.Errorf("%d bytes", c.bytes)
	}
}

func TestHistory_IsReadInPages(t *testing.T) {
	r := newRig(t, nil)
	ann, _ := r.join(tokenFor("ann", "news"), "")
	for i := range 4 {
		r.push(hub.Push{To: hub.Targets{Channels: []string{"channel:news"}, ExceptUsers: map[bool][]string{true: {"ann"}}[i == 1]}, Kind: hub.JSON, Data: fmt.Append(nil, i+1)})
	}
	epoch := r.push(hub.Push{To: hub.Targets{Channels: []string{"channel:news"}}, Kind: hub.Binary, Data: []byte{255}, From: "bob"}).Positions[0].Epoch
	for range 4 {
		ann.next() // they came, but for the one that is not for her
	}
	kept := func(data string, offset int) string {
		return fmt.Sprintf(`{"type":"message","channel":"news",%s,"offset":%d,"epoch":"e"}`, data, offset)
	}
	f := func(more, want string) {
		t.Helper()
		if got := ann.ask(`{"type":"history","id":6,"channel":"news"` + more + `}`); got != `{"type":"ok","id":6,"messages":[`+want+`}` {
			t.Errorf("%s:\ngot  %s\nwant … %s", more, got, want)
		}
	}
	end := `],"position":{"offset":5,"epoch":"e"}`
	last := kept(`"data_base64":"/w==","from":"bob"`, 5)
	f("", kept(`"data":1`, 1)+","+kept(`"data":3`, 3)+","+kept(`"data":4`, 4)+","+last+end)
	f(`,"limit":1`, kept(`"data":1`, 1)+end+`,"more":true`)
	f(`,"after":{"offset":1,"epoch":"`+epoch+`"},"limit":1`, kept(`"data":3`, 3)+end+`,"more":true`) // the second is not for her
	f(`,"after":{"offset":4,"epoch":"`+epoch+`"}`, last+end)
	f(`,"after":{"offset":5,"epoch":"`+epoch+`"}`, end)
	f(`,"after":{"offset":3,"epoch":"foreign"},"limit":1`, kept(`"data":1`, 1)+end+`,"more":true`)
}

func TestHistory_NeedsTheRightToSubscribe(t *testing.T) {
	r := newRig(t, nil)
	c, _ := r.join("", "")
	forbidden, none := failure("1", "forbidden", "not allowed to read the history of this channel"), failure("1", "not_found", "no history is kept for this channel")
	f := func(channel, want string) {
		t.Helper()
		if got := c.ask(`{"type":"history","id":1,"channel":"` + channel + `"}`); got != want {
			t.Errorf("%s: got %s", channel, got)
		}
	}
	empty := `{"type":"ok","id":1,"messages":[],"position":{"offset":0,"epoch":"e"}}`
	f("open.a", `{"type":"ok","id":1,"messages":[]}`) // nothing was ever published, so there is no position
	f("plain.a", none)
	f("users.a", forbidden)
	f("none.a", forbidden)
	f("granted", forbidden)
	f("asked.a", forbidden)
	c.ask(`{"type":"subscribe","id":2,"channel":"asked.a"}`)
	f("asked.a", empty)
	c.ask(`{"type":"unsubscribe","id":2,"channel":"asked.a"}`)
	f("asked.a", forbidden)
}

// A page fits into what the outbox takes, whatever becomes longer on the way.
func TestHistory_FitsIntoTheOutbox(t *testing.T) {
	r := newRig(t, nil)
	c, _ := r.join("", "")
	for range 10 {
		r.push(hub.Push{To: hub.Targets{Channels: []string{"channel:open.a"}}, Kind: hub.Text, Data: []byte(strings.Repeat("\x01", 20_000))})
	}
	got := c.ask(`{"type":"history","id":1,"channel":"open.a"}`)
	if n := strings.Count(got, `"type":"message"`); n != 2 || !strings.HasSuffix(got, `,"more":true}`) {
		t.Errorf("%d messages of 120,000 bytes in a room of 262,144, ends with %s", n, got[len(got)-80:])
	}
}

func TestRecover_HandsOutWhatWasPushedToTheUser(t *testing.T) {
	r := newRig(t, nil)
	push := func(text string) hub.Position {
		return r.push(hub.Push{To: hub.Targets{Users: []string{"user:ann"}}, Kind: hub.Text, Data: []byte(text)}).Positions[0].Position
	}
	first := push("1")
	push("2")
	ann, welcome := r.join(tokenFor("ann"), "")
	if !strings.Contains(welcome, `"position":{"offset":2,"epoch":"e"},`) {
		t.Errorf("got %s", welcome)
	}
	push("3")
	ann.wants(`{"type":"message","data":"3","offset":3}`)
	ann.send(`{"type":"recover","id":7,"position":{"offset":1,"epoch":"` + first.Epoch + `"}}`)
	ann.wants(`{"type":"ok","id":7,"position":{"offset":3,"epoch":"e"},"recovered":true}`, `{"type":"message","data":"2","offset":2}`)
	ann.none()
	ann.send(`{"type":"recover","id":7,"position":{"offset":9,"epoch":"` + first.Epoch + `"}}`)
	ann.wants(`{"type":"ok","id":7,"position":{"offset":3,"epoch":"e"},"recovered":false}`, `{"type":"gap","position":{"offset":3,"epoch":"e"}}`)
	nobody, _ := r.join("", "")
	if got := nobody.ask(`{"type":"recover","id":7,"position":{"offset":1,"epoch":"e"}}`); got != failure("7", "not_found", "nothing is pushed to an anonymous connection as a user") {
		t.Errorf("got %s", got)
	}
}

func TestAck_IsCountedOnceAndOnlyOfThoseWhoWereAsked(t *testing.T) {
	r := newRig(t, nil)
	a, _ := r.join(tokenFor("ann", "news"), "")
	b, _ := r.join(tokenFor("bob", "news"), "")
	c, _ := r.join(tokenFor("cat"), "")
	out := make(chan hub.Published, 1)
	go func() {
		out <- r.push(hub.Push{
			To: hub.Targets{Channels: []string{"channel:news"}}, Kind: hub.Text, Data: []byte("x"), ID: "m1", Wait: 20 * time.Second, Ack: true,
		})
	}()
	for _, x := range []*client{a, b} {
		x.wants(`{"type":"message","channel":"news","data":"x","offset":1,"ack":true}`)
	}
	c.send(`{"type":"ack","message":"m1"}`)
	a.send(`{"type":"ack","message":"m1"}`)
	a.send(`{"type":"ack","message":"m1"}`)
	b.send(`{"type":"ack","message":"other"}`)
	select {
	case got := <-out:
		t.Errorf("answered before all confirmed: %+v", got)
	default:
	}
	b.send(`{"type":"ack","message":"m1"}`)
	if got := <-out; got.Acked != 2 || got.Delivered != 2 || !got.Asked {
		t.Errorf("got %+v", got)
	}
	a.none()
	got := r.push(hub.Push{To: hub.Targets{Users: []string{"user:ann"}}, Kind: hub.Text, Data: []byte("x"), Wait: 200 * time.Millisecond, Ack: true})
	if got.Acked != 0 || got.Delivered != 1 {
		t.Errorf("nobody confirmed: got %+v", got)
	}
}

func TestFrames_ThatAreNoRequests(t *testing.T) {
	r := newRig(t, nil)
	c, _ := r.join("", "")
	Protocol{}.Input(r.engine, &c.session, c, hub.Binary, []byte(`{"type":"ping"}`))
	c.wants(`{"type":"error","code":"invalid_argument","message":"frame: must be text"}`)
	if got := c.ask(`{"id":"\ud800"`); got != `{"type":"error","id":"\ud800","code":"invalid_argument","message":"frame: not JSON: it ends too early"}` {
		t.Errorf("got %s", got)
	}
	if got := c.ask(`{"type":"ping"}`); got != `{"type":"pong"}` {
		t.Errorf("got %s", got)
	}
}

func TestMessageRate_ATokenCountsForFive(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Limits.MessageRate = 10 })
	c, _ := r.join(tokenFor("ann"), "")
	for range 10 { // of a burst of 20
		if d := r.engine.Throttle(&c.session); d != 0 {
			t.Fatalf("%v", d)
		}
	}
	c.ask(`{"type":"refresh","id":1,"token":"` + tokenFor("ann") + `"}`)
	c.ask(`{"type":"subscribe","id":1,"channel":"news","token":"` + tokenFor("ann", "news") + `"}`)
	r.engine.Throttle(&c.session)
	r.engine.Throttle(&c.session)
	if d := r.engine.Throttle(&c.session); d <= 0 || d > 110*time.Millisecond {
		t.Errorf("after 12 and two tokens the next waits %v, want 100 ms", d)
	}
}
