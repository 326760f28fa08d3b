package hub

import (
	"encoding/json"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/hub/internal/receipt"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/metrics"

	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/internal/testkit"
)

// fakeConn records what it is sent.
type fakeConn struct {
	member Member

	mu      sync.Mutex // guards all below
	got     []string
	outcome receipt.Outcome
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

func (c *fakeConn) End(cause *Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		c.code, c.reason, c.final = cause.Code, cause.Reason, len(c.got)
	}
}

func (c *fakeConn) Info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Info{
		ConnectionID: c.member.ID(), UserID: c.member.User(), NodeID: nodeOf(c.member.ID()), Since: c.member.Since(),
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

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// newHub starts a hub over b and closes it with the test.
func newHub(t testing.TB, b Broker) *Hub {
	t.Helper()
	h := NewHub(b, ids.NewNode(), metrics.New("test", "test"), discard())
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
func alone(t testing.TB) *Hub { return newHub(t, memory.New()) }

// pair is two nodes of one network.
func pair(t testing.TB) (a, b *Hub, n *brokertest.Network) {
	t.Helper()
	n = brokertest.NewNetwork()
	return newHub(t, n.Node()), newHub(t, n.Node()), n
}

// wantFrames waits until c has got exactly these.
func wantFrames(t testing.TB, c *fakeConn, want ...string) {
	t.Helper()
	testkit.Until(func() bool { return len(c.frames()) >= len(want) })
	if got := c.frames(); !slices.Equal(got, want) {
		t.Fatalf("frames: got %q, want %q", got, want)
	}
}

// mustPublish parses body as POST /v1/push does and publishes it.
func mustPublish(t testing.TB, h *Hub, body string) Result {
	t.Helper()
	out := publishBody(t, h, body)
	if out.Err != nil {
		t.Fatalf("push %s: %v", body, out.Err)
	}
	return out.Result
}

func publishBody(t testing.TB, h *Hub, body string) Published {
	t.Helper()
	pushes := pushesOf(t, body)
	var out [1]Published
	h.Publish(t.Context(), pushes, out[:])
	return out[0]
}

// nodeOf is the node in a connection's id.
func nodeOf(connection string) string {
	node, _, _ := strings.Cut(connection, "-")
	return node
}
