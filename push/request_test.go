package push

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/hub/hubtest"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/testkit"
)

// decodeAnswer reads an answer of the API.
func decodeAnswer[T any](t *testing.T, r *response) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
	return v
}

func TestAPI_GetUser(t *testing.T) {
	a, b, _ := hubtest.Pair(t)
	c1 := hubtest.Join(t, a, "4/2", "news")
	c2 := hubtest.Join(t, b, "4/2")
	for _, h := range []*hub.Hub{a, b} {
		s := serve(t, h)
		u := decodeAnswer[userAnswer](t, s.want(200, "GET", "/v1/users/4%2F2", ""))
		if u.UserID != "4/2" || !u.Online || !u.Complete || len(u.Connections) != 2 {
			t.Fatalf("got %+v", u)
		}
		for _, c := range u.Connections {
			want := c1
			if c.ConnectionID == c2.Member().ID() {
				want = c2
			}
			if i := want.Info(); c.NodeID != i.NodeID || !c.Since.Equal(i.Since) || c.RemoteIP != i.RemoteIP || len(c.Channels) != len(i.Channels) {
				t.Errorf("got %+v, want %+v", c, i)
			}
		}
		if r := s.want(200, "GET", "/v1/users/nobody", ""); r.body != `{"user_id":"nobody","online":false,"connections":[],"complete":true}` {
			t.Errorf("got %s", r.body)
		}
	}
}

// A node that does not answer within a second is missing, and that is said.
func TestAPI_IncompleteAnswers(t *testing.T) {
	a, b, net := hubtest.Pair(t)
	hubtest.Join(t, a, "42")
	c := hubtest.Join(t, b, "42")
	net.Set(func() {
		net.Lose = func(_ *brokertest.NetworkNode, topic string, payload []byte) bool {
			return strings.Contains(string(payload), `"request":`)
		}
	})
	s := serve(t, a)
	begin := time.Now()
	u := decodeAnswer[userAnswer](t, s.want(200, "GET", "/v1/users/42", ""))
	if u.Complete || len(u.Connections) != 1 || !u.Online {
		t.Errorf("got %+v", u)
	}
	if took := time.Since(begin); took < time.Second || took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if r := s.want(200, "GET", "/v1/nodes", ""); !strings.Contains(r.body, `"complete":false`) {
		t.Errorf("got %s", r.body)
	}
	s.wantError(503, "unavailable", "", "GET", "/v1/connections/"+c.Member().ID(), "")
}

func TestAPI_Connection(t *testing.T) {
	a, b, _ := hubtest.Pair(t)
	c := hubtest.Join(t, b, "42", "news")
	for _, h := range []*hub.Hub{a, b} {
		s := serve(t, h)
		path := "/v1/connections/" + c.Member().ID()
		i := decodeAnswer[hub.Info](t, s.want(200, "GET", path, ""))
		if i.ConnectionID != c.Member().ID() || i.UserID != "42" || i.NodeID != b.NodeID() || len(i.Channels) != 1 {
			t.Errorf("got %+v", i)
		}
		state := `{"n":1,"html":"<b>"}`
		i = decodeAnswer[hub.Info](t, s.want(200, "PATCH", path, `{"state": `+state+`}`))
		if string(i.State) != state {
			t.Errorf("state: got %s, want %s", i.State, state)
		}
		s.want(200, "PATCH", path, `{"state":null}`)
		s.wantError(400, "invalid_argument", "state", "PATCH", path, `{}`)
		s.wantError(400, "invalid_argument", "stat", "PATCH", path, `{"stat":1}`)
		s.wantError(400, "invalid_argument", "state", "PATCH", path, `{"state":1,"state":2}`)
		s.wantError(400, "invalid_argument", "", "PATCH", path, `{"state":}`)
		s.want(200, "PATCH", path, `{"state":"`+strings.Repeat("x", MaxState-2)+`"}`)
		s.wantError(413, "too_large", "state", "PATCH", path, `{"state":"`+strings.Repeat("x", MaxState-1)+`"}`)
		const nobody = "0000000000000" // a number that no connection has
		for _, id := range []string{"nonsense", ids.NewNode() + nobody, a.NodeID() + nobody, b.NodeID() + nobody} {
			s.wantError(404, "not_found", "", "GET", "/v1/connections/"+id, "")
			s.wantError(404, "not_found", "", "PATCH", "/v1/connections/"+id, `{"state":1}`)
			s.wantError(404, "not_found", "", "PUT", "/v1/connections/"+id+"/channels/x", "")
		}
	}
}

