package hub

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

// keepingPair is two nodes of one network that keep everything.
func keepingPair(t testing.TB) (a, b *Hub, n *brokertest.Network) {
	t.Helper()
	a, b, n = pair(t)
	a.Apply(keeping(t, "**", true))
	b.Apply(keeping(t, "**", true))
	return a, b, n
}

func history(t testing.TB, h *Hub, q HistoryQuery) HistoryPage {
	t.Helper()
	page, err := h.History(t.Context(), q)
	if err != nil {
		t.Fatalf("history of %s: %v", q.Topic, err)
	}
	return page
}

// texts are a page's payloads.
func (p *HistoryPage) texts() (out []string) {
	for _, m := range p.Messages {
		out = append(out, string(m.Data))
	}
	return out
}

func TestHistory_HasWhatWasPublishedOnAnyNode(t *testing.T) {
	a, b, net := keepingPair(t)
	c := join(t, b, "42", "news")
	for i, h := range []*Hub{a, b, a} {
		r := mustPublish(t, h, fmt.Sprintf(`{"to":{"users":["42"],"channels":["news"]},"data":{"n": %d},"event":"e","id":"k%d"}`, i, i))
		if len(r.Positions) != 2 || r.Positions[0].Topic != "user:42" || r.Positions[1].Topic != "channel:news" {
			t.Fatalf("positions: got %+v, want those of user:42 and channel:news", r.Positions)
		}
		for _, p := range r.Positions {
			if p.Offset != uint64(i+1) || p.Epoch == "" {
				t.Errorf("push %d: got %+v", i, p)
			}
		}
	}
	wantFrames(t, c, `{"n": 0}`, `{"n": 1}`, `{"n": 2}`)
	page := history(t, a, HistoryQuery{Topic: "channel:news"})
	if got := page.texts(); !slices.Equal(got, []string{`{"n": 0}`, `{"n": 1}`, `{"n": 2}`}) || page.Gap || page.More {
		t.Errorf("got %+v", page)
	}
	m := page.Messages[1]
	if m.ID != "k1" || m.Event != "e" || m.Kind != JSON || m.Offset != 2 || m.Epoch != page.Position.Epoch || m.Accepted == 0 || m.Except != nil {
		t.Errorf("got %+v", m)
	}
	if page = history(t, b, HistoryQuery{Topic: "user:42", After: &Position{Offset: 1}, Limit: 1}); !slices.Equal(page.texts(), []string{`{"n": 1}`}) || !page.More || page.Position.Offset != 3 {
		t.Errorf("one after the first: got %+v", page)
	}
	net.LoseHistory("channel:news")
	if page = history(t, b, HistoryQuery{Topic: "channel:news", After: &m.Position}); !page.Gap || page.Position.Epoch == m.Epoch {
		t.Errorf("of an epoch that is gone: got %+v", page)
	}
}

func TestHistory_IsForgotten(t *testing.T) {
	a, b, _ := keepingPair(t)
	for range 3 {
		mustPublish(t, a, `{"to":{"channels":["news"]},"text":"x"}`)
	}
	if err := b.Forget(t.Context(), "channel:news"); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, b, `{"to":{"channels":["news"]},"text":"y"}`)
	page := history(t, a, HistoryQuery{Topic: "channel:news"})
	if !slices.Equal(page.texts(), []string{"y"}) || page.Position.Offset != 4 {
		t.Errorf("got %+v", page)
	}
	if page = history(t, a, HistoryQuery{Topic: "channel:news", After: &Position{Offset: 3}}); page.Gap {
		t.Error("the position at which it was forgotten is a gap")
	}
	if page = history(t, a, HistoryQuery{Topic: "channel:news", After: &Position{Offset: 2}}); !page.Gap {
		t.Error("a position before the deleted messages is not a gap")
	}
}

