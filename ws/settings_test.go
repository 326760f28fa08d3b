package ws

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
)

func TestApply_ShorterPingsReachConnectionsThatAreOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config.Default()
		s, h := newServerOf(t, func(c *config.Config) { c.WebSocket.PingInterval = 24 * time.Hour }, goEngine(), parts{})
		c := call(t, s, "192.0.2.1", "")
		cfg.WebSocket.PingInterval, cfg.WebSocket.PongTimeout = 10*time.Second, 5*time.Second
		s.Apply(NewSettings(cfg.WebSocket, cfg.Shutdown, nil, nil))
		for range 2 { // the second wait is the interval itself
			began := time.Now()
			if op, _ := readFrame(t, c.in); op != opPing || time.Since(began) > 16*time.Second {
				t.Fatalf("after %v came opcode %d, want a ping within the new interval", time.Since(began), op)
			}
			if _, err := c.Write(masked(finBit|opPong, "")); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.Close()
		closeServer(t, s, h)
	})
}
