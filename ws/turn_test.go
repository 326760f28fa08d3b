package ws

import (
	"bytes"
	"testing"
)

// Whatever a connection floods with, others have their turn in between, and its
// pings are answered in one write a turn.
func TestConn_AFloodGetsOneTurnLikeAnyOther(t *testing.T) {
	const frames = 10_000
	f := func(name string, first, each []byte, messages uint64, pong []byte) {
		t.Helper()
		c, out := bareConn()
		flood := append(first, bytes.Repeat(each, frames)...)
		turns, all := 0, c.received(flood)
		for turns = 1; c.takeRest(); turns++ {
			writes := out.writes
			if len(c.loop.tasks) == 0 {
				t.Fatalf("%s: nobody comes back for the rest", name)
			}
			c.loop.tasks = c.loop.tasks[:0]
			n := c.feed(nil)
			if all += n; n > framesAtOnce || out.writes > writes+1 {
				t.Fatalf("%s: %d frames and %d writes in one turn", name, n, out.writes-writes)
			}
		}
		if want := frames / framesAtOnce; turns < want {
			t.Errorf("%s: %d turns, want %d and more", name, turns, want)
		}
		if got := c.inFrames.Load(); all < frames || got != messages || !bytes.Equal(out.out, bytes.Repeat(pong, frames)) {
			t.Errorf("%s: %d frames, %d messages, %d bytes of answers", name, all, got, len(out.out))
		}
		if c.in != nil && len(c.in.raw) > 0 {
			t.Errorf("%s: %d bytes are left", name, len(c.in.raw))
		}
	}
	f("pings", nil, ping("?"), 0, newFrame(opPong, []byte("?")))
	f("pongs", nil, masked(finBit|opPong, ""), 0, nil)
	f("empty continuations", masked(opText, "a"), masked(opContinuation, ""), 0, nil)
	f("messages that nobody wants", nil, say("x"), frames, nil)
	f("a ping before each message", nil, join(ping(""), say("")), frames, newFrame(opPong, nil))
}
