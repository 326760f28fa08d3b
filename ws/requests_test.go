package ws

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/protocol/json"
)

// These are about what a transport does for clients that make requests; what the
// answers are is for package json.

const speakJSON = "Sec-WebSocket-Protocol: " + json.Name + "\r\n"

func requesting(c *config.Config) {
	telling(c)
	c.Channels = []config.ChannelRule{{Match: "**", Subscribe: config.Anyone, Publish: config.Anyone}}
}

// talk opens a connection and takes its welcome.
func (n *node) talk(t *testing.T) *client {
	t.Helper()
	c, resp := n.connect(t, speakJSON, nil)
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != json.Name {
		t.Fatalf("it speaks %q", got)
	}
	if got, err := c.next(); err != nil || !strings.HasPrefix(got.payload, `{"type":"welcome",`) {
		t.Fatalf("got %v, %v", got, err)
	}
	return c
}

// five are messages for the app, and what it echoes.
func five(prefix string) (frames []byte, replies []reply) {
	for i := range 5 {
		m := fmt.Sprintf(`"%s%d"`, prefix, i)
		frames = append(frames, say(fmt.Sprintf(`{"type":"message","id":%d,"data":%s}`, i, m))...)
		replies = append(replies, aText(fmt.Sprintf(`{"type":"reply","id":%d,"data":%s}`, i, m)))
	}
	return frames, replies
}

// What came before a Close or a FIN is answered first, and the end waits for that (SPEC §5).
func TestRequests_AreAnsweredBeforeTheEnd(t *testing.T) {
	onEveryRoad(t, requesting, func(t *testing.T, n *node) {
		frames, replies := five("m")
		c := n.talk(t)
		c.write(append(frames, closing(CodeNormal, "bye")...), oneWrite)
		c.fin()
		c.hears(replies...)
		c.hears(farewell("\x03\xe8bye"))
		c.hearsEnd(n, CodeNormal)

		c = n.talk(t)
		c.write(frames, 7)
		c.fin()
		c.hears(replies...)
		c.hearsEnd(n, CodeAbnormal)
	})
}

// A reset ends the connection at once, whoever is being asked.
func TestRequests_AResetDoesNotWait(t *testing.T) {
	onEveryRoad(t, requesting, func(t *testing.T, n *node) {
		c := n.talk(t)
		frames, _ := five("m")
		c.write(append(say(`{"type":"message","data":"x"}`), frames...), oneWrite)
		c.write(say(`{"type":"message","data":1}`), oneWrite)
		hold := append(frames, closing(CodeNormal, "")...)
		c.write(hold, oneWrite)
		c.reset()
		if got := <-n.ended; !strings.Contains(got, `"cause":"client"`) {
			t.Errorf("the app was told %s", got)
		}
		testkit.Eventually(t, "nothing is charged", func() bool { return n.Server.asked.bytes.Load() == 0 })
	})
}

// Many requests in one write are all answered, in order, however late the client begins to
// read: nothing more is read of it meanwhile, and it is not a slow consumer.
func TestRequests_ManyInOneWriteLoseNothing(t *testing.T) {
	onEveryRoad(t, requesting, func(t *testing.T, n *node) {
		n.receive = 4 << 10
		c := n.talk(t)
		const many = 10_000
		var all []byte
		for i := range many {
			switch i % 3 {
			case 0:
				all = append(all, say(fmt.Sprintf(`{"type":"subscribe","id":%d,"channel":"c"}`, i))...)
			case 1:
				all = append(all, say(fmt.Sprintf(`{"type":"nonsense","id":%d,"x":"%s"}`, i, strings.Repeat("x", 50)))...)
			default:
				all = append(all, say(fmt.Sprintf(`{"type":"unsubscribe","id":%d,"channel":"c"}`, i))...)
			}
		}
		written := make(chan struct{})
		go func() { defer close(written); c.write(all, 0) }()
		testkit.Eventually(t, "it is read no further, or the kernel took all answers", func() (held bool) {
			for _, l := range n.engine.loops() {
				l.each(func(c *Conn) { c.mu.Lock(); held = held || c.backlog == someAnswers; c.mu.Unlock() })
			}
			select {
			case <-written:
				return true
			default:
				return held
			}
		})
		last, got := -1, map[int]bool{} // of the channel's
		for range many {
			r, err := c.next()
			if err != nil {
				t.Fatalf("after %d: %v", len(got), err)
			}
			_, rest, _ := strings.Cut(r.payload, `"id":`)
			var id int
			if _, err := fmt.Sscanf(rest, "%d", &id); err != nil || got[id] || (id%3 == 1) != strings.Contains(r.payload, `"invalid_argument"`) {
				t.Fatalf("got %v after %d", r, len(got))
			}
			if got[id] = true; id%3 != 1 {
				if id < last {
					t.Fatalf("%d after %d", id, last)
				}
				last = id
			}
		}
		c.write(say(`{"type":"ping"}`), oneWrite)
		c.hears(aText(`{"type":"pong"}`))
		if n := n.Server.asked.bytes.Load(); n != 0 {
			t.Errorf("%d bytes are charged", n)
		}
	})
}

func TestRequests_PongsKeepTheirPlace(t *testing.T) {
	onEveryRoad(t, requesting, func(t *testing.T, n *node) {
		c := n.talk(t)
		c.write(bytes.Join([][]byte{
			ping("a"), say(`{"type":"ping","id":1}`), ping("b"), say(`{"type":"ping","id":2}`),
		}, nil), oneWrite)
		c.hears(aPong("a"), aText(`{"type":"pong","id":1}`), aPong("b"), aText(`{"type":"pong","id":2}`))
	})
}
