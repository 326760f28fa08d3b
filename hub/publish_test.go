package hub

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/hub/internal/receipt"
	"github.com/pushcart/pushcart/hub/internal/registry"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/race"

	"github.com/pushcart/pushcart/broker/brokertest"

	"github.com/pushcart/pushcart/internal/testkit"
)

// fmtBody fills the ids of connections into a body.
func fmtBody(body string, conns ...*fakeConn) string {
	for i, c := range conns {
		body = strings.ReplaceAll(body, fmt.Sprintf("$%d", i+1), c.Member().ID())
	}
	return body
}

// Every connection of a target gets a push once, on whichever node it is, and
// nodes says how many nodes that are, whichever node took the push.
func TestPublish_ReachesTargetsOnce(t *testing.T) {
	for name, rules := range map[string]*Rules{
		"": {}, ", all of it kept": keeping(t, "**", true), ", some of it kept": keeping(t, "s*", false), ", users kept": keeping(t, "", true),
	} {
		t.Run("each by itself"+name, func(t *testing.T) { reachesTargetsOnce(t, defaultBulkFrom, rules) })
		t.Run("several as a bulk"+name, func(t *testing.T) { reachesTargetsOnce(t, 0, rules) })
	}
}

func reachesTargetsOnce(t *testing.T, bulkFrom int, rules *Rules) {
	a, b, _ := pair(t)
	a.Apply(rules)
	b.Apply(rules)
	a.bulkFrom, b.bulkFrom = bulkFrom, bulkFrom
	c1 := join(t, a, "42", "news", "sport") // $1
	c2 := join(t, b, "42", "news")          // $2
	c3 := join(t, a, "43", "news")          // $3
	c4 := join(t, b, "")                    // $4
	gone := join(t, b, "44")                // $5
	b.Leave(gone)
	all := []*fakeConn{c1, c2, c3, c4}
	f := func(to string, nodes int, want ...*fakeConn) {
		t.Helper()
		for _, h := range []*Hub{a, b} {
			body := fmtBody(`{"to":`+to+`,"text":"x","wait":"5s"}`, c1, c2, c3, c4, gone)
			r := mustPublish(t, h, body)
			if r.Nodes != nodes || int(r.Delivered) != len(want) || r.Slow != 0 {
				t.Errorf("%s: got nodes %d, delivered %d, slow %d; want %d, %d", to, r.Nodes, r.Delivered, r.Slow, nodes, len(want))
			}
			if r := mustPublish(t, h, strings.Replace(body, `,"wait":"5s"`, "", 1)); r.Nodes != nodes || r.Waited {
				t.Errorf("%s without wait: got %+v, want nodes %d", to, r, nodes)
			}
			for i, c := range all {
				n := 0
				if slices.Contains(want, c) {
					n = 2
				}
				testkit.Eventually(t, fmt.Sprintf("%s: %d frames for connection %d", to, n, i+1), func() bool {
					return len(c.frames()) >= n
				})
				if got := len(c.frames()); got != n {
					t.Errorf("%s: connection %d got %d frames, want %d", to, i+1, got, n)
				}
				c.mu.Lock()
				c.got = nil
				c.mu.Unlock()
			}
		}
	}
	// One target.
	f(`{"users":["42"]}`, 2, c1, c2)
	f(`{"users":["43"]}`, 1, c3)
	f(`{"users":["nobody"]}`, 0)
	f(`{"channels":["news"]}`, 2, c1, c2, c3)
	f(`{"channels":["sport"]}`, 1, c1)
	f(`{"channels":["silence"]}`, 0)
	f(`{"connections":["$1"]}`, 1, c1)
	f(`{"connections":["$4"]}`, 1, c4)
	f(`{"connections":["$5"]}`, 0)
	f(`{"connections":["nonsense","0000000000000-0000000000000"]}`, 0)
	f(`{"all":true}`, 2, all...)
	// Several of a kind.
	f(`{"users":["42","43"]}`, 2, c1, c2, c3)
	f(`{"users":["43","nobody"]}`, 1, c3)
	f(`{"users":["nobody","no one"]}`, 0)
	f(`{"channels":["news","sport"]}`, 2, c1, c2, c3)
	f(`{"channels":["sport","news"]}`, 2, c1, c2, c3)
	f(`{"connections":["$1","$3"]}`, 1, c1, c3)
	f(`{"connections":["$1","$2","$5"]}`, 2, c1, c2)
	// Several kinds.
	f(`{"users":["42"],"channels":["news"],"connections":["$1","$2"],"all":true}`, 2, all...)
	f(`{"users":["43"],"connections":["$3"]}`, 1, c3)
	f(`{"channels":["sport"],"connections":["$1","$4"]}`, 2, c1, c4)
	f(`{"users":["43"],"channels":["sport"]}`, 1, c1, c3)
	// Exceptions.
	f(`{"all":true},"except":{"users":["42"]}`, 2, c3, c4)
	f(`{"all":true},"except":{"connections":["$4","$1"]}`, 2, c2, c3)
	f(`{"users":["42"]},"except":{"connections":["$1"]}`, 2, c2)
	f(`{"users":["42","43"]},"except":{"users":["42"]}`, 1, c3)
	f(`{"users":["42"]},"except":{"users":["42"]}`, 0)
	f(`{"channels":["news"]},"except":{"users":["43"],"connections":["$1"]}`, 2, c2)
	f(`{"connections":["$1","$2"]},"except":{"connections":["$2"]}`, 1, c1)
	f(`{"connections":["$3"]},"except":{"users":["43"]}`, 1)
	f(`{"users":["43"],"channels":["news"]},"except":{"users":["43"]}`, 2, c1, c2)
}