func TestHistory_OfWhatIsNotKept(t *testing.T) {
	a, _, net := pair(t)
	a.Apply(keeping(t, "kept", false))
	if r := mustPublish(t, a, `{"to":{"users":["42"],"channels":["kept","other"],"all":true},"text":"x"}`); len(r.Positions) != 1 || r.Positions[0].Topic != "channel:kept" {
		t.Errorf("positions: got %+v, want that of channel:kept", r.Positions)
	}
	for _, topic := range []string{"channel:other", "user:42", "all"} {
		if _, err := a.History(t.Context(), HistoryQuery{Topic: topic}); !errors.Is(err, ErrNoHistory) {
			t.Errorf("history of %s: got %v, want ErrNoHistory", topic, err)
		}
		if err := a.Forget(t.Context(), topic); !errors.Is(err, ErrNoHistory) {
			t.Errorf("forget %s: got %v, want ErrNoHistory", topic, err)
		}
	}
	net.Set(func() { net.Down = true })
	if _, err := a.History(t.Context(), HistoryQuery{Topic: "channel:kept"}); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("the broker is away: got %v", err)
	}
	if err := a.Forget(t.Context(), "channel:kept"); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("the broker is away: got %v", err)
	}
}

// What another version wrote is left out with a log line. A page of nothing else does
// not stop its reader.
func TestHistory_LeavesOutWhatItCannotRead(t *testing.T) {
	n := brokertest.NewNetwork()
	var log testkit.Log
	h := NewHub(n.Node(), ids.NewNode(), metrics.New("", ""), slog.New(slog.NewTextHandler(&log, nil)))
	h.Apply(keeping(t, "**", true))
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	foreign := [][]byte{
		{envelope.Version + 1, envelope.PushKind}, {}, {envelope.Version, envelope.OrderKind, '{', '}'}, {envelope.Version, envelope.PushKind, 3},
		(&envelope.Envelope{Bulk: &envelope.BulkRef{Node: "n", Number: 1}}).Append(nil),
	}
	mustPublish(t, h, `{"to":{"channels":["news"]},"text":"first"}`)
	for _, b := range foreign {
		n.Keep("channel:news", b)
	}
	mustPublish(t, h, `{"to":{"channels":["news"]},"text":"last"}`)
	page := history(t, h, HistoryQuery{Topic: "channel:news"})
	if !slices.Equal(page.texts(), []string{"first", "last"}) || page.More || page.Position.Offset != 7 {
		t.Errorf("got %+v", page)
	}
	if got := strings.Count(log.String(), "unreadable message"); got != 1 {
		t.Errorf("%d log lines, want 1:\n%s", got, log.String())
	}
	page = history(t, h, HistoryQuery{Topic: "channel:news", After: &Position{Offset: 1}, Limit: 2})
	if !slices.Equal(page.texts(), []string{"last"}) || page.More || page.Gap || page.Messages[0].Offset != 7 {
		t.Errorf("two after the first: got %+v", page)
	}
}

// What is kept is whole whatever else the push had, and says whom it is not for.
func TestHistory_StandsAlone(t *testing.T) {
	for name, bulkFrom := range map[string]int{"each by itself": defaultBulkFrom, "several as a bulk": 0} {
		t.Run(name, func(t *testing.T) {
			a, b, net := pair(t)
			for _, h := range []*Hub{a, b} {
				h.bulkFrom = bulkFrom
				h.Apply(keeping(t, "k*", true))
			}
			c1, c2, c3 := join(t, a, "1", "k1"), join(t, b, "2", "k2", "k1"), join(t, b, "3", "k2")
			mustPublish(t, a, fmtBody(`{"to":{"users":["1","4"],"channels":["k1","other","k2"],"connections":["$1","$2"],"all":true},`+
				`"except":{"users":["3","4"],"connections":["$2"]},"text":"x"}`, c1, c2))
			wantFrames(t, c1, "x") // as a user
			mustPublish(t, b, `{"to":{"all":true},"text":"end"}`)
			wantFrames(t, c2, "end")
			wantFrames(t, c3, "end")
			c := NewHub(net.Node(), ids.NewNode(), metrics.New("", ""), discard()) // knows no bulk
			c.Apply(keeping(t, "k*", true))
			f := func(topic string, want []string, except ...string) {
				t.Helper()
				page := history(t, c, HistoryQuery{Topic: topic})
				if !slices.Equal(page.texts(), want) {
					t.Errorf("%s: got %q, want %q", topic, page.texts(), want)
				}
				for _, m := range page.Messages {
					if !slices.Equal(m.Except, except) {
						t.Errorf("%s: except %q, want %q", topic, m.Except, except)
					}
				}
			}
			f("user:1", []string{"x"})
			f("user:4", nil)
			f("channel:k1", []string{"x"}, "3", "4")
			f("channel:k2", []string{"x"}, "3", "4")
		})
	}
}