func TestAPI_Disconnect(t *testing.T) {
	a, b, _ := hubtest.Pair(t)
	s := serve(t, a)
	f := func(path, body string, nodes, code int, reason string) {
		t.Helper()
		c1, c2 := hubtest.Join(t, a, "42", "news"), hubtest.Join(t, b, "42", "news")
		other := hubtest.Join(t, b, "43", "sport")
		defer a.Leave(c1)
		defer b.Leave(c2)
		defer b.Leave(other)
		path = strings.NewReplacer("$1", c1.Member().ID(), "$2", c2.Member().ID()).Replace(path)
		r := decodeAnswer[nodesAnswer](t, s.want(200, "POST", path, body))
		if r.Nodes != nodes {
			t.Errorf("%s: got %d nodes, want %d", path, r.Nodes, nodes)
		}
		want := []*hubtest.Conn{c1, c2}
		if nodes == 1 {
			want = want[1:] // the one of the other node is addressed
		}
		for _, c := range want {
			testkit.Eventually(t, path, func() bool { got, _ := c.Closed(); return got != 0 })
			if gotCode, gotReason := c.Closed(); gotCode != code || gotReason != reason {
				t.Errorf("%s: got %d %q, want %d %q", path, gotCode, gotReason, code, reason)
			}
		}
		if got, _ := other.Closed(); got != 0 {
			t.Errorf("%s: another was closed", path)
		}
	}
	f("/v1/users/42/disconnect", "", 2, 1000, "")
	f("/v1/users/42/disconnect", `{}`, 2, 1000, "")
	f("/v1/channels/news/disconnect", `{"code":4100,"reason":"bye"}`, 2, 4100, "bye")
	f("/v1/connections/$2/disconnect", `{"code":3003}`, 1, 3003, "")
	for path, want := range map[string]int{
		"/v1/users/nobody/disconnect": 0, "/v1/channels/nothing/disconnect": 0, "/v1/connections/nonsense/disconnect": 0,
	} {
		if r := decodeAnswer[nodesAnswer](t, s.want(200, "POST", path, "")); r.Nodes != want {
			t.Errorf("%s: %d nodes", path, r.Nodes)
		}
	}
	s.want(200, "POST", "/v1/users/nobody/disconnect", `{"code":null,"reason":null}`)
	for _, bad := range []string{`{"code":1001}`, `{"code":4099}`, `{"code":5000}`, `{"code":"1000"}`, `{"code":1000.5}`} {
		s.wantError(400, "invalid_argument", "code", "POST", "/v1/users/42/disconnect", bad)
	}
	s.wantError(400, "invalid_argument", "reason", "POST", "/v1/users/42/disconnect", `{"reason":"`+strings.Repeat("x", 124)+`"}`)
	s.wantError(400, "invalid_argument", "reason", "POST", "/v1/users/42/disconnect", `{"reason":1}`)
	s.wantError(400, "invalid_argument", "cause", "POST", "/v1/users/42/disconnect", `{"cause":"x"}`)
}

// A disconnect comes after the pushes that were made before it.
func TestAPI_DisconnectIsInOrder(t *testing.T) {
	a, b, _ := hubtest.Pair(t)
	stuck := hubtest.Join(t, b, "42")
	entered, let := make(chan struct{}), make(chan struct{})
	stuck.OnSend = func() { close(entered); <-let }
	mustPublish(t, a, `{"to":{"users":["42"]},"text":"last words"}`)
	<-entered
	s := serve(t, a)
	s.want(200, "POST", "/v1/users/42/disconnect", "")
	if code, _ := stuck.Closed(); code != 0 {
		t.Error("closed before the push was delivered")
	}
	close(let)
	testkit.Eventually(t, "closed", func() bool { code, _ := stuck.Closed(); return code == 1000 })
	hubtest.WantFrames(t, stuck, "last words")
}

func TestAPI_SubscribeConnection(t *testing.T) {
	a, b, net := hubtest.Pair(t)
	c := hubtest.Join(t, b, "42")
	s := serve(t, a) // four channels for each connection
	path := "/v1/connections/" + c.Member().ID() + "/channels/"
	s.want(204, "PUT", path+"ne%2Fws", "")
	s.want(204, "PUT", path+"ne%2Fws", "")
	mustPublish(t, a, `{"to":{"channels":["ne/ws"]},"text":"1"}`)
	hubtest.WantFrames(t, c, "1")
	s.want(204, "DELETE", path+"ne%2Fws", "")
	s.want(204, "DELETE", path+"ne%2Fws", "")
	if r := mustPublish(t, a, `{"to":{"channels":["ne/ws"]},"text":"2"}`); r.Nodes != 0 {
		t.Errorf("got %+v", r)
	}
	if net.Subscribers("channel:ne/ws") != 0 {
		t.Error("still subscribed")
	}
	for i := range 4 {
		s.want(204, "PUT", fmt.Sprint(path, i), "")
	}
	s.wantError(429, "rate_limited", "", "PUT", path+"4", "")
	s.want(204, "PUT", path+"3", "") // has it already
	s.wantError(400, "invalid_argument", "channel", "PUT", path+"a*", "")
	b.Leave(c)
	for i := range 4 {
		if net.Subscribers(fmt.Sprint("channel:", i)) != 0 {
			t.Errorf("channel %d is still subscribed to", i)
		}
	}
	s.wantError(404, "not_found", "", "PUT", path+"x", "")
}