// The same in memory, where nobody has to be asked.
func TestPublish_InMemory(t *testing.T) {
	h := alone(t)
	c1, c2 := join(t, h, "42", "news"), join(t, h, "42")
	f := func(to string, nodes int, want ...*fakeConn) {
		t.Helper()
		r := mustPublish(t, h, fmtBody(`{"to":`+to+`,"text":"x","wait":"5s"}`, c1, c2))
		if r.Nodes != nodes || int(r.Delivered) != len(want) {
			t.Errorf("%s: got nodes %d, delivered %d; want %d, %d", to, r.Nodes, r.Delivered, nodes, len(want))
		}
		for i, c := range []*fakeConn{c1, c2} {
			if got := len(c.frames()) > 0; got != slices.Contains(want, c) {
				t.Errorf("%s: connection %d: got %q", to, i+1, c.frames())
			}
			c.mu.Lock()
			c.got = nil
			c.mu.Unlock()
		}
	}
	f(`{"users":["42"]}`, 1, c1, c2)
	f(`{"users":["nobody"]}`, 0)
	f(`{"channels":["news"],"users":["42"]}`, 1, c1, c2)
	f(`{"channels":["news"],"users":["nobody"]}`, 1, c1)
	f(`{"connections":["$2"]}`, 1, c2)
	f(`{"connections":["$2x"]}`, 0)
	f(`{"all":true}`, 1, c1, c2)
	f(`{"all":true},"except":{"connections":["$2"]}`, 1, c1)
}

func TestPublish_WaitCountsSlow(t *testing.T) {
	a, b, _ := pair(t)
	join(t, a, "42")
	slow, gone := join(t, b, "42"), join(t, b, "42")
	slow.outcome, gone.outcome = receipt.Slow, receipt.Gone
	if r := mustPublish(t, a, `{"to":{"users":["42"]},"text":"x","wait":"5s"}`); r.Delivered != 1 || r.Slow != 1 || r.Nodes != 2 {
		t.Errorf("got %+v, want delivered 1, slow 1, nodes 2", r)
	}
}

// A connection that takes its time is not counted, but all others are, and the
// answer comes when wait is over.
func TestPublish_WaitEnds(t *testing.T) {
	a, b, _ := pair(t)
	join(t, a, "42")
	join(t, b, "42")
	stuck := join(t, b, "42")
	stuck.hold = true
	begin := time.Now()
	r := mustPublish(t, a, `{"to":{"users":["42"]},"text":"x","wait":"1s"}`)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if r.Delivered != 2 || r.Slow != 0 {
		t.Errorf("got %+v, want delivered 2", r)
	}
	stuck.mu.Lock()
	defer stuck.mu.Unlock()
	for _, m := range stuck.held {
		m.Done(receipt.Written) // too late, and harmless
	}
}

// A node that does not answer costs its own counts, and no more time than wait, or a
// moment where nodes have to be asked. The push went to it all the same.
func TestPublish_NodeThatDoesNotAnswer(t *testing.T) {
	a, b, net := pair(t)
	join(t, a, "42")
	c := join(t, b, "42")
	join(t, b, "43")
	net.Set(func() {
		net.Lose = func(_ *brokertest.NetworkNode, topic string, payload []byte) bool {
			return topic == registry.NodeTopic+a.node && envelope.KindOf(payload) == envelope.ReceiptKind
		}
	})
	f := func(body string, nodes, delivered int) {
		t.Helper()
		begin := time.Now()
		r := mustPublish(t, a, fmtBody(body, c))
		if r.Nodes != nodes || int(r.Delivered) != delivered {
			t.Errorf("%s: got %+v, want nodes %d, delivered %d", body, r, nodes, delivered)
		}
		if took := time.Since(begin); took > 8*time.Second || took < countTimeout/2 {
			t.Errorf("%s: took %v", body, took)
		}
	}
	f(`{"to":{"users":["42"]},"text":"x","wait":"200ms"}`, 2, 1)
	f(`{"to":{"users":["42","43"]},"text":"x"}`, 2, 0)
	f(`{"to":{"users":["43","nobody"]},"text":"x"}`, 1, 0)
	f(`{"to":{"users":["42"],"all":true},"text":"x"}`, 2, 0)
	f(`{"to":{"connections":["$1"]},"text":"x"}`, 1, 0)
	// A batch waits once.
	pushes := pushesOf(t, `{"pushes":[`+
		strings.TrimSuffix(strings.Repeat(`{"to":{"users":["42","43"]},"text":"x"},`, 100), ",")+`]}`)
	begin := time.Now()
	out := make([]Published, len(pushes))
	a.Publish(t.Context(), pushes, out)
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("100 pushes: took %v", took)
	}
	for i := range out {
		if out[i].Nodes != 2 {
			t.Errorf("push %d: %d nodes, want 2", i, out[i].Nodes)
		}
	}
}

