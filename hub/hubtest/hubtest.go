package hubtest

import (
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

// Conn is a connection that records what it is sent. Its methods may be called from
// any goroutine.
type Conn struct {
	member hub.Member
	node   string
	// OnSend, if set before the first push, is called with each batch first.
	OnSend func()

	mu     sync.Mutex // guards all below
	got    []string
	code   int
	reason string
	state  json.RawMessage
}

// Member implements hub.Conn.
func (c *Conn) Member() *hub.Member { return &c.member }

// Send implements hub.Conn: every frame is written.
func (c *Conn) Send(messages []*hub.Message) {
	if c.OnSend != nil {
		c.OnSend()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range messages {
		c.got = append(c.got, string(m.Data))
		m.Done(hub.Written)
	}
}

// End implements hub.Conn.
func (c *Conn) End(cause *hub.Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		c.code, c.reason = cause.Code, cause.Reason
	}
}

// Info implements hub.Conn.
func (c *Conn) Info() hub.Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return hub.Info{
		ConnectionID: c.member.ID(), UserID: c.member.User(), NodeID: c.node, Since: c.member.Since(),
		RemoteIP: "192.0.2.1", Channels: c.member.Channels(), MessagesOut: uint64(len(c.got)), State: c.state,
	}
}

// SetState implements hub.Conn.
func (c *Conn) SetState(s json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
}

// Frames are the payloads that came.
func (c *Conn) Frames() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// Closed is how the connection was ended, 0 if it was not.
func (c *Conn) Closed() (code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code, c.reason
}

// Join makes a connection of h.
func Join(t testing.TB, h *hub.Hub, user string, channels ...string) *Conn {
	t.Helper()
	c := &Conn{member: h.NewMember(), node: h.NodeID()}
	if err := h.Join(t.Context(), c, user, channels); err != nil {
		t.Fatalf("join %q: %v", user, err)
	}
	return c
}

// New starts a hub over b and closes it with the test.
func New(t testing.TB, b hub.Broker, m *metrics.Metrics) *hub.Hub {
	t.Helper()
	h := hub.NewHub(b, ids.NewNode(), m, slog.New(slog.DiscardHandler))
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

// Alone is a node in memory.
func Alone(t testing.TB) *hub.Hub {
	t.Helper()
	return New(t, memory.New(), metrics.New("test", "test"))
}

// Pair is two nodes of one network.
func Pair(t testing.TB) (a, b *hub.Hub, n *brokertest.Network) {
	t.Helper()
	n = brokertest.NewNetwork()
	return New(t, n.Node(), metrics.New("test", "test")), New(t, n.Node(), metrics.New("test", "test")), n
}

// WantFrames waits until c has got exactly these.
func WantFrames(t testing.TB, c *Conn, want ...string) {
	t.Helper()
	testkit.Until(func() bool { return len(c.Frames()) >= len(want) })
	if got := c.Frames(); !slices.Equal(got, want) {
		t.Fatalf("frames: got %q, want %q", got, want)
	}
}