// A node that fetches what it did not hear has no bulk of it.
func TestHub_DeliversAKeptMessageWithoutItsBulk(t *testing.T) {
	h := newHub(t, brokertest.NewNetwork().Node())
	c, x := join(t, h, "42", "news"), join(t, h, "43", "news")
	e := envelope.Envelope{Bulk: &envelope.BulkRef{Node: "nobody", Number: 1, Whole: true}, Except: envelope.Except{Users: []string{"43"}}, Payload: []byte("x")}
	h.receive(broker.Message{Topic: "channel:news", Payload: e.Append(nil), Position: Position{Offset: 1, Epoch: "e"}})
	mustPublish(t, h, `{"to":{"channels":["news"]},"text":"after"}`)
	wantFrames(t, c, "x", "after")
	wantFrames(t, x, "after")
}

func TestPublish_KeptIsIdempotent(t *testing.T) {
	a, b, net := keepingPair(t)
	const first = `{"to":{"channels":["a"]},"text":"x","id":"k"}`
	want := mustPublish(t, a, first).Positions
	mustPublish(t, a, `{"to":{"channels":["a"]},"text":"y"}`)
	again := mustPublish(t, b, first)
	if !again.Duplicate || !slices.Equal(again.Positions, want) {
		t.Errorf("a duplicate: got %+v, want the position %+v", again, want)
	}
	// Each destination by itself.
	both := mustPublish(t, b, `{"to":{"channels":["a","b"]},"text":"x","id":"k"}`)
	if both.Duplicate || len(both.Positions) != 2 || both.Positions[0] != want[0] || both.Positions[1].Offset != 1 {
		t.Errorf("a duplicate of one: got %+v", both)
	}
	out := publishBody(t, a, `{"to":{"channels":["a","c"]},"text":"other","id":"k"}`)
	if out.Err == nil || out.Err.Code != apierror.Conflict {
		t.Errorf("other content: got %+v, want a conflict", out)
	}
	if page := history(t, a, HistoryQuery{Topic: "channel:c"}); !slices.Equal(page.texts(), []string{"other"}) {
		t.Errorf("the destination without the conflict: got %q", page.texts())
	}
	net.Set(func() { net.Fail = func(topic string) bool { return topic == "channel:e" } })
	const retried = `{"to":{"channels":["d","e"]},"text":"x","id":"k"}`
	if out := publishBody(t, a, retried); out.Err == nil || out.Err.Code != apierror.Unavailable {
		t.Errorf("got %+v, want unavailable", out)
	}
	net.Set(func() { net.Fail = nil })
	mustPublish(t, b, retried)
	for _, topic := range []string{"channel:d", "channel:e"} {
		if page := history(t, a, HistoryQuery{Topic: topic}); !slices.Equal(page.texts(), []string{"x"}) {
			t.Errorf("%s after a retry: got %q", topic, page.texts())
		}
	}
}

// positionConn notes where its messages stand.
type positionConn struct {
	fakeConn
	positions []Position // guarded by mu
}

func (c *positionConn) Send(messages []*Message) {
	c.mu.Lock()
	for _, m := range messages {
		c.positions = append(c.positions, Position{Offset: m.Offset, Epoch: m.Epoch})
	}
	c.mu.Unlock()
	c.fakeConn.Send(messages)
}

func TestHub_MessagesHaveTheirPositions(t *testing.T) {
	a, b, net := keepingPair(t)
	c := &positionConn{fakeConn: fakeConn{member: b.NewMember()}}
	if err := b.Join(t.Context(), c, "42", []string{"news"}); err != nil {
		t.Fatal(err)
	}
	var want []Position
	for _, body := range []string{
		`{"to":{"channels":["news"]},"text":"1"}`, `{"to":{"users":["42"],"channels":["news"]},"text":"2"}`, `{"to":{"users":["42"]},"text":"3","wait":"5s"}`,
	} {
		want = append(want, mustPublish(t, a, body).Positions[0].Position)
		testkit.Eventually(t, "it is delivered", func() bool { return len(c.frames()) == len(want) }) // a user and a channel have no common order
	}
	net.LoseHistory("channel:news")
	want = append(want, mustPublish(t, a, `{"to":{"channels":["news"]},"text":"4"}`).Positions[0].Position, Position{})
	testkit.Eventually(t, "it is delivered", func() bool { return len(c.frames()) == 4 })
	mustPublish(t, a, `{"to":{"all":true},"text":"5"}`)
	testkit.Eventually(t, "it is delivered", func() bool { return len(c.frames()) == 5 })
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.positions, want) {
		t.Errorf("got %+v, want %+v", c.positions, want)
	}
	if c.positions[3].Offset != 1 || c.positions[3].Epoch == c.positions[0].Epoch {
		t.Errorf("after the history was lost: %+v", c.positions[3])
	}
}