func TestPublish_IsIdempotent(t *testing.T) {
	a, b, _ := pair(t)
	c1, c2 := join(t, a, "42"), join(t, a, "43")
	f := func(h *Hub, body string, nodes int, duplicate bool) {
		t.Helper()
		if r := mustPublish(t, h, fmtBody(body, c1, c2)); r.Nodes != nodes || r.Duplicate != duplicate || r.ID != "k" {
			t.Errorf("%s: got %+v, want nodes %d, duplicate %v, id k", body, r, nodes, duplicate)
		}
	}
	f(a, `{"to":{"users":["42"]},"text":"x","id":"k"}`, 1, false)
	f(b, `{"to":{"users":["42"]},"text":"x","id":"k"}`, 0, true)
	f(b, `{"to":{"users":["42","43"]},"text":"x","id":"k"}`, 1, false) // 43 had not
	f(b, `{"to":{"users":["42","43"]},"text":"x","id":"k"}`, 0, true)
	// Connections of one node are destinations of their own.
	f(b, `{"to":{"connections":["$1"]},"text":"x","id":"k"}`, 1, false)
	f(b, `{"to":{"connections":["$2"]},"text":"x","id":"k"}`, 1, false)
	f(a, `{"to":{"connections":["$2"]},"text":"x","id":"k"}`, 0, true)
	wantFrames(t, c1, "x", "x")
	wantFrames(t, c2, "x", "x")
	for _, other := range []string{
		`{"to":{"users":["42"]},"text":"y","id":"k"}`,
		`{"to":{"users":["42"]},"data":"x","id":"k"}`,
		`{"to":{"users":["42"]},"data_base64":"eA==","id":"k"}`,
		`{"to":{"users":["42"]},"text":"x","event":"e","id":"k"}`,
	} {
		if out := publishBody(t, b, other); out.Err == nil || out.Err.Code != apierror.Conflict || out.Err.Field != "id" {
			t.Errorf("%s: got %+v, want conflict", other, out)
		}
	}
}

// After a 503 a retry with the same id reaches exactly the destinations that do not
// have the push.
func TestPublish_RetryAfterUnavailable(t *testing.T) {
	a, b, net := pair(t)
	c1, c2 := join(t, a, "42"), join(t, b, "43")
	reached := true
	net.Set(func() {
		net.Fail = func(topic string) bool { return topic == "user:43" && reached }
	})
	const body = `{"to":{"users":["42","43"]},"text":"x","id":"k"}`
	out := publishBody(t, b, body)
	if out.Err == nil || out.Err.Code != apierror.Unavailable || out.Err.ID != "k" {
		t.Fatalf("got %+v, want unavailable with its id", out)
	}
	net.Set(func() { reached = false })
	if r := mustPublish(t, a, body); r.Nodes != 1 || r.Duplicate {
		t.Errorf("retry: got %+v, want one node", r)
	}
	wantFrames(t, c1, "x")
	wantFrames(t, c2, "x")
}

// A push without id is published plainly: nothing is recorded for it, and its error
// has no id that a retry could be made with.
func TestPublish_WithoutIDLeavesNoRecord(t *testing.T) {
	a, b, net := pair(t)
	c := join(t, b, "42", "news")
	for _, to := range []string{`{"users":["42"]}`, `{"channels":["news"]}`, `{"connections":["$1"]}`, `{"all":true}`, `{"users":["42"],"all":true}`} {
		r := mustPublish(t, a, fmtBody(`{"to":`+to+`,"text":"x"}`, c))
		if len(r.ID) != 36 {
			t.Errorf("%s: the answer has id %q, want a generated one", to, r.ID)
		}
	}
	net.Set(func() {
		if len(net.Seen) > 0 {
			t.Errorf("recorded: %v", net.Seen)
		}
		net.Down = true
	})
	out := publishBody(t, a, `{"to":{"users":["42"]},"text":"x"}`)
	if out.Err == nil || out.Err.Code != apierror.Unavailable || out.Err.ID != "" || !strings.Contains(out.Err.Message, "twice") {
		t.Errorf("got %+v, want unavailable without an id", out.Err)
	}
}

