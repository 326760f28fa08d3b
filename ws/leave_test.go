package ws

import (
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// slowConnect lets handshakes wait for the backend for as long as they like.
func slowConnect(c *config.Config) {
	c.Webhook.Events = []string{"connect"}
	c.Webhook.Timeout, c.WebSocket.HandshakeTimeout = time.Hour, time.Hour
	c.Limits.ConnectionsPerIP = 1
}

// A handshake behind a backend that hangs held its places for handshake_timeout,
// also when its client had left.
func TestHandshake_AClientThatLeavesFreesItsPlaces(t *testing.T) {
	onEveryRoad(t, slowConnect, func(t *testing.T, n *node) {
		for i := range int64(2) {
			c := n.dial(t)
			c.write([]byte(handshook+"\r\n"), oneWrite)
			testkit.Eventually(t, "the app is asked", func() bool { return n.asked.Load() == i+1 })
			_ = c.conn.Close()
			testkit.Eventually(t, "its places are free", func() bool { return n.Connections() == 0 && refusedAs(n.Server, "left", int(i+1)) })
		}
	})
}

// What a client sent behind its handshake is worked off though it sends no more.
func TestHandshake_AClientThatOnlyStopsSendingComesIn(t *testing.T) {
	onEveryRoad(t, func(c *config.Config) {
		slowConnect(c)
		c.Webhook.Events = []string{"connect", "message"}
	}, func(t *testing.T, n *node) {
		if n.tls != nil {
			return // its goodbye cannot be told from what it has to say
		}
		c := n.dial(t)
		c.write([]byte(handshook+"\r\n"+string(say("hello"))), oneWrite)
		_ = c.conn.(interface{ CloseWrite() error }).CloseWrite()
		testkit.Eventually(t, "the app is asked", func() bool { return n.asked.Load() == 1 })
		n.release()
		testkit.Eventually(t, "the message is asked", func() bool { return n.asked.Load() == 2 })
	})
}
