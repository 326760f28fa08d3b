package push

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/metrics"
)

// fakeConn records what it is sent.
type fakeConn struct {
	member Member

	mu      sync.Mutex // guards all below
	got     []string
	outcome Outcome
	hold    bool // Done is not called
	held    []*Message
	code    int
	reason  string
	final   int // frames before Close
	state   json.RawMessage
	batches int
}

func (c *fakeConn) Member() *Member { return &c.member }

func (c *fakeConn) Send(messages []*Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batches++
	for _, m := range messages {
		c.got = append(c.got, string(m.Data))
		if c.hold {
			c.held = append(c.held, m)
		} else {
			m.Done(c.outcome)
		}
	}
}

func (c *fakeConn) Close(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		c.code, c.reason, c.final = code, reason, len(c.got)
	}
}

func (c *fakeConn) Info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Info{
		ConnectionID: c.member.ID(), UserID: c.member.User(), NodeID: c.member.hub.NodeID(), Since: c.member.Since(),
		RemoteIP: "192.0.2.1", Channels: c.member.Channels(), MessagesOut: uint64(len(c.got)), State: c.state,
	}
}

func (c *fakeConn) SetState(s json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
}

func (c *fakeConn) frames() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

func (c *fakeConn) closed() (code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code, c.reason
}

// join makes a connection of h.
func join(t testing.TB, h *Hub, user string, channels ...string) *fakeConn {
	t.Helper()
	c := &fakeConn{member: h.NewMember()}
	if err := h.Join(t.Context(), c, user, channels); err != nil {
		t.Fatalf("join %q: %v", user, err)
	}
	return c
}

// network is the broker of several nodes: what is published comes to all that
// subscribed, in one order.
type network struct {
	mu     sync.Mutex // guards all below
	topics map[string]map[*fakeBroker]bool
	seen   map[[2]string]uint64
	down   bool
	// fail says which topics are not confirmed.
	fail func(topic string) bool
	// lose says what to lose on its way to a node; it still counts.
	lose func(to *fakeBroker, topic string, payload []byte) bool
	// confirm, if set, holds back the confirmation of subscriptions until closed.
	confirm chan struct{}
}

type fakeBroker struct {
	net     *network
	receive broker.Receiver
}

func newNetwork() *network {
	return &network{topics: map[string]map[*fakeBroker]bool{}, seen: map[[2]string]uint64{}}
}

func (n *network) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *network) subscribers(topic string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.topics[topic])
}

func (b *fakeBroker) Start(receive broker.Receiver) error {
	b.receive = receive
	return nil
}

func (b *fakeBroker) Publish(_ context.Context, batch []broker.Publication) {
	n := b.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range batch {
		n.publishLocked(&batch[i])
	}
}

func (n *network) publishLocked(p *broker.Publication) {
	p.Nodes, p.Duplicate, p.Err = 0, false, nil
	if n.down || n.fail != nil && n.fail(p.Topic) {
		p.Err = broker.ErrUnavailable
		return
	}
	if p.ID != "" {
		key := [2]string{p.Topic, p.ID}
		digest, ok := n.seen[key]
		switch {
		case ok && digest != p.Digest:
			p.Err = broker.ErrConflict
			return
		case ok:
			p.Duplicate = true
			return
		}
		n.seen[key] = p.Digest
	}
	p.Nodes = len(n.topics[p.Topic])
	for to := range n.topics[p.Topic] {
		if n.lose == nil || !n.lose(to, p.Topic, p.Payload) {
			to.receive(p.Topic, p.Payload)
		}
	}
}

func (b *fakeBroker) Subscribe(ctx context.Context, topics ...string) error {
	b.net.mu.Lock()
	for _, topic := range topics {
		if b.net.topics[topic] == nil {
			b.net.topics[topic] = map[*fakeBroker]bool{}
		}
		b.net.topics[topic][b] = true
	}
	confirm := b.net.confirm
	b.net.mu.Unlock()
	if confirm != nil {
		select {
		case <-confirm:
		case <-ctx.Done():
			return broker.ErrUnavailable
		}
	}
	return nil
}

func (b *fakeBroker) Unsubscribe(topics ...string) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	for _, topic := range topics {
		delete(b.net.topics[topic], b)
		if len(b.net.topics[topic]) == 0 {
			delete(b.net.topics, topic)
		}
	}
}

func (b *fakeBroker) Up() bool {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	return !b.net.down
}

func (b *fakeBroker) Close() error {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	for topic, nodes := range b.net.topics {
		delete(nodes, b)
		if len(nodes) == 0 {
			delete(b.net.topics, topic)
		}
	}
	return nil
}

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// newHub starts a hub over b and closes it with the test.
func newHub(t testing.TB, b broker.Broker) *Hub {
	t.Helper()
	h := NewHub(b, NewNodeID(), metrics.New("test", "test"), discard())
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return h
}

// alone is a node in memory.
func alone(t testing.TB) *Hub { return newHub(t, broker.NewMemory()) }

// pair is two nodes of one network.
func pair(t testing.TB) (a, b *Hub, n *network) {
	t.Helper()
	n = newNetwork()
	return newHub(t, &fakeBroker{net: n}), newHub(t, &fakeBroker{net: n}), n
}

// eventually waits for a condition, and fails after ten seconds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// wantFrames waits until c has got exactly these.
func wantFrames(t testing.TB, c *fakeConn, want ...string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); len(c.frames()) < len(want) && time.Now().Before(end); {
		<-time.After(time.Millisecond)
	}
	if got := c.frames(); !slices.Equal(got, want) {
		t.Fatalf("frames: got %q, want %q", got, want)
	}
}

// mustPublish parses body as POST /v1/push does and publishes it.
func mustPublish(t testing.TB, h *Hub, body string) Result {
	t.Helper()
	out := publishBody(t, h, body)
	if out.err != nil {
		t.Fatalf("push %s: %v", body, out.err)
	}
	return out.Result
}

func publishBody(t testing.TB, h *Hub, body string) outcome {
	t.Helper()
	pushes, batch, err := parseBody([]byte(body))
	if err != nil || batch {
		t.Fatalf("push %s: %v", body, err)
	}
	var out [1]outcome
	h.publish(t.Context(), pushes, out[:])
	return out[0]
}

// lines is a log that counts.
type lines struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) count() int { return strings.Count(l.String(), "\n") }

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// metric reads one value from what /metrics shows.
func metric(t testing.TB, m *metrics.Metrics, name string) float64 {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
