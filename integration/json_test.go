package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

const jsonRules = `
channels:
  - {match: "chat.*", subscribe: user, publish: user, history: {messages: 100, age: 1h}}
  - {match: "asked.*", subscribe: webhook, publish: webhook}
  - {match: "mine.{user}.*", subscribe: user, publish: user}
  - {match: "**", history: {messages: 100, age: 1h}}
users: {publish: user, history: {messages: 100, age: 1h}}`

// jsonApp answers messages and says who may use asked.*.
func jsonApp(w http.ResponseWriter, e event) {
	switch {
	case e.kind == "pushcart.message":
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"you":"said","event":%q,"data":%s}`, e.header.Get("ce-event"), e.body)
	case strings.Contains(e.body, "asked.no"):
		w.WriteHeader(http.StatusForbidden)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// Every row of the table of SPEC §4.3, with two connections of one user.
func TestJSON_EveryRequest(t *testing.T) {
	b := newBackend(t, jsonApp)
	s := sidecartest.Start(t, withJWT+b.hooked()+jsonRules)
	a, twin := talk(t, s, token("ann", "news"), ""), talk(t, s, token("ann", "news"), "")
	bob := talk(t, s, token("bob"), "")
	if w := a.welcome; w.UserID != "ann" || w.NodeID == "" || w.ConnectionID == "" || w.Position == nil || w.Channels["news"].Epoch == "" || len(w.Channels) != 1 {
		t.Errorf("welcome: %+v", w)
	}

	// subscribe, publish, unsubscribe
	a.send(`{"type":"subscribe","id":1,"channel":"chat.1"}`)
	a.wants(`{"type":"ok","id":1,"channel":"chat.1","position":{"offset":0,"epoch":"e"}}`)
	if got := bob.ask(`{"type":"publish","id":"p","channel":"chat.1","event":"hi","data":{"b":1.0,"a":"\u00e9"}}`); got != `{"type":"ok","id":"p","position":{"offset":1,"epoch":"e"}}` {
		t.Errorf("publish: %s", got)
	}
	var m struct{ Epoch string }
	s.Pushed(t, `{"to":{"channels":["chat.1"]},"text":"two"}`)
	a.wants(`{"type":"message","channel":"chat.1","event":"hi","data":{"b":1.0,"a":"\u00e9"},"from":"bob","offset":1}`, `{"type":"message","channel":"chat.1","data":"two","offset":2}`)
	history := bob.ask(`{"type":"history","id":6,"channel":"chat.1","limit":1}`)
	if want := `{"type":"ok","id":6,"messages":[{"type":"message","channel":"chat.1","event":"hi","data":{"b":1.0,"a":"\u00e9"},"from":"bob","offset":1,"epoch":"e"}],"position":{"offset":2,"epoch":"e"},"more":true}`; history != want {
		t.Errorf("history: %s", history)
	}
	bob.send(`{"type":"history","id":6,"channel":"chat.1","limit":1}`)
	var page struct{ Position jsonPlace }
	if err := json.Unmarshal([]byte(bob.raw()), &page); err != nil {
		t.Fatal(err)
	}
	m.Epoch = page.Position.Epoch
	twin.send(`{"type":"subscribe","id":1,"channel":"chat.1","position":{"offset":1,"epoch":"` + m.Epoch + `"}}`)
	twin.wants(`{"type":"ok","id":1,"channel":"chat.1","position":{"offset":2,"epoch":"e"},"recovered":true}`, `{"type":"message","channel":"chat.1","data":"two","offset":2}`)
	bob.send(`{"type":"subscribe","id":1,"channel":"chat.1","recent":1}`)
	bob.wants(`{"type":"ok","id":1,"channel":"chat.1","position":{"offset":2,"epoch":"e"}}`, `{"type":"message","channel":"chat.1","data":"two","offset":2}`)
	if got := a.ask(`{"type":"unsubscribe","id":2,"channel":"chat.1"}`); got != `{"type":"ok","id":2}` {
		t.Errorf("unsubscribe: %s", got)
	}
	s.Pushed(t, `{"to":{"channels":["chat.1"]},"data_base64":"AP8="}`)
	twin.wants(`{"type":"message","channel":"chat.1","data_base64":"AP8=","offset":3}`)
	a.none()

	// to a user, and recover
	if got := bob.ask(`{"type":"publish","id":3,"user":"ann","data":[1]}`); got != `{"type":"message","channel":"chat.1","data_base64":"AP8=","offset":3}` {
		t.Errorf("got %s", got)
	}
	bob.wants(`{"type":"ok","id":3,"position":{"offset":1,"epoch":"e"}}`)
	for _, c := range []*jsonClient{a, twin} {
		c.wants(`{"type":"message","data":[1],"from":"bob","offset":1}`)
	}
	late := talk(t, s, token("ann"), "")
	late.send(fmt.Sprintf(`{"type":"recover","id":7,"position":{"offset":0,"epoch":%q}}`, late.welcome.Position.Epoch))
	late.wants(`{"type":"ok","id":7,"position":{"offset":1,"epoch":"e"},"recovered":true}`, `{"type":"message","data":[1],"from":"bob","offset":1}`)

	// message and reply; webhooks of subscribe and publish
	a.send(`{"type":"message","id":4,"event":"typing","data":{"x": 1}}`)
	a.wants(`{"type":"reply","id":4,"data":{"you":"said","event":"typing","data":{"x": 1}}}`)
	a.send(`{"type":"subscribe","id":5,"channel":"asked.yes"}`)
	a.wants(`{"type":"ok","id":5,"channel":"asked.yes"}`)
	for _, kind := range []string{"subscribe", "publish"} {
		frame := `{"type":"` + kind + `","id":5,"channel":"asked.no"}`
		if kind == "publish" {
			frame = strings.Replace(frame, `}`, `,"data":1}`, 1)
		}
		if got := a.ask(frame); got != `{"type":"error","id":5,"code":"forbidden","message":"the backend refused"}` {
			t.Errorf("%s: %s", kind, got)
		}
	}
	if got := b.got("publish"); len(got) != 1 || got[0].body != `{"channel":"asked.no","data":1}` || got[0].user != "ann" {
		t.Errorf("publish events: %+v", got)
	}

	// refresh
	a.send(`{"type":"refresh","id":8,"token":"` + token("ann", "other") + `"}`)
	a.wants(`{"type":"unsubscribed","channel":"news"}`)
	if got := a.next(); !strings.HasPrefix(got, `{"type":"ok","id":8,"expires_at":`) {
		t.Errorf("refresh: %s", got)
	}

	// ack
	done := make(chan string, 1)
	go func() {
		_, text := s.API("POST", "/v1/push", `{"to":{"connections":["`+late.welcome.ConnectionID+`"]},"text":"x","id":"m-1","ack":true,"wait":"20s"}`)
		done <- text
	}()
	late.wants(`{"type":"message","data":"x","ack":true}`)
	late.send(`{"type":"ack","message":"m-1"}`)
	if got := <-done; !strings.Contains(got, `"acked":1,`) {
		t.Errorf("push: %s", got)
	}

	// what the backend does to a connection
	path := "/v1/connections/" + bob.welcome.ConnectionID + "/channels/news"
	if status, text := s.API("PUT", path, ""); status != http.StatusNoContent {
		t.Errorf("PUT: %d %s", status, text)
	}
	bob.wants(`{"type":"subscribed","channel":"news","position":{"offset":0,"epoch":"e"}}`)
	if got := bob.ask(`{"type":"history","id":1,"channel":"news"}`); !strings.HasPrefix(got, `{"type":"ok"`) {
		t.Errorf("history of what the backend granted: %s", got)
	}
	if status, text := s.API("DELETE", path, ""); status != http.StatusNoContent {
		t.Errorf("DELETE: %d %s", status, text)
	}
	bob.wants(`{"type":"unsubscribed","channel":"news"}`)
	if status, _ := s.API("POST", "/v1/channels/chat.1/disconnect", `{"code":4200,"reason":"over"}`); status != http.StatusOK {
		t.Errorf("disconnect: %d", status)
	}
	if code := closed(t, bob.conn); code != 4200 {
		t.Errorf("closed with %d", code)
	}
	a.none()
}

// What is wrong is said, once for each message, and nothing is lost by it.
func TestJSON_BadInputLosesNothing(t *testing.T) {
	s := sidecartest.Start(t, withJWT+newBackend(t, jsonApp).hooked()+jsonRules+"\nlimits: {channels_per_connection: 3}")
	c, other := talk(t, s, token("ann", "news"), ""), talk(t, s, token("ann", "news"), "")
	bad := func(frame, code, says string) {
		t.Helper()
		send(t, c.conn, websocket.TextMessage, frame)
		got := c.next()
		if !strings.HasPrefix(got, `{"type":"error"`) || !strings.Contains(got, `"code":"`+code+`"`) || !strings.Contains(got, says) {
			t.Errorf("%.100s: got %s, want %s, %s", frame, got, code, says)
		}
	}
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	digits := strings.Repeat("7", 1000)
	const invalid = "invalid_argument"
	bad(`nonsense`, invalid, "not JSON")
	bad(`[1]`, invalid, "an object")
	bad(`{"type":"fly","id":1}`, invalid, `"id":1`)
	bad(`{"type":"ping","x":1}`, invalid, "unknown field")
	bad(`{"type":"ping","id":{}}`, invalid, "id: ")
	bad(`{"type":"ping","type":"ping"}`, invalid, "twice")
	bad(`{"type":"subscribe","Channel":"a","channel":"a"}`, invalid, "unknown field")
	bad(`{"type":"subscribe","channel":"`+strings.Repeat("n", 256)+`"}`, invalid, "channel: ")
	bad(`{"type":"subscribe","channel":"\ud800"}`, invalid, "channel: ")
	bad(`{"type":"publish","channel":"chat.1"}`, invalid, "data: is required")
	bad(`{"type":"publish","channel":"chat.1","data":`+deep(129)+`}`, invalid, "nested")
	bad(`{"type":"ping","id":`+digits+`}`, invalid, "id: ")
	bad(`{"type":"subscribe","channel":"chat.1","position":{"offset":`+digits+`,"epoch":"e"}}`, invalid, "position.offset")
	bad(`{"type":"subscribe","channel":"chat.1","position":{"offset":18446744073709551616,"epoch":"e"}}`, invalid, "position.offset")
	bad(`{"type":"subscribe","channel":"mine.bob.x"}`, "forbidden", "")
	bad(`{"type":"subscribe","channel":"granted.to.nobody"}`, "forbidden", "")
	bad(`{"type":"refresh","token":"`+token("bob")+`"}`, "forbidden", "another user")
	bad(`{"type":"subscribe","channel":"chat.1","token":"`+token("bob", "chat.1")+`"}`, "forbidden", "another user")
	send(t, c.conn, websocket.BinaryMessage, `{"type":"ping"}`)
	c.wants(`{"type":"error","code":"invalid_argument","message":"frame: must be text"}`)
	for _, ch := range []string{"chat.1", "chat.2"} {
		if got := c.ask(`{"type":"subscribe","id":1,"channel":"` + ch + `"}`); !strings.HasPrefix(got, `{"type":"ok"`) {
			t.Errorf("%s: %s", ch, got)
		}
	}
	bad(`{"type":"subscribe","channel":"chat.3"}`, "rate_limited", "")
	// As it is written, or not at all.
	for _, data := range []string{deep(128), digits, `"\ud800"`, `{"a":1,"a":2}`, `1.0e+2`} {
		c.send(`{"type":"publish","channel":"chat.1","data":` + data + `}`)
		if got := c.next(); !strings.Contains(got, `"data":`+data+`,"from":"ann"`) {
			t.Errorf("%.60s: got %s", data, got)
		}
	}
	s.Pushed(t, `{"to":{"channels":["news"]},"data":1}`)
	for _, x := range []*jsonClient{c, other} {
		x.wants(`{"type":"message","channel":"news","data":1,"offset":1}`)
		x.none()
	}
	for query, says := range map[string]string{
		"resume=*":                            "base64url",
		"resume=" + strings.Repeat("e", 9000): "8 KiB",
		resume(`{"channels":{}} x`):           "more than one",
	} {
		if _, resp, err := jsonDialer.Dial("ws://"+s.Public+"/_push?"+query, bearer(token("ann"))); err == nil || resp.StatusCode != 400 || !strings.Contains(readAll(resp.Body), says) {
			t.Errorf("%.40s: got %v", query, err)
		}
	}
}

// An id names one answer, whatever is between: many requests in one write.
func TestJSON_ManyRequestsAtOnce(t *testing.T) {
	s := sidecartest.Start(t, withJWT+newBackend(t, jsonApp).hooked()+jsonRules)
	c := talk(t, s, token("ann"), "")
	const many = 10_000
	go func() {
		for i := range many {
			frame := fmt.Sprintf(`{"type":"publish","id":%d,"user":"nobody","data":%d}`, i, i)
			switch i % 5 {
			case 0:
				frame = fmt.Sprintf(`{"type":"message","id":%d,"data":%d}`, i, i)
			case 1:
				frame = fmt.Sprintf(`{"type":"subscribe","id":%d,"channel":"chat.%d"}`, i, i%7)
			case 2:
				frame = fmt.Sprintf(`{"type":"history","id":%d,"channel":"chat.1"}`, i)
			}
			_ = c.conn.WriteMessage(websocket.TextMessage, []byte(frame))
		}
	}()
	got := make([]bool, many)
	for range many {
		var answer struct {
			Type string
			ID   int
		}
		text := c.raw()
		if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Type == "error" || got[answer.ID] {
			t.Fatalf("got %s, %v", text, err)
		}
		got[answer.ID] = true
	}
	c.none()
}

// A client whose app answers nothing any more, which ends in the middle, leaves nothing
// behind.
func TestJSON_DisconnectsInTheMiddle(t *testing.T) {
	hold := make(chan struct{})
	b := newBackend(t, func(w http.ResponseWriter, e event) {
		if e.kind != "pushcart.disconnected" && e.kind != "pushcart.connected" {
			<-hold
		}
		w.WriteHeader(http.StatusNoContent)
	})
	defer close(hold)
	s := sidecartest.Start(t, withJWT+strings.Replace(b.hooked(), "events: ['*']", "events: [message, subscribe, publish, disconnected]", 1)+jsonRules)
	for i := range 20 {
		c := talk(t, s, token("ann"), "")
		c.send(`{"type":"subscribe","id":1,"channel":"asked.yes"}`)
		c.send(`{"type":"unsubscribe","id":2,"channel":"asked.yes"}`)
		c.send(`{"type":"message","id":3}`)
		c.send(`{"type":"subscribe","id":4,"channel":"chat.1"}`)
		c.send(`{"type":"history","id":5,"channel":"chat.1"}`)
		if i%2 == 0 {
			c.raw()
		}
		_ = c.conn.NetConn().Close()
	}
	testkit.Eventually(t, "all are gone", func() bool {
		_, text := call(t, "GET", "http://"+s.Admin+"/metrics", "", "")
		return strings.Contains(text, "\npushcart_connections 0\n") && strings.Contains(text, "\npushcart_channels 0\n")
	})
	if got := s.Complaints(); len(got) > 0 {
		t.Logf("complaints: %q", got)
	}
}

// Two nodes with Redis: users and channels are one, a position is good on either node, and
// one that is killed takes nothing along.
func TestJSON_TwoNodes(t *testing.T) {
	redis := redistest.Start(t)
	yaml := withJWT + newBackend(t, jsonApp).hooked() + jsonRules + "\nredis: {addresses: ['" + redis.Addr + "']}"
	one, two := sidecartest.Start(t, yaml), sidecartest.Start(t, yaml)
	for _, n := range []*sidecartest.Sidecar{one, two} {
		n.AwaitRedis(t, http.StatusOK)
	}
	a, b := talk(t, one, token("ann", "news"), ""), talk(t, two, token("ann", "news"), "")
	bob := talk(t, two, token("bob"), "")
	for _, c := range []*jsonClient{a, b} {
		if got := c.ask(`{"type":"subscribe","id":1,"channel":"chat.1"}`); got != `{"type":"ok","id":1,"channel":"chat.1","position":{"offset":0,"epoch":"e"}}` {
			t.Errorf("got %s", got)
		}
	}
	bob.send(`{"type":"publish","id":1,"channel":"chat.1","data":"to both"}`)
	bob.send(`{"type":"publish","id":2,"user":"ann","data":"to ann"}`)
	bob.any(`{"type":"ok","id":1,"position":{"offset":1,"epoch":"e"}}`, `{"type":"ok","id":2,"position":{"offset":1,"epoch":"e"}}`)
	for _, c := range []*jsonClient{a, b} {
		c.any(`{"type":"message","channel":"chat.1","data":"to both","from":"bob","offset":1}`, `{"type":"message","data":"to ann","from":"bob","offset":1}`)
		c.none()
	}
	done := make(chan string, 1)
	go func() {
		_, text := two.API("POST", "/v1/push", `{"to":{"channels":["news"]},"text":"x","id":"m-1","ack":true,"wait":"20s"}`)
		done <- text
	}()
	for _, c := range []*jsonClient{a, b} {
		c.wants(`{"type":"message","channel":"news","data":"x","offset":1,"ack":true}`)
		c.send(`{"type":"ack","message":"m-1"}`)
	}
	if got := <-done; !strings.Contains(got, `"acked":2,`) || !strings.Contains(got, `"delivered":2,`) {
		t.Errorf("push: %s", got)
	}

	// Its node is killed; it comes back on the other, and has missed nothing.
	var chat struct{ Position jsonPlace }
	a.send(`{"type":"subscribe","id":1,"channel":"chat.1"}`)
	if err := json.Unmarshal([]byte(a.raw()), &chat); err != nil {
		t.Fatal(err)
	}
	one.Kill()
	two.Pushed(t, `{"to":{"channels":["chat.1"]},"data":2}`)
	two.Pushed(t, `{"to":{"channels":["news"]},"data":2}`)
	two.Pushed(t, `{"to":{"users":["ann"]},"data":2}`)
	back := talk(t, two, token("ann", "news"), resume(fmt.Sprintf(`{"user":{"offset":1,"epoch":%q},"channels":{"news":{"offset":1,"epoch":%q},"chat.1":{"offset":1,"epoch":%q}}}`,
		a.welcome.Position.Epoch, a.welcome.Channels["news"].Epoch, chat.Position.Epoch)))
	w := back.welcome
	for name, at := range map[string]recovered{"user": *w.Position, "news": w.Channels["news"], "chat.1": w.Channels["chat.1"]} {
		if at.Offset != 2 || at.Recovered == nil || !*at.Recovered {
			t.Errorf("%s: %+v", name, at)
		}
	}
	back.any(`{"type":"message","channel":"chat.1","data":2,"offset":2}`, `{"type":"message","channel":"news","data":2,"offset":2}`, `{"type":"message","data":2,"offset":2}`)
	two.Pushed(t, `{"to":{"channels":["chat.1"]},"data":3}`)
	back.wants(`{"type":"message","channel":"chat.1","data":3,"offset":3}`)
	back.none()

	// With Redis away nothing is said to be lost.
	redis.Kill()
	two.AwaitRedis(t, http.StatusServiceUnavailable)
	left := talk(t, two, token("cat", "news"), "")
	if w := left.welcome; w.Position != nil || len(w.Channels) != 0 {
		t.Errorf("welcome without Redis: %+v", w)
	}
	left.wants(`{"type":"subscribed","channel":"news"}`)
	for frame, want := range map[string]string{
		`{"type":"subscribe","id":1,"channel":"chat.1"}`:                                   `{"type":"error","id":1,"code":"unavailable",`,
		`{"type":"publish","id":1,"channel":"chat.1","data":1}`:                            `{"type":"error","id":1,"code":"unavailable",`,
		`{"type":"history","id":1,"channel":"chat.1"}`:                                     `{"type":"error","id":1,"code":"unavailable",`,
		`{"type":"recover","id":1,"position":{"offset":1,"epoch":"e"}}`:                    `{"type":"error","id":1,"code":"unavailable",`,
		`{"type":"subscribe","id":1,"channel":"mine.cat.x"}`:                               `{"type":"ok","id":1,"channel":"mine.cat.x"}`,
		`{"type":"subscribe","id":1,"channel":"news","position":{"offset":1,"epoch":"e"}}`: `{"type":"error","id":1,"code":"unavailable",`,
	} {
		if got := left.ask(frame); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", frame, got, want)
		}
	}
	redis.Restart(t)
	two.AwaitRedis(t, http.StatusOK)
	testkit.Eventually(t, "it can be subscribed to", func() bool {
		left.send(`{"type":"subscribe","id":9,"channel":"chat.1"}`)
		return strings.HasPrefix(left.next(), `{"type":"ok","id":9`)
	})
	testkit.Eventually(t, "it can be published to", func() bool {
		left.send(`{"type":"publish","id":10,"channel":"chat.2","data":1}`)
		return strings.HasPrefix(left.next(), `{"type":"ok","id":10`)
	})
}

// At the end of its time a connection ends with 3000, unless a fresh token came.
func TestJSON_RefreshKeepsAConnection(t *testing.T) {
	t.Parallel() // it mostly waits
	s := sidecartest.Start(t, strings.Replace(withJWT, "audience: app", "audience: app, leeway: 0s", 1))
	ending := func(in time.Duration) string {
		return sign(`{"alg":"HS256"}`, fmt.Sprintf(`{"sub":"ann","aud":"app","exp":%d}`, time.Now().Add(in).Unix()))
	}
	stays, goes := talk(t, s, ending(3*time.Second), ""), talk(t, s, ending(3*time.Second), "")
	if got := stays.ask(`{"type":"refresh","id":8,"token":"` + ending(time.Hour) + `"}`); !strings.HasPrefix(got, `{"type":"ok"`) {
		t.Errorf("got %s", got)
	}
	if code := closed(t, goes.conn); code != 3000 {
		t.Errorf("closed with %d", code)
	}
	stays.none()
	// Sooner, too.
	if got := stays.ask(`{"type":"refresh","id":8,"token":"` + ending(2*time.Second) + `"}`); !strings.HasPrefix(got, `{"type":"ok"`) {
		t.Errorf("got %s", got)
	}
	began := time.Now()
	if code := closed(t, stays.conn); code != 3000 || time.Since(began) > 8*time.Second {
		t.Errorf("closed with %d after %v", code, time.Since(began))
	}
}
