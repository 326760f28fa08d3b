package ws

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
)

// A client that is ended within its handshake and does not answer used to be kept
// until its first ping would have been due.
func TestLife_EndedWithinItsHandshakeIsForcedLikeAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := newSeatedServer(t, func(c *config.Config) {
			c.WebSocket.PingInterval = 24 * time.Hour
			c.Auth.JWT.Secret = testSecret
		}, goEngine(), &hasty{left: make(chan string, 8)})
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

// slow is seats that keep a handshake waiting.
type slow struct {
	broker.Seats
	take chan bool
}

func (*slow) Start(func(string))         {}
func (s *slow) Take(string, string) bool { return <-s.take }
func (*slow) Leave(string, string)       {}

func TestDrain_ReachesConnectionsThatItFoundInTheirHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seats := &slow{take: make(chan bool)}
		s, h := newSeatedServer(t, func(c *config.Config) { c.Auth.JWT.Secret = testSecret }, goEngine(), seats)
		let := make(chan *caller, 1)
		go func() { let <- call(t, s, "192.0.2.1", tokenOf("ann")) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), s.settings.Load().drain)
		defer cancel()
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(ctx) }()
		synctest.Wait()
		seats.take <- true
		c := <-let
		op, payload := readFrame(t, c.in)
		checkClose(t, op, payload, CodeRestart)
		_ = c.Close()
		if err := <-drained; err != nil {
			t.Error(err)
		}
		closeServer(t, s, h)
	})
}