func TestAPI_Nodes(t *testing.T) {
	a, b, _ := hubtest.Pair(t)
	a.SetVersion("1.2.3")
	a.SetAddress("10.0.0.1:8080")
	hubtest.Join(t, a, "")
	hubtest.Join(t, a, "")
	type list struct {
		Nodes    []hub.NodeInfo
		Complete bool
	}
	l := decodeAnswer[list](t, serve(t, b).want(200, "GET", "/v1/nodes", ""))
	if len(l.Nodes) != 2 || !l.Complete {
		t.Fatalf("got %+v", l)
	}
	for _, n := range l.Nodes {
		if n.NodeID == a.NodeID() && (n.Version != "1.2.3" || n.Address != "10.0.0.1:8080" || n.Connections != 2 || n.Start.IsZero()) {
			t.Errorf("got %+v", n)
		}
	}
}

func TestAPI_Channels(t *testing.T) {
	h := hubtest.Alone(t)
	s := serve(t, h)
	f := func(query, want string) {
		t.Helper()
		if r := s.want(200, "GET", "/v1/channels"+query, ""); r.body != want {
			t.Errorf("%s: got %s, want %s", query, r.body, want)
		}
	}
	f("", `{"channels":[],"complete":true}`)
	hubtest.Join(t, h, "", "a.1", "b")
	hubtest.Join(t, h, "", "a.1", "a.2")
	f("", `{"channels":[{"channel":"a.1","connections":2},{"channel":"a.2","connections":1},{"channel":"b","connections":1}],"complete":true}`)
	f("?match=a.*", `{"channels":[{"channel":"a.1","connections":2},{"channel":"a.2","connections":1}],"complete":true}`)
	f("?limit=2", `{"channels":[{"channel":"a.1","connections":2},{"channel":"a.2","connections":1}],"next":"a.2","complete":true}`)
	f("?limit=2&cursor=a.2", `{"channels":[{"channel":"b","connections":1}],"complete":true}`)
	for _, bad := range []string{"0", "1001", "x", ""} {
		s.wantError(400, "invalid_argument", "limit", "GET", "/v1/channels?limit="+bad, "")
	}
	for _, bad := range []string{"***", "%00", "a{user}", strings.Repeat("a", 256)} {
		s.wantError(400, "invalid_argument", "match", "GET", "/v1/channels?match="+bad, "")
	}
	f("?match=", `{"channels":[{"channel":"a.1","connections":2},{"channel":"a.2","connections":1},{"channel":"b","connections":1}],"complete":true}`)
	s.wantError(400, "invalid_argument", "page", "GET", "/v1/channels?page=2", "")
}

func TestAPI_LastingSubscriptions(t *testing.T) {
	a, b, net := hubtest.Pair(t)
	keeping(t, a)
	keeping(t, b)
	s := serve(t, a)
	enter := func(h *hub.Hub) *hubtest.Conn {
		c := hubtest.Join(t, h, "4/2")
		h.JoinLasting(t.Context(), c)
		return c
	}
	open := []*hubtest.Conn{enter(a), enter(b), enter(b)}
	for range 2 {
		if r := s.want(204, "PUT", "/v1/users/4%2F2/channels/a%20b", ""); r.body != "" {
			t.Errorf("body %q", r.body)
		}
	}
	open = append(open, enter(a), enter(b))
	s.want(200, "POST", "/v1/channels/a%20b/push", "1")
	for _, c := range open {
		hubtest.WantFrames(t, c, "1")
	}
	s.want(204, "DELETE", "/v1/users/4%2F2/channels/a%20b", "")
	s.want(204, "DELETE", "/v1/users/4%2F2/channels/a%20b", "")
	for _, c := range append(open, enter(a), enter(b)) {
		if got := c.Member().Channels(); len(got) != 0 {
			t.Errorf("subscribed to %q", got)
		}
	}
	for i := range 3 {
		s.want(204, "PUT", fmt.Sprint("/v1/users/4%2F2/channels/c", i), "")
	}
	s.wantError(429, "rate_limited", "", "PUT", "/v1/users/4%2F2/channels/c3", "")
	s.want(204, "PUT", "/v1/users/4%2F2/channels/c2", "")
	s.wantError(400, "invalid_argument", "channel", "PUT", "/v1/users/4%2F2/channels/c*", "")
	s.wantError(400, "invalid_argument", "user", "PUT", "/v1/users//channels/c", "")
	net.Set(func() { net.Down = true })
	s.wantError(503, "unavailable", "", "PUT", "/v1/users/4%2F2/channels/c2", "")
	s.wantError(503, "unavailable", "", "DELETE", "/v1/users/4%2F2/channels/c2", "")
}