// What the broker tells of streams needs no publisher to leave its lane.
func TestLanes_StreamsAreToldOfWithoutPublishers(t *testing.T) {
	h := alone(t)
	for _, kind := range []broker.Kind{broker.Opened, broker.Lost} {
		h.receive(broker.Message{Topic: "user:42", Kind: kind, Position: Position{Offset: 7, Epoch: "e"}})
		testkit.Eventually(t, "the lane is empty", func() bool { return h.lanes.waiting() == 0 })
	}
}

// What is kept goes to each destination whole, and is there once for all of them.
func TestPlan_KeptIsLinear(t *testing.T) {
	h, _, _ := keepingPair(t)
	f := func(name, body string, destinations int) {
		t.Helper()
		p, pubs := h.plan(pushesOf(t, body)[0], time.Now(), nil)
		if p.waiter != nil {
			p.waiter.End()
		}
		if got := p.end - p.first; got != destinations {
			t.Errorf("%s: %d destinations, want %d", name, got, destinations)
		}
		size, seen := 0, map[*byte]bool{}
		for i := range pubs {
			if at := unsafe.SliceData(pubs[i].Payload); !seen[at] {
				seen[at] = true
				size += len(pubs[i].Payload)
			}
		}
		if most := 4*len(body) + defaultBulkFrom; size > most {
			t.Errorf("%s: %d bytes for a body of %d, want at most %d", name, size, len(body), most)
		}
	}
	payload := `"text":"` + strings.Repeat("x", 500_000) + `"}`
	f("users", `{"to":{"users":[`+quoted("u", 20_000)+`]},`+payload, 20_000)
	f("channels", `{"to":{"channels":[`+quoted("c", 20_000)+`]},`+payload, 20_000)
	f("both, but for some", `{"to":{"users":[`+quoted("u", 10_000)+`],"channels":[`+quoted("c", 10_000)+`],"all":true},"except":{"users":[`+quoted("v", 1000)+`]},`+payload, 20_001)
}

// However much it is in all, parts of it go to the broker one after the other.
func TestPublish_KeptInParts(t *testing.T) {
	h, _, _ := keepingPair(t)
	large := strings.Repeat("x", 500_000)
	r := mustPublish(t, h, `{"to":{"channels":[`+quoted("c", 40)+`]},"text":"`+large+`"}`)
	if len(r.Positions) != 40 {
		t.Errorf("%d positions, want 40", len(r.Positions))
	}
	pubs := make([]broker.Publication, 40)
	for i := range pubs {
		pubs[i].Payload = make([]byte, 500_000)
	}
	if n := len(nextPart(pubs)); n != publishBytes/500_000 {
		t.Errorf("%d at once", n)
	}
	pubs[0].Payload = make([]byte, 2*publishBytes)
	if n := len(nextPart(pubs)); n != 1 {
		t.Errorf("%d at once with a large one first, want 1", n)
	}
}

// As much as a body may ask for, kept in memory: nothing of it is dropped on its way.
func TestPublish_KeptInPartsIsDelivered(t *testing.T) {
	h := alone(t)
	h.Apply(keeping(t, "**", true))
	const destinations = 400
	var channels []string
	for i := range destinations {
		channels = append(channels, fmt.Sprint("c", i))
	}
	sinks(t, h, destinations)
	c := &sink{member: h.NewMember()}
	if err := h.Join(t.Context(), c, "", channels); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{`"channels":[` + quoted("c", destinations), `"users":[` + quoted("u", destinations)} {
		mustPublish(t, h, `{"to":{`+to+`]},"text":"`+strings.Repeat("x", 500_000)+`"}`)
	}
	testkit.Eventually(t, "all of it is delivered", func() bool { return h.lanes.waiting() == 0 })
	if got := testkit.Metric(t, h.metrics.Handler(), "pushcart_fanout_dropped_total"); got != 0 {
		t.Errorf("%v messages were dropped", got)
	}
}
