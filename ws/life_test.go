package ws

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
)

// A client that is ended within its handshake and does not answer used to be kept
// until its first ping would have been due.
func TestLife_EndedWithinItsHandshakeIsForcedLikeAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := newTestServer(t, func(c *config.Config) {
			c.WebSocket.PingInterval = 24 * time.Hour
			c.Auth.JWT.Secret = testSecret
		}, goEngine())
		s.users = newUserLimit(&hasty{left: make(chan string, 8)}, s.hub)
		began := time.Now()
		c := call(t, s, "192.0.2.1", tokenOf("ann"))
		op, payload := readFrame(t, c.in)
		checkClose(t, op, payload, CodeReplaced)
		if _, err := io.ReadAll(c.in); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d > closeWait+lingerWait {
			t.Errorf("the end took %v", d)
		}
		_ = c.Close()
		closeServer(t, s, h)
	})
}
