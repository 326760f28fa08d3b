package hub

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/hub/internal/registry"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/metrics"

	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/internal/testkit"
)

// stuckConn holds its lane until let go. A real connection never does.
type stuckConn struct {
	fakeConn
	entered chan struct{}
	let     chan struct{}
}

func (c *stuckConn) Send(messages []*Message) {
	select {
	case c.entered <- struct{}{}:
	default:
	}
	<-c.let
	c.fakeConn.Send(messages)
}

func joinStuck(t *testing.T, h *Hub, user string, channels ...string) *stuckConn {
	t.Helper()
	c := &stuckConn{fakeConn: fakeConn{member: h.NewMember()}, entered: make(chan struct{}, 1), let: make(chan struct{})}
	if err := h.Join(t.Context(), c, user, channels); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLanes_BroadcastDoesNotStallUnicast(t *testing.T) {
	h, _, _ := pair(t)
	stuck := joinStuck(t, h, "", "news")
	c := join(t, h, "42")
	for _, to := range []string{`{"all":true}`, `{"channels":["news"]}`} {
		mustPublish(t, h, `{"to":`+to+`,"text":"to many"}`)
		<-stuck.entered
		for i := range 200 { // users of every lane
			mustPublish(t, h, fmt.Sprintf(`{"to":{"users":["%d"]},"text":"%d"}`, i, i))
		}
		testkit.Eventually(t, "the user's frame", func() bool {
			got := c.frames()
			return len(got) > 0 && got[len(got)-1] == "42"
		})
		stuck.let <- struct{}{}
	}
}

// An order that ends a connection, or its subscription, comes after every push that
// the node received before it, whatever lane that is in.
func TestLanes_OrdersThatEndComeLast(t *testing.T) {
	for _, nodes := range []string{"one", "two"} {
		for _, order := range []string{"connection", "user", "channel", "subscription"} {
			t.Run(nodes+" node, "+order, func(t *testing.T) {
				h := alone(t)
				from := h
				if nodes == "two" {
					from, h, _ = pair(t)
				}
				stuck := joinStuck(t, h, "", "news")
				c := join(t, h, "42", "news", "other")
				mustPublish(t, from, `{"to":{"channels":["news"]},"text":"before"}`)
				<-stuck.entered
				q, topic := request{Op: opDisconnect, Code: 4100, Connection: c.Member().ID()}, registry.NodeTopic+h.node
				switch order {
				case "user":
					q.Connection, topic = "", "user:42"
				case "channel":
					q.Connection, topic = "", "channel:other"
				case "subscription":
					q.Op, q.Channel = opUnsubscribe, "news"
				}
				if _, err := from.order(t.Context(), topic, &q); err != nil {
					t.Fatal(err)
				}
				ln := h.lanes.to("channel:news", envelope.PushKind)
				testkit.Eventually(t, "the order waits for the push", func() bool {
					ln.mu.Lock()
					defer ln.mu.Unlock()
					return ln.depth == 2
				})
				if code, _ := c.closed(); code != 0 || len(c.member.Channels()) != 2 {
					t.Error("the order was carried out before the push")
				}
				close(stuck.let)
				wantFrames(t, c, "before")
				if order == "subscription" {
					testkit.Eventually(t, "the end of the subscription", func() bool { return len(c.member.Channels()) == 1 })
					return
				}
				testkit.Eventually(t, "the end", func() bool { code, _ := c.closed(); return code == 4100 })
				if c.final != 1 {
					t.Errorf("%d frames before the end, want 1", c.final)
				}
			})
		}
	}
}

// Orders that end keep their order among themselves.
func TestLanes_OrdersThatEndKeepTheirOrder(t *testing.T) {
	for range 50 {
		a, b, _ := pair(t)
		c := join(t, b, "42", "news")
		mustPublish(t, a, `{"to":{"channels":["news"]},"text":"x"}`)
		for code := range 3 {
			if _, err := a.order(t.Context(), "user:42", &request{Op: opDisconnect, Code: 4100 + code}); err != nil {
				t.Fatal(err)
			}
		}
		testkit.Eventually(t, "the end", func() bool { code, _ := c.closed(); return code != 0 })
		if code, _ := c.closed(); code != 4100 || c.final != 1 {
			t.Fatalf("closed with %d after %d frames, want 4100 after 1", code, c.final)
		}
	}
}

// What waits for one channel goes to each connection in one Send.
func TestLanes_JoinWhatWaits(t *testing.T) {
	h := alone(t)
	stuck := joinStuck(t, h, "", "news")
	c := join(t, h, "", "news")
	var want []string
	for i := range 10 {
		mustPublish(t, h, fmt.Sprintf(`{"to":{"channels":["news"]},"text":"%d"}`, i))
		if i == 0 {
			<-stuck.entered
		}
		want = append(want, fmt.Sprint(i))
	}
	close(stuck.let)
	wantFrames(t, c, want...)
	if c.mu.Lock(); c.batches != 2 {
		t.Errorf("10 messages came in %d batches, want 2", c.batches)
	}
	c.mu.Unlock()
}

// A batch must not be more than a connection that reads can take.
func TestLanes_JoinNoMoreThanASocketTakes(t *testing.T) {
	f := func(messages, size, want int) {
		t.Helper()
		work := make([]task, messages)
		for i := range work {
			work[i] = task{topic: "channel:news", payload: make([]byte, size)}
		}
		if got := sameTopic(work); got != want {
			t.Errorf("%d messages of %d bytes: %d in a batch, want %d", messages, size, got, want)
		}
	}
	f(3, 100, 3)
	f(1000, 100, batchAtOnce)
	f(1000, 20<<10, 3)
	f(1000, 1<<20, 1)
}

// Publishers of a channel that cannot keep up are slowed down, and go on when
// there is room.
func TestLanes_SlowPublishersDown(t *testing.T) {
	h := alone(t)
	stuck := joinStuck(t, h, "", "news")
	var published atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range crowded + 2 {
			mustPublish(t, h, `{"to":{"channels":["news"]},"text":"x"}`)
			published.Add(1)
		}
	}()
	testkit.Eventually(t, "a crowd", func() bool { return published.Load() == crowded })
	ln := h.lanes.to("channel:news", envelope.PushKind)
	testkit.Eventually(t, "a publisher that waits", func() bool {
		ln.mu.Lock()
		defer ln.mu.Unlock()
		return ln.room != nil
	})
	if n := published.Load(); n != crowded {
		t.Errorf("%d were published without waiting, want %d", n, crowded)
	}
	close(stuck.let)
	<-done
	waitForFrames(t, &stuck.fakeConn, crowded+2)
}

