package ws

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// Behind a backend that hangs every connection could have one message in memory,
// with no bound on all of them together, and what it sent behind it.
func TestConn_MemoryIsBoundedAndNothingLostBehindABackendThatHangs(t *testing.T) {
	const (
		clients = 256
		total   = 8 * config.MiB
		large   = 64 << 10
	)
	change := func(c *config.Config) { c.WebSocket.InboundTotal, c.Webhook.Timeout = total, time.Minute }
	test := func(t *testing.T, n *node) {
		quiet, _ := n.connect(t, "", nil)
		var sent, echoed sync.WaitGroup
		for i := range clients {
			c, _ := n.connect(t, "", nil)
			// One sends a large message, the next many small ones at once.
			messages := []string{"hold" + strings.Repeat("x", large-4)}
			if i%2 == 1 {
				messages = nil
				for range 64 {
					messages = append(messages, "hold"+strings.Repeat("y", 1<<10))
				}
			}
			var frames []byte
			for _, m := range messages {
				frames = append(frames, say(m)...)
			}
			sent.Go(func() { _, _ = c.conn.Write(frames) })
			echoed.Go(func() {
				for _, m := range messages {
					if r, err := c.next(); err != nil || r != aText(m) {
						t.Errorf("got %v %v, want the echo of %d bytes", r, err, len(m))
						return
					}
				}
			})
		}
		most := int64(0)
		full := func() bool {
			most = max(most, n.Server.asked.bytes.Load()+n.inboundBytes.Load())
			n.Server.asked.mu.Lock()
			defer n.Server.asked.mu.Unlock()
			return len(n.Server.asked.stalled) > 0
		}
		testkit.Eventually(t, "connections wait for room", full)
		for range 20 { // the others are served meanwhile
			quiet.run(send(oneWrite, ping("p")).hears(aPong("p")))
			full()
		}
		n.release()
		echoed.Wait()
		sent.Wait()
		if most > int64(total)+4*large {
			t.Errorf("%d bytes at once, want at most %d", most, total)
		}
		testkit.Eventually(t, "nothing is counted any more", func() bool { return n.Server.asked.bytes.Load() == 0 })
	}
	for _, r := range roads[:2] { // the goroutines read bit by bit, and all at a time
		t.Run(r.name, func(t *testing.T) { test(t, newNode(t, r, change)) })
	}
}

func TestConn_StandsInLineWhereTooMuchIsAsked(t *testing.T) {
	onEveryRoad(t, func(c *config.Config) { c.Webhook.Timeout = time.Minute }, func(t *testing.T, n *node) {
		n.Server.asked.most = 2 * (1 << 10)
		var all []*client
		for range 5 {
			c, _ := n.connect(t, "", nil)
			c.write(say("hold"), oneWrite)
			all = append(all, c)
		}
		stalled := func() int {
			n.Server.asked.mu.Lock()
			defer n.Server.asked.mu.Unlock()
			return len(n.Server.asked.stalled)
		}
		testkit.Eventually(t, "three stand in line", func() bool { return stalled() == 3 })
		_ = all[4].conn.Close()
		n.release()
		for _, c := range all[:4] {
			c.hears(aText("hold"))
		}
		testkit.Eventually(t, "nobody stands in line", func() bool { return stalled() == 0 })
	})
}
