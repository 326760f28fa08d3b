package ws

import (
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/session"
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
		if c.ended != nil || c.out != nil || c.outMessages != 5 {
			t.Errorf("%s: ended as %+v after %d of 5 frames, though all can be written", name, c.ended, c.outMessages)
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

// The 101 counted as a message, with its bytes and as two writes, and every ping as a
// delivery: a node with 100,000 idle connections showed 4,000 deliveries a second.
func TestConn_CountsMessagesAndNotWhatKeepsTheConnection(t *testing.T) {
	f := func(name string, prepare func(*sink), first ...session.Frame) {
		t.Helper()
		c, out := bareConn()
		c.phase = phaseOpening
		prepare(out)
		c.open([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"), first)
		c.Send(textMessages(2, 5))
		c.Write([]byte("reply"), hub.Text)
		c.pong(&turn{pongs: []byte{finBit | opPong, 0}})
		c.mu.Lock()
		c.queueLocked(item{frame: pingFrame})
		c.mu.Unlock()
		c.end(endDrain)
		out.full = false
		c.writable(make([]byte, 0, 64), nil)
		messages, size := len(first)+3, (len(first)+3)*7
		if c.outMessages != uint64(messages) || c.outBytes != uint64(size) {
			t.Errorf("%s: %d messages of %d bytes are counted, want %d of %d", name, c.outMessages, c.outBytes, messages, size)
		}
		n := &c.srv.counts
		if n.sent.Load() != uint64(messages) || n.bytes.Load() != uint64(size) || n.writes.Load() != uint64(out.writes) {
			t.Errorf("%s: of the node %d messages of %d bytes in %d writes, want %d of %d in %d",
				name, n.sent.Load(), n.bytes.Load(), n.writes.Load(), messages, size, out.writes)
		}
	}
	hello := session.Frame{Kind: hub.Text, Payload: []byte("hello")}
	f("at once", func(*sink) {})
	f("at once, with what the 101 carries", func(*sink) {}, hello, hello)
	f("in pieces", func(s *sink) { s.full, s.room = true, 3 })
	f("in pieces, with what the 101 carries", func(s *sink) { s.full, s.room = true, 60 }, hello, hello)
}