func TestLanes_AreBounded(t *testing.T) {
	var log testkit.Log
	m := metrics.New("", "")
	net := brokertest.NewNetwork()
	h := NewHub(net.Node(), ids.NewNode(), m, testkit.Logger(&log))
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stuck := joinStuck(t, h, "", "news")
	e := envelope.Envelope{Payload: make([]byte, 1<<20)}
	b := e.Append(nil)
	h.receive(broker.Message{Topic: "channel:news", Payload: b})
	<-stuck.entered
	const most = maxWaiting >> 20
	for range 2 * most {
		h.receive(broker.Message{Topic: "channel:news", Payload: b})
	}
	if got := testkit.Metric(t, m.Handler(), "pushcart_fanout_dropped_total"); got < most || got > most+10 {
		t.Errorf("dropped %.0f of %d messages of 1 MiB, want about %d", got, 2*most, most)
	}
	if n := strings.Count(log.String(), "messages dropped"); n != 1 {
		t.Errorf("%d log lines, want one a minute", n)
	}
	if h.lanes.waiting() > maxWaiting {
		t.Errorf("%d bytes wait", h.lanes.waiting())
	}
	// Unicast has room of its own.
	c := join(t, h, "42")
	h.receive(broker.Message{Topic: "user:42", Payload: b})
	waitForFrames(t, c, 1)
	close(stuck.let)
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if h.lanes.waiting() != 0 {
		t.Errorf("%d bytes wait after Close", h.lanes.waiting())
	}
}

// Close delivers what was received, and reports to publishers that wait.
func TestHub_CloseDelivers(t *testing.T) {
	net := brokertest.NewNetwork()
	h := NewHub(net.Node(), ids.NewNode(), metrics.New("", ""), discard())
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stuck := joinStuck(t, h, "", "news")
	slow := join(t, h, "42")
	slow.hold = true
	result := make(chan Result)
	go func() { result <- mustPublish(t, h, `{"to":{"users":["42"]},"text":"x","wait":"30s"}`) }()
	testkit.Eventually(t, "the frame", func() bool { return len(slow.frames()) == 1 })
	mustPublish(t, h, `{"to":{"channels":["news"]},"text":"1"}`)
	<-stuck.entered
	mustPublish(t, h, `{"to":{"channels":["news"]},"text":"2"}`)
	closed := make(chan error)
	go func() { closed <- h.Close() }()
	close(stuck.let)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	wantFrames(t, &stuck.fakeConn, "1", "2")
	if r := <-result; r.Nodes != 1 || r.Delivered != 0 {
		t.Errorf("got %+v", r)
	}
}

// With many publishers in memory, one of them does not deliver for all others
// for ever: each of these returns.
func TestLanes_HelpersTakeTurns(t *testing.T) {
	h := newHub(t, memory.New())
	join(t, h, "42")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	done := make(chan int)
	for range 4 {
		go func() {
			n := 0
			for ; ctx.Err() == nil; n++ {
				mustPublish(t, h, `{"to":{"users":["42"]},"text":"x"}`)
			}
			done <- n
		}()
	}
	for range 4 {
		if n := <-done; n < 10 {
			t.Errorf("a publisher came through %d times", n)
		}
	}
}

// countingConn counts Sends of a crowd; one of them waits.
type countingConn struct {
	fakeConn
	sent *atomic.Int64
	let  chan struct{} // nil: does not wait
}

func (c *countingConn) Send([]*Message) {
	if c.let != nil {
		<-c.let
	}
	c.sent.Add(1)
}

// A broadcast that kept all cores busy from its beginning to its end left nobody
// to look at the network: the runtime does so every 10 ms then, and pushes to
// single users waited for it.
func TestSendBig_CoresWaitForEachOtherAfterEachSlice(t *testing.T) {
	h := alone(t)
	slice := runtime.GOMAXPROCS(0) * sliceOfCrowd
	var sent atomic.Int64
	let := make(chan struct{})
	conns := make([]Conn, 3*slice+1)
	for i := range conns {
		conns[i] = &countingConn{sent: &sent}
	}
	conns[slice-1].(*countingConn).let = let
	done := make(chan struct{})
	go func() {
		h.sendBig(conns, []*Message{{}})
		close(done)
	}()
	testkit.Eventually(t, "all but one of the first slice", func() bool { return sent.Load() == int64(slice-1) })
	for range 1000 {
		runtime.Gosched()
	}
	if n := sent.Load(); n != int64(slice-1) {
		t.Errorf("%d sent while one of the first %d waits", n, slice)
	}
	close(let)
	<-done
	if n := sent.Load(); n != int64(len(conns)) {
		t.Errorf("%d sent, want %d", n, len(conns))
	}
}
