package integration

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// limitedNodes are two with at most three connections per user.
func limitedNodes(t *testing.T, redis *redistest.Server, policy string) [2]*sidecartest.Sidecar {
	t.Helper()
	var nodes [2]*sidecartest.Sidecar
	for i := range nodes {
		nodes[i] = sidecartest.Start(t, withJWT+"\nredis: {addresses: ['"+redis.Addr+"']}\nlimits: {connections_per_user: 3, per_user_policy: "+policy+"}")
		nodes[i].AwaitRedis(t, http.StatusOK)
	}
	return nodes
}

// full says whether the handshake of another connection is refused.
func full(t *testing.T, s *sidecartest.Sidecar, user string) bool {
	t.Helper()
	c, err := tryDial(s, "/_push", bearer(token(user)))
	if err == nil {
		_ = c.Close()
	} else if !strings.Contains(err.Error(), "429") {
		t.Fatal(err)
	}
	return err != nil
}

func TestConnectionsPerUser_RejectsOverTwoNodes(t *testing.T) {
	nodes := limitedNodes(t, redistest.Start(t), "reject")
	var ann [3]*websocket.Conn
	for i := range ann {
		ann[i] = dial(t, nodes[i%2], bearer(token("ann")))
	}
	for i, n := range nodes {
		if !full(t, n, "ann") {
			t.Errorf("node %d let a fourth one in", i)
		}
		dial(t, n, bearer(token("bob")))
		if _, text := call(t, "GET", "http://"+n.Admin+"/metrics", "", ""); !strings.Contains(text, `pushcart_connects_total{result="limit"} 1`) {
			t.Errorf("node %d: the refusal is not in the metrics", i)
		}
	}
	_ = ann[0].Close() // on node 0
	testkit.Eventually(t, "another is let in on node 1", func() bool {
		c, err := tryDial(nodes[1], "/_push", bearer(token("ann")))
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
		return err == nil
	})
	if !full(t, nodes[0], "ann") {
		t.Error("one left, two came")
	}
}

func TestConnectionsPerUser_ReplacesOverTwoNodes(t *testing.T) {
	nodes := limitedNodes(t, redistest.Start(t), "replace")
	var all []*websocket.Conn
	for i := range 6 {
		all = append(all, dial(t, nodes[i/3], bearer(token("ann"))))
	}
	for i, c := range all[:3] {
		if code := closed(t, c); code != 4001 {
			t.Errorf("connection %d of node 0: closed with %d, want 4001", i, code)
		}
	}
	if got := nodes[0].Pushed(t, `{"to":{"users":["ann"]},"text":"still here","wait":"2s"}`); *got.Delivered != 3 {
		t.Errorf("%d are left, want 3", *got.Delivered)
	}
	newest := dial(t, nodes[0], bearer(token("ann")))
	if code := closed(t, all[3]); code != 4001 {
		t.Errorf("the oldest of node 1: closed with %d, want 4001", code)
	}
	if _, text := call(t, "GET", "http://"+nodes[0].Admin+"/metrics", "", ""); !strings.Contains(text, `pushcart_disconnects_total{cause="backend"} 3`) {
		t.Error("the replaced are not in the metrics as ended by the backend")
	}
	nodes[1].Pushed(t, `{"to":{"users":["ann"]},"text":"last"}`)
	for _, c := range []*websocket.Conn{all[4], all[5], newest} {
		for text := ""; text != "last"; {
			_, text = next(t, c)
		}
	}
}

// rush is 40 handshakes of one user over both nodes at once: how many came in, and
// how many of these were closed with 4001.
type rush struct {
	in, replaced atomic.Int64
	readers      sync.WaitGroup
}

func startRush(t *testing.T, nodes [2]*sidecartest.Sidecar, user string) *rush {
	r := &rush{}
	inParallel(40, 40, func(i int) {
		c, err := tryDial(nodes[i%2], "/_push", bearer(token(user)))
		switch {
		case err == nil:
			t.Cleanup(func() { _ = c.Close() })
			r.in.Add(1)
			r.readers.Go(func() {
				for {
					if _, _, err := c.ReadMessage(); websocket.IsCloseError(err, 4001) {
						r.replaced.Add(1)
						return
					} else if err != nil {
						return
					}
				}
			})
		case !strings.Contains(err.Error(), "429"):
			t.Errorf("handshake %d: %v", i, err)
		}
	})
	return r
}

