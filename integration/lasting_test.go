package integration

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// A user who is put into a channel is in it with every connection, on both nodes, also
// with one that comes while Redis is away.
func TestLastingSubscriptions_OverTwoNodesAndARestartOfRedis(t *testing.T) {
	redis := redistest.StartWith(t, redistest.Keeping...)
	nodes := twoNodes(t, redis)
	change := func(method string, want int) {
		t.Helper()
		if status, text := nodes[0].API(method, "/v1/users/ann/channels/room.7", ""); status != want {
			t.Fatalf("%s: %d %s, want %d", method, status, text, want)
		}
	}
	var conns []*websocket.Conn
	join := func(node int) {
		t.Helper()
		conns = append(conns, dial(t, nodes[node], bearer(token("ann"))))
	}
	said := 0
	hear := func() {
		t.Helper()
		said++
		want := fmt.Sprint("message ", said)
		if got := nodes[1].Pushed(t, fmt.Sprintf(`{"to":{"channels":["room.7"]},"text":%q,"wait":"2s"}`, want)); *got.Delivered != len(conns) {
			t.Errorf("%s was delivered to %d, want %d", want, *got.Delivered, len(conns))
		}
		for i, c := range conns {
			if _, text := next(t, c); text != want {
				t.Errorf("connection %d: got %q, want %q", i, text, want)
			}
		}
	}
	join(0)
	join(1)
	change("PUT", http.StatusNoContent)
	hear()
	join(0)
	join(1)
	join(1)
	hear()

	redis.Kill()
	for _, n := range nodes {
		n.AwaitRedis(t, http.StatusServiceUnavailable)
	}
	change("PUT", http.StatusServiceUnavailable)
	join(0)
	join(1)
	redis.RestartSaved(t)
	for _, n := range nodes {
		n.AwaitRedis(t, http.StatusOK)
	}
	back := time.Now()
	testkit.Eventually(t, "all are in the channel", func() bool {
		_, text := nodes[0].API("GET", "/v1/channels?match=room.7", "")
		return text == fmt.Sprintf(`{"channels":[{"channel":"room.7","connections":%d}],"complete":true}`, len(conns))
	})
	if d := time.Since(back); d > 3*time.Second {
		t.Errorf("in the channel after %v", d)
	}
	hear()
	change("DELETE", http.StatusNoContent)
	if got := nodes[1].Pushed(t, `{"to":{"channels":["room.7"]},"text":"nobody","wait":"1s"}`); *got.Delivered != 0 {
		t.Errorf("after DELETE it was delivered to %d", *got.Delivered)
	}
}
