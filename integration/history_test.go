package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// keeps is a configuration that keeps what goes to users and to some channels.
const keeps = withJWT + `
channels: [{match: "chat.*", history: {messages: 5, age: 1h}}, {match: "feed.{user}", history: {messages: 1000, age: 1h}}]
users: {history: {messages: 100, age: 1h}}`

// place is a position.
type place struct {
	Offset uint64
	Epoch  string
}

// keptPage is an answer of the history API.
type keptPage struct {
	Messages []struct {
		ID, Event string
		Data      json.RawMessage
		Time      time.Time
		place
	}
	Position        place
	Recovered, More bool
}

func (p *keptPage) data() (out []string) {
	for _, m := range p.Messages {
		out = append(out, string(m.Data))
	}
	return out
}

// history reads /v1/PATH.
func history(t *testing.T, s *sidecartest.Sidecar, path string) (page keptPage) {
	t.Helper()
	status, body := s.API("GET", "/v1/"+path, "")
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		t.Fatal(err)
	}
	return page
}

// put pushes and returns the only position in the answer.
func put(t *testing.T, s *sidecartest.Sidecar, body string) place {
	t.Helper()
	status, text := s.API("POST", "/v1/push", body)
	var answer struct{ Positions map[string]place }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != http.StatusOK || len(answer.Positions) != 1 {
		t.Fatalf("push %s: %d %s", body, status, text)
	}
	for _, p := range answer.Positions {
		return p
	}
	return place{}
}

func TestHistory_IsKeptReadAndForgotten(t *testing.T) {
	t.Run("memory", func(t *testing.T) { historyOf(t, keeps) })
	t.Run("redis", func(t *testing.T) { historyOf(t, keeps+"\nredis: {addresses: ['"+redistest.Start(t).Addr+"']}") })
}

func historyOf(t *testing.T, yaml string) {
	s := sidecartest.Start(t, yaml)
	c := dial(t, s, bearer(token("ann", "chat.1")))
	var last place
	for i := range 8 {
		last = put(t, s, fmt.Sprintf(`{"to":{"channels":["chat.1"]},"data":{"n": %d.0},"event":"said","id":"k%d"}`, i, i))
		if _, got := next(t, c); got != fmt.Sprintf(`{"n": %d.0}`, i) {
			t.Errorf("live: got %s", got)
		}
	}
	if last.Offset != 8 || last.Epoch == "" {
		t.Errorf("the last position is %+v", last)
	}
	if again := put(t, s, `{"to":{"channels":["chat.1"]},"data":{"n": 3.0},"event":"said","id":"k3"}`); again != (place{4, last.Epoch}) {
		t.Errorf("a duplicate is at %+v", again)
	}
	p := history(t, s, "channels/chat.1/history")
	if want := []string{`{"n": 3.0}`, `{"n": 4.0}`, `{"n": 5.0}`, `{"n": 6.0}`, `{"n": 7.0}`}; !slices.Equal(p.data(), want) || p.Position != last || p.More {
		t.Errorf("the last five: got %q, %+v", p.data(), p)
	}
	m := p.Messages[4]
	if m.ID != "k7" || m.Event != "said" || m.place != last || time.Since(m.Time) > time.Minute || time.Since(m.Time) < -time.Minute {
		t.Errorf("got %+v", m)
	}
	f := func(query string, recovered, more bool, want ...string) {
		t.Helper()
		p := history(t, s, "channels/chat.1/history"+query)
		if p.Recovered != recovered || p.More != more || !slices.Equal(p.data(), want) || p.Position != last {
			t.Errorf("%s: got %q, %+v", query, p.data(), p)
		}
	}
	f("?after=6", true, false, `{"n": 6.0}`, `{"n": 7.0}`)
	f("?limit=1&after=6&epoch="+last.Epoch, true, true, `{"n": 6.0}`)
	f("?after=8", true, false)
	f("?after=2&limit=1", false, true, `{"n": 3.0}`)
	f("?after=9&limit=1", false, true, `{"n": 3.0}`)
	f("?after=7&limit=1&epoch=other", false, true, `{"n": 3.0}`)

	put(t, s, `{"to":{"users":["zoë"],"channels":["other"]},"text":"for \"you\""}`)
	p = history(t, s, "users/zo%C3%AB/history")
	if !slices.Equal(p.data(), []string{`"for \"you\""`}) || p.Position.Offset != 1 || p.Messages[0].ID == "" {
		t.Errorf("a user's: got %q, %+v", p.data(), p)
	}
	for path, key := range map[string]string{"/v1/channels/other/history": "channels[].history", "/v1/channels/feed.a.b/history": "channels[].history"} {
		for _, method := range []string{"GET", "DELETE"} {
			if status, body := s.API(method, path, ""); status != http.StatusNotFound || !strings.Contains(body, key) {
				t.Errorf("%s %s: %d %s", method, path, status, body)
			}
		}
	}
	if status, body := s.API("DELETE", "/v1/channels/chat.1/history", ""); status != http.StatusNoContent {
		t.Errorf("delete: %d %s", status, body)
	}
	f("", false, false)
	f("?after=8", true, false)
	f("?after=7", false, false)
	if p := put(t, s, `{"to":{"channels":["chat.1"]},"text":"on"}`); p != (place{9, last.Epoch}) {
		t.Errorf("after the deletion: %+v", p)
	}
	put(t, s, `{"to":{"channels":["chat.2"]},"text":"short","ttl":"1ms"}`)
	testkit.Eventually(t, "it is past its ttl", func() bool { return len(history(t, s, "channels/chat.2/history").Messages) == 0 })
	if p := history(t, s, "channels/chat.2/history?after=0"); !p.Recovered {
		t.Error("what is past its ttl is a gap")
	}
	if c := s.Complaints(); len(c) > 0 {
		t.Errorf("it complained: %q", c)
	}
}