func TestPublish_BrokerAway(t *testing.T) {
	a, _, net := pair(t)
	join(t, a, "42")
	net.Set(func() { net.Down = true })
	var users []string
	for i := range 3 * publishAtOnce {
		users = append(users, fmt.Sprintf(`"%d"`, i))
	}
	out := publishBody(t, a, `{"to":{"users":[`+strings.Join(users, ",")+`]},"text":"x"}`)
	if out.Err == nil || out.Err.Code != apierror.Unavailable {
		t.Errorf("got %+v, want unavailable", out)
	}
}

// One bad push of a batch does not harm the others.
func TestPublish_Batch(t *testing.T) {
	a, b, _ := pair(t)
	c1, c2 := join(t, a, "42"), join(t, b, "42")
	mustPublish(t, a, `{"to":{"users":["42"]},"text":"0","id":"k"}`)
	pushes := pushesOf(t, `{"pushes":[
		{"to":{"users":["42"]},"text":"1"},
		{"to":{"users":["42"]},"text":"other","id":"k"},
		{"to":{"users":["nobody"]},"text":"x"},
		{"to":{"users":["42"]},"text":"2","wait":"5s"},
		{"to":{"users":["42"]},"text":"0","id":"k"}]}`)
	out := make([]Published, len(pushes))
	b.Publish(t.Context(), pushes, out)
	if out[0].Nodes != 2 || out[2].Nodes != 0 || out[3].Delivered != 2 || !out[4].Duplicate {
		t.Errorf("got %+v", out)
	}
	for i := range out {
		if conflict := out[i].Err != nil && out[i].Err.Code == apierror.Conflict; conflict != (i == 1) {
			t.Errorf("push %d: %v", i, out[i].Err)
		}
	}
	wantFrames(t, c1, "0", "1", "2")
	wantFrames(t, c2, "0", "1", "2")
}

// Publishers on two nodes, connections on both: everybody sees one order, in
// which the pushes of each publisher are in his.
func TestPublish_OneOrderForEverybody(t *testing.T) {
	for _, target := range []string{`{"users":["42"]}`, `{"channels":["news"]}`, `{"all":true}`} {
		a, b, _ := pair(t)
		var conns []*fakeConn
		for range bigFanout { // big enough to be delivered by several goroutines
			conns = append(conns, join(t, a, "42", "news"), join(t, b, "42", "news"))
		}
		const publishers, each = 8, 50
		var wg sync.WaitGroup
		for p := range publishers {
			wg.Go(func() {
				for i := range each {
					mustPublish(t, []*Hub{a, b}[p%2], fmt.Sprintf(`{"to":%s,"text":"%d:%03d"}`, target, p, i))
				}
			})
		}
		wg.Wait()
		want := waitForFrames(t, conns[0], publishers*each)
		last := map[string]string{}
		for _, frame := range want {
			p, i, _ := strings.Cut(frame, ":")
			if i <= last[p] && last[p] != "" {
				t.Fatalf("%s: publisher %s: %s after %s", target, p, i, last[p])
			}
			last[p] = i
		}
		for n, c := range conns {
			if got := waitForFrames(t, c, publishers*each); !slices.Equal(got, want) {
				t.Fatalf("%s: connection %d sees another order than the first", target, n)
			}
		}
	}
}

func waitForFrames(t *testing.T, c *fakeConn, n int) []string {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d frames", n), func() bool { return len(c.frames()) >= n })
	if got := len(c.frames()); got != n {
		t.Fatalf("got %d frames, want %d", got, n)
	}
	return c.frames()
}

// A push costs few allocations, and a delivery none.
func TestPublish_Allocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	f := func(subs int, to Targets, want float64) {
		t.Helper()
		h := alone(t)
		sinks(t, h, subs, "news")
		pushes, out := []*Push{{To: to, Data: []byte("x"), ID: ""}}, make([]Published, 1)
		got := testing.AllocsPerRun(200, func() {
			h.Publish(t.Context(), pushes, out)
			for h.lanes.waiting() > 0 {
				<-time.After(10 * time.Microsecond)
			}
		})
		if got > want {
			t.Errorf("%+v with %d connections: %.1f allocations, want at most %.0f", to, subs, got, want)
		}
	}
	// The id, the envelope, the message.
	f(1, Targets{Users: []string{"user:u0"}}, 3)
	f(200, Targets{Users: []string{"user:u77"}}, 3)
	// And a goroutine with its closure, and the clock of this test.
	f(200, Targets{Channels: []string{"channel:news"}}, 16)
	f(2000, Targets{Channels: []string{"channel:news"}}, 24)
}
