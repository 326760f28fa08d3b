package ws

import (
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testkit"
)

func textMessages(n, size int) (batch []*hub.Message) {
	for i := range n {
		batch = append(batch, &hub.Message{Kind: hub.Text, Data: []byte(strings.Repeat(string(rune('a'+i%26)), size))})
	}
	return batch
}

// Frames that came together were all queued before the first was written: a burst
// on a channel ended every connection there, however fast it read.
func TestConn_ABatchIsHeldAgainstTheOutboxOnlyForWhatTheSocketDoesNotTake(t *testing.T) {
	f := func(name string, change func(*config.Outbox), size int) {
		t.Helper()
		c, out := bareConn()
		change(&c.srv.box)
		c.Send(textMessages(5, size))
		if c.ended != nil || c.out != nil || c.outFrames != 5 {
			t.Errorf("%s: ended as %+v after %d of 5 frames, though all can be written", name, c.ended, c.outFrames)
		}
		if n := c.srv.outboxBytes.Load(); n != 0 {
			t.Errorf("%s: %d bytes are counted", name, n)
		}
		if want := 5 * (size + len(appendHeader(nil, opText, size))); len(out.out) != want {
			t.Errorf("%s: %d bytes are written, want %d", name, len(out.out), want)
		}
	}
	f("messages", func(o *config.Outbox) { o.Messages = 2 }, 10)
	f("bytes", func(o *config.Outbox) { o.Bytes = 100 }, 40)
	f("each more than all bytes", func(o *config.Outbox) { o.Bytes = 100 }, 400)
}

func TestConn_ABatchTooLargeForASlowClientEndsInAClose(t *testing.T) {
	onEveryRoad(t, nil, func(t *testing.T, n *node) {
		c, _ := n.connect(t, "", nil)
		n.only(t).Send(textMessages(64, 256<<10)) // 16 MiB: more than kernels keep
		r, err := c.next()
		for err == nil && r.first == finText {
			r, err = c.next()
		}
		if err != nil || r != farewell("\x0f\xa0slow consumer") {
			t.Fatalf("got %v %v, want a Close with 4000", r, err)
		}
		_ = c.conn.Close()
		testkit.Eventually(t, "it is gone", func() bool { return n.Connections() == 0 })
	})
}

// What a closing connection still has to write cannot be given up. While it was
// the largest of all, outbox.total did not hold for the others.
func TestServer_OutboxTotalHoldsBesideALargeOneThatIsClosing(t *testing.T) {
	closing, out := bareConn()
	s := closing.srv
	s.box.Total = 1000
	out.full, out.room = true, 1
	closing.Send(textMessages(1, 900))
	closing.end(endSlow)
	full := &sink{full: true}
	var others []*Conn
	for range 2 {
		c := &Conn{srv: s, loop: closing.loop, sock: full, life: life{phase: phaseOpen}}
		c.loop.add(c, never)
		c.Send(textMessages(3, 100))
		others = append(others, c)
	}
	if others[0].ended != endSlow || others[1].ended != endSlow {
		t.Errorf("%d bytes wait, and the others ended as %+v and %+v", s.outboxBytes.Load(), others[0].ended, others[1].ended)
	}
}