// Without Redis, what is kept ends with the process, and whoever comes back is told.
func TestHistory_InMemoryEndsWithTheProcess(t *testing.T) {
	s := sidecartest.Start(t, keeps)
	old := put(t, s, `{"to":{"channels":["chat.1"]},"text":"x"}`)
	status, metrics := call(t, "GET", "http://"+s.Admin+"/metrics", "", "")
	if status != http.StatusOK || !strings.Contains(metrics, "\npushcart_history_streams 1\n") || strings.Contains(metrics, "\npushcart_history_bytes 0\n") {
		t.Error("the metrics know nothing of what is kept")
	}
	s.Stop(t)
	s = sidecartest.Start(t, keeps)
	if now := put(t, s, `{"to":{"channels":["chat.1"]},"text":"y"}`); now.Offset != 1 || now.Epoch == old.Epoch {
		t.Errorf("after a restart: %+v, before: %+v", now, old)
	}
	p := history(t, s, fmt.Sprintf("channels/chat.1/history?after=%d&epoch=%s", old.Offset, old.Epoch))
	if p.Recovered || !slices.Equal(p.data(), []string{`"y"`}) {
		t.Errorf("got %+v", p)
	}
}

// With Redis any node has it, also one that is started later.
func TestHistory_OutlivesItsNodes(t *testing.T) {
	t.Parallel() // it mostly waits
	redis := redistest.Start(t)
	yaml := keeps + "\nredis: {addresses: ['" + redis.Addr + "']}"
	nodes := []*sidecartest.Sidecar{sidecartest.Start(t, yaml), sidecartest.Start(t, yaml)}
	for _, n := range nodes {
		n.AwaitRedis(t, http.StatusOK)
	}
	c := dial(t, nodes[1], bearer(token("ann", "feed.ann")))
	const publishers, each = 4, 25
	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			for i := range each {
				put(t, nodes[p%2], fmt.Sprintf(`{"to":{"channels":["feed.ann"]},"text":"%d.%02d"}`, p, i))
			}
		})
	}
	all.Wait()
	var live []string
	for range publishers * each {
		_, text := next(t, c)
		live = append(live, `"`+text+`"`)
	}
	nodes[0].Stop(t)
	later := sidecartest.Start(t, yaml)
	later.AwaitRedis(t, http.StatusOK)
	for name, n := range map[string]*sidecartest.Sidecar{"the other": nodes[1], "a later one": later} {
		var got []string
		p := history(t, n, "channels/feed.ann/history?after=0&limit=30")
		for got = append(got, p.data()...); p.More; got = append(got, p.data()...) {
			last := p.Messages[len(p.Messages)-1]
			if p = history(t, n, fmt.Sprintf("channels/feed.ann/history?limit=30&after=%d&epoch=%s", last.Offset, last.Epoch)); !p.Recovered {
				t.Errorf("%s: a gap after %d", name, last.Offset)
			}
		}
		if !slices.Equal(got, live) {
			t.Errorf("%s node: got\n%q\nand live it was\n%q", name, got, live)
		}
	}
	if status, body := later.API("DELETE", "/v1/channels/feed.ann/history", ""); status != http.StatusNoContent {
		t.Errorf("delete: %d %s", status, body)
	}
	if p := history(t, nodes[1], "channels/feed.ann/history"); len(p.Messages) > 0 || p.Position.Offset != publishers*each {
		t.Errorf("after the deletion on another node: %+v", p)
	}
	redis.Kill()
	for _, method := range []string{"GET", "DELETE"} {
		begin := time.Now()
		status, body := later.API(method, "/v1/channels/feed.ann/history", "")
		if took := time.Since(begin); status != http.StatusServiceUnavailable || !strings.Contains(body, "unavailable") || took > 5*time.Second {
			t.Errorf("%s without Redis: %d %s after %v", method, status, body, took)
		}
	}
}

// Whether a message is kept, the node that takes the push decides. What is not kept
// stands in the same order, without an offset.
func TestHistory_OfNodesWithDifferentRules(t *testing.T) {
	redis := "\nredis: {addresses: ['" + redistest.Start(t).Addr + "']}"
	nodes := []*sidecartest.Sidecar{sidecartest.Start(t, keeps+redis), sidecartest.Start(t, withJWT+redis)}
	for _, n := range nodes {
		n.AwaitRedis(t, http.StatusOK)
	}
	clients := []*websocket.Conn{dial(t, nodes[0], bearer(token("ann", "chat.1"))), dial(t, nodes[1], bearer(token("bob", "chat.1")))}
	const messages = 20
	var kept []string
	for i := range messages {
		answer := nodes[i%2].Pushed(t, fmt.Sprintf(`{"to":{"channels":["chat.1"]},"text":"%d"}`, i))
		if answer.Nodes != 2 {
			t.Errorf("push %d went to %d nodes", i, answer.Nodes)
		}
		if i%2 == 0 {
			kept = append(kept, fmt.Sprintf(`"%d"`, i))
		}
	}
	for n, c := range clients {
		for i := range messages {
			if _, got := next(t, c); got != fmt.Sprint(i) {
				t.Fatalf("the client of node %d got %s, want %d", n, got, i)
			}
		}
	}
	if p := history(t, nodes[0], "channels/chat.1/history"); !slices.Equal(p.data(), kept[5:]) || p.Position.Offset != messages/2 {
		t.Errorf("got %q, %+v", p.data(), p.Position)
	}
	if status, body := nodes[1].API("GET", "/v1/channels/chat.1/history", ""); status != http.StatusNotFound {
		t.Errorf("of the node that keeps nothing: %d %s", status, body)
	}
}
