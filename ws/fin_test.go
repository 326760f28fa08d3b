package ws

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testkit"
)

// telling asks the app with messages, and tells it of the end.
func telling(c *config.Config) { c.Webhook.Events = []string{"message", "disconnected"} }

// hearsEnd wants the FIN next, and that the app was told of this end.
func (c *client) hearsEnd(n *node, code int) {
	c.t.Helper()
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		c.t.Fatalf("got % x and %v, want the end", rest, err)
	}
	_ = c.conn.Close()
	want := fmt.Sprintf(`"code":%d,`, code)
	if got := <-n.ended; !strings.Contains(got, want) || !strings.Contains(got, `"cause":"client"`) {
		c.t.Errorf("the app was told %s, want %s and the cause client", got, want)
	}
}

// ten are messages, and their echoes.
func ten(prefix string) (frames []byte, echoes []reply) {
	for i := range 10 {
		m := fmt.Sprint(prefix, i)
		frames, echoes = append(frames, say(m)...), append(echoes, aText(m))
	}
	return frames, echoes
}

// A FIN is the end of the input, and no more than that (SPEC §5 Order and
// back-pressure).
func TestFIN_WhatCameBeforeItIsWorkedOff(t *testing.T) {
	onEveryRoad(t, telling, func(t *testing.T, n *node) {
		frames, echoes := ten("m")
		c, _ := n.connect(t, "", nil)
		c.write(append(frames, closing(CodeNormal, "bye")...), oneWrite)
		c.fin()
		c.hears(echoes...)
		c.hears(farewell("\x03\xe8bye"))
		c.hearsEnd(n, CodeNormal)

		c, _ = n.connect(t, "", nil)
		c.write(frames, 7)
		c.fin()
		c.hears(echoes...)
		c.hearsEnd(n, CodeAbnormal)
		if got := n.asked.Load(); got != 20 {
			t.Errorf("the app got %d messages of 20", got)
		}
	})
}

func TestFIN_WithTheHandshake(t *testing.T) {
	onEveryRoad(t, telling, func(t *testing.T, n *node) {
		frames, echoes := ten("early")
		c := n.dial(t)
		c.write(append([]byte(handshook+"\r\n"), frames...), oneWrite)
		c.fin()
		head := make([]byte, len("HTTP/1.1 101 "))
		if _, err := io.ReadFull(c.in, head); err != nil || string(head) != "HTTP/1.1 101 " {
			t.Fatalf("handshake: %q %v", head, err)
		}
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = c.in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		c.hears(echoes...)
		c.hearsEnd(n, CodeAbnormal)
	})
}

func TestFIN_WhileTheAppIsAsked(t *testing.T) {
	onEveryRoad(t, telling, func(t *testing.T, n *node) {
		c, _ := n.connect(t, "", nil)
		c.write(say("hold this"), oneWrite)
		testkit.Eventually(t, "the app is asked", func() bool { return n.asked.Load() == 1 })
		frames, echoes := ten("m")
		c.write(append(frames, closing(4100, "")...), oneWrite)
		c.fin()
		n.release()
		c.hears(aText("hold this"))
		c.hears(echoes...)
		c.hears(farewell("\x10\x04"))
		c.hearsEnd(n, 4100)
	})
}

func TestFIN_WhileTheClientIsOverItsRate(t *testing.T) {
	slowed := func(c *config.Config) {
		telling(c)
		c.Limits.MessageRate = 20
	}
	onEveryRoad(t, slowed, func(t *testing.T, n *node) {
		c, _ := n.connect(t, "", nil)
		for range 5 { // the burst is 40
			frames, _ := ten("m")
			c.write(frames, oneWrite)
		}
		c.fin()
		for range 5 {
			_, echoes := ten("m")
			c.hears(echoes...)
		}
		c.hearsEnd(n, CodeAbnormal)
	})
}

func TestFIN_BehindCompressedMessages(t *testing.T) {
	onEveryRoad(t, func(c *config.Config) { telling(c); compressing(c) }, func(t *testing.T, n *node) {
		c, _ := n.connect(t, "Sec-WebSocket-Extensions: permessage-deflate\r\n", nil)
		var frames []byte
		var texts []string
		for i := range 10 {
			texts = append(texts, strings.Repeat(fmt.Sprint("text ", i, " "), 1000))
			frames = append(frames, join(deflatedFrames(t, opText, []byte(texts[i]), 6, 1<<20)...)...)
		}
		c.write(append(frames, closing(CodeNormal, "")...), oneWrite)
		c.fin()
		for _, text := range texts {
			c.hearsMessage(opText, []byte(text))
		}
		c.hears(farewell("\x03\xe8"))
		c.hearsEnd(n, CodeNormal)
	})
}

// What waits for a client that is slow to read is still written after its FIN.
func TestFIN_WhileMuchWaitsToBeWritten(t *testing.T) {
	onEveryRoad(t, func(c *config.Config) { telling(c); c.WebSocket.Outbox.Bytes = 8 * config.MiB }, func(t *testing.T, n *node) {
		for _, end := range []int{CodeNormal, CodeAbnormal} {
			c, _ := n.connect(t, "", nil)
			to := n.only(t)
			const size, count = 64 << 10, 100 // more than sockets hold
			text := strings.Repeat("x", size)
			for range count {
				to.Send([]*hub.Message{{Kind: hub.Text, Data: []byte(text)}})
			}
			last := ping("choked")
			if end == CodeNormal {
				last = append(last, closing(end, "")...)
			}
			c.write(last, oneWrite)
			c.fin()
			for range count {
				c.hears(aText(text))
			}
			c.hears(aPong("choked"))
			if end == CodeNormal {
				c.hears(farewell("\x03\xe8"))
			}
			c.hearsEnd(n, end)
			testkit.Eventually(t, "it is gone", func() bool { return n.Connections() == 0 })
		}
	})
}