func TestConnectionsPerUser_RacesOfTwoNodesNeverLeaveMoreOrFewer(t *testing.T) {
	redis := redistest.Start(t)
	for _, policy := range []string{"reject", "replace"} {
		t.Run(policy, func(t *testing.T) {
			nodes := limitedNodes(t, redis, policy)
			for round := range 5 {
				user := fmt.Sprint(policy, round)
				r := startRush(t, nodes, user)
				want := [2]int64{3, 0}
				if policy == "replace" {
					want = [2]int64{40, 37}
				}
				testkit.Eventually(t, "the replaced are closed", func() bool { return r.replaced.Load() >= want[1] })
				if got := [2]int64{r.in.Load(), r.replaced.Load()}; got != want {
					t.Errorf("round %d: %d came in, %d were replaced, want %v", round, got[0], got[1], want)
				}
				if got := nodes[round%2].Pushed(t, `{"to":{"users":["`+user+`"]},"text":"x","wait":"2s"}`); *got.Delivered != 3 {
					t.Errorf("round %d: a push reaches %d, want 3", round, *got.Delivered)
				}
			}
		})
	}
}

func TestConnectionsPerUser_AKilledNodesAreFreeAfter5s(t *testing.T) {
	nodes := limitedNodes(t, redistest.Start(t), "reject")
	for range 3 {
		dial(t, nodes[0], bearer(token("ann")))
	}
	nodes[0].Kill()
	died := time.Now()
	testkit.Eventually(t, "its connections are not counted", func() bool {
		in := !full(t, nodes[1], "ann")
		if d := time.Since(died); in && d < 3500*time.Millisecond {
			t.Fatalf("not counted %v after its death: its last beat was a second before, at most", d)
		}
		return in
	})
	if d := time.Since(died); d > 7*time.Second {
		t.Errorf("not counted after %v, want 5 s", d)
	}
}

func TestConnectionsPerUser_APausedNodeIsCountedAgain(t *testing.T) {
	nodes := limitedNodes(t, redistest.Start(t), "reject")
	for range 3 {
		dial(t, nodes[0], bearer(token("ann")))
	}
	nodes[0].Pause()
	t.Cleanup(func() { nodes[0].Resume() }) // before it is stopped
	var here []*websocket.Conn
	testkit.Eventually(t, "three more are let in on node 1", func() bool {
		if c, err := tryDial(nodes[1], "/_push", bearer(token("ann"))); err == nil {
			here = append(here, c)
		}
		return len(here) == 3
	})
	nodes[0].Resume()
	back := time.Now()
	for _, c := range here {
		_ = c.Close()
	}
	testkit.Eventually(t, "the three of node 0 are counted", func() bool { return full(t, nodes[1], "ann") })
	if d := time.Since(back); d > 2500*time.Millisecond {
		t.Errorf("counted after %v, want 2 s", d)
	}
}

func TestConnectionsPerUser_RedisDiesAndComesBackEmpty(t *testing.T) {
	redis := redistest.Start(t)
	nodes := limitedNodes(t, redis, "reject")
	for i := range 2 {
		dial(t, nodes[i], bearer(token("ann")))
	}
	redis.Kill()
	for _, n := range nodes {
		n.AwaitRedis(t, http.StatusServiceUnavailable)
	}
	began := time.Now()
	dial(t, nodes[0], bearer(token("ann")))
	dial(t, nodes[0], bearer(token("ann")))
	if !full(t, nodes[0], "ann") {
		t.Error("without Redis, node 0 let in a fourth of its own")
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("three handshakes without Redis took %v", d)
	}
	redis.Restart(t)
	back := time.Now()
	testkit.Eventually(t, "node 1 knows of node 0's", func() bool { return full(t, nodes[1], "ann") })
	if d := time.Since(back); d > 2500*time.Millisecond {
		t.Errorf("counted over all nodes after %v, want 2 s", d)
	}
}
