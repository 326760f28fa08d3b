package hub

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/hub/internal/registry"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/testkit"
)

// quoted are n names as JSON strings.
func quoted(prefix string, n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(`"%s%d"`, prefix, i)
	}
	return strings.Join(names, ",")
}

// Whatever fits in a body takes memory as its body does, and not as its destinations
// times its names, and is not refused.
func TestPlan_IsLinear(t *testing.T) {
	h, _, _ := pair(t)
	far := func(n int) string { // connections of another node
		list := make([]string, n)
		for i := range list {
			list[i] = `"` + ids.Connection("0000000000000", uint64(i)) + `"`
		}
		return strings.Join(list, ",")
	}
	f := func(name, body string, destinations int) {
		t.Helper()
		begin := time.Now()
		pushes := pushesOf(t, body)
		p, pubs := h.plan(pushes[0], begin, nil)
		took := time.Since(begin)
		if p.waiter != nil {
			p.waiter.End()
		}
		if got := p.end - p.first; got != destinations {
			t.Errorf("%s: %d destinations, want %d", name, got, destinations)
		}
		size := 0
		for i := range pubs {
			size += len(pubs[i].Payload)
		}
		if most := 2*len(body) + 128*destinations + defaultBulkFrom; size > most {
			t.Errorf("%s: %d bytes for a body of %d, want at most %d", name, size, len(body), most)
		}
		if took > 2*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
	f("40,000 excepted users", `{"to":{"users":[`+quoted("u", 40_000)+`]},"except":{"users":[`+quoted("v", 40_000)+`]},"text":"x"}`, 40_000)
	f("40,000 excepted connections", `{"to":{"connections":[`+far(10_000)+`]},"except":{"connections":[`+quoted("v", 40_000)+`]},"text":"x"}`, 10_000)
	f("users, one except", `{"to":{"users":[`+quoted("a-user-with-a-long-name", 10_000)+`]},"except":{"connections":["x"]},"text":"x"}`, 10_000)
	f("users, many excepts", `{"to":{"users":[`+quoted("u", 10_000)+`]},"except":{"connections":[`+far(10_000)+`]},"text":"x"}`, 10_000)
	f("connections", `{"to":{"connections":[`+far(10_000)+`]},"text":"x"}`, 10_000)
	f("connections and users", `{"to":{"users":[`+quoted("u", 5000)+`],"connections":[`+far(5000)+`]},"text":"x"}`, 10_000)
	f("channels", `{"to":{"channels":[`+quoted("c", 10_000)+`]},"text":"x"}`, 10_000)
	f("channels and users", `{"to":{"users":[`+quoted("u", 5000)+`],"channels":[`+quoted("c", 5000)+`],"all":true},"text":"x"}`, 10_001)
	f("a large payload", `{"to":{"channels":[`+quoted("c", 10_000)+`]},"text":"`+strings.Repeat("x", 900_000)+`"}`, 10_000)
}

// The same from end to end: 10,000 destinations of every kind, each connection once.
func TestPublish_ManyDestinations(t *testing.T) {
	a, b, _ := pair(t)
	var conns []*fakeConn
	for i := range 200 {
		h := []*Hub{a, b}[i%2]
		conns = append(conns, join(t, h, fmt.Sprint("u", i), fmt.Sprint("c", i), fmt.Sprint("c", i+1)))
	}
	ids := make([]string, len(conns))
	for i, c := range conns {
		ids[i] = `"` + c.Member().ID() + `"`
	}
	all := strings.Join(ids, ",")
	f := func(name, rest string, nodes int, want func(i int) bool) {
		t.Helper()
		begin := time.Now()
		r := mustPublish(t, a, `{`+rest+`,"text":"x","wait":"20s"}`)
		if r.Nodes != nodes {
			t.Errorf("%s: %d nodes, want %d", name, r.Nodes, nodes)
		}
		for i, c := range conns {
			var expected []string
			if want(i) {
				expected = []string{"x"}
			}
			if got := c.frames(); !slices.Equal(got, expected) {
				t.Errorf("%s: connection %d got %q, want %q", name, i, got, expected)
			}
			c.mu.Lock()
			c.got = nil
			c.mu.Unlock()
		}
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
	everybody := func(int) bool { return true }
	f("users but one", `"to":{"users":[`+quoted("u", 10_000)+`]},"except":{"connections":[`+ids[3]+`]}`, 2, func(i int) bool { return i != 3 })
	f("channels", `"to":{"channels":[`+quoted("c", 10_000)+`]}`, 2, everybody)
	f("connections but one user", `"to":{"connections":[`+all+`,`+quoted("x", 9_800)+`]},"except":{"users":["u5"]}`, 2, func(i int) bool { return i != 5 })
	f("all kinds", `"to":{"users":[`+quoted("u", 3000)+`],"channels":[`+quoted("c", 3000)+`],"connections":[`+all+`],"all":true},`+
		`"except":{"users":["u1"],"connections":[`+ids[2]+`]}`, 2, func(i int) bool { return i != 2 && i != 1 })
}

// Nothing refers to a bulk that was not confirmed.
func TestPublish_ABulkThatFails(t *testing.T) {
	a, b, net := pair(t)
	c := join(t, b, "u1", "c1")
	body := `{"to":{"users":[` + quoted("u", 3000) + `],"channels":[` + quoted("c", 3000) + `]},"text":"x","id":"k"}`
	net.Set(func() { net.Fail = func(topic string) bool { return topic == registry.AllTopic } })
	if out := publishBody(t, a, body); out.Err == nil || out.Err.Code != apierror.Unavailable {
		t.Errorf("got %+v, want unavailable", out)
	}
	net.Set(func() {
		if len(net.Seen) > 0 {
			t.Error("ids were recorded, and a retry would be a duplicate")
		}
		net.Fail = nil
	})
	mustPublish(t, b, body)
	wantFrames(t, c, "x")
}

// What a node cannot know of is not delivered: it might be to somebody who is
// excepted.
func TestHub_DropsWhatRefersToNoBulk(t *testing.T) {
	h := alone(t)
	c := join(t, h, "42")
	e := envelope.Envelope{Bulk: &envelope.BulkRef{Node: "nobody", Number: 1}}
	h.receive(broker.Message{Topic: "user:42", Payload: e.Append(nil)})
	h.lanes.published(t.Context(), h.lanes.to("user:42", envelope.PushKind))
	if got := testkit.Metric(t, h.metrics.Handler(), "pushcart_fanout_dropped_total"); got != 1 {
		t.Errorf("dropped: %v, want 1", got)
	}
	mustPublish(t, h, `{"to":{"users":["42"]},"text":"after"}`)
	wantFrames(t, c, "after")
}
