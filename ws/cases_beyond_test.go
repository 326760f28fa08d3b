package ws

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testkit"
)

// declared is the head of a frame that says it is so long, in 2 or 8 bytes.
func declared(first byte, length uint64, size int) []byte {
	b := []byte{first, maskBit | 126}
	if size == 8 {
		b = binary.BigEndian.AppendUint64([]byte{first, maskBit | 127}, length)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(length))
	}
	return append(b, 1, 2, 3, 4)
}

func TestCases_WhatIsDeclaredCostsNothing(t *testing.T) {
	onEveryRoad(t, nil, func(t *testing.T, n *node) {
		f := func(code int, frames ...[]byte) {
			t.Helper()
			for _, chop := range []int{oneWrite, 1} {
				c, _ := n.connect(t, "", nil)
				c.write(join(frames...), chop)
				c.hearsClose(code)
			}
			testkit.Eventually(t, "input is given back", func() bool { return n.inboundBytes.Load() == 0 })
		}
		for _, first := range []byte{finText, finBinary, opText, opBinary} {
			f(CodeTooBig, declared(first, 1<<63-1, 8))
			f(CodeTooBig, declared(first, 1<<62, 8))
			f(CodeTooBig, declared(first, 1<<32, 8))
			f(CodeTooBig, declared(first, 65537, 8))
		}
		f(CodeTooBig, masked(opBinary, "0"), declared(finCont, 65536, 8))
		f(CodeTooBig, masked(opBinary, "0"), declared(opContinuation, 1<<63-1, 8))
		f(CodeTooBig, masked(opBinary, stars(1000)), declared(finCont, 64537, 2))
	})
}

func TestCases_LengthsThatRFC6455Forbids(t *testing.T) {
	var s suite
	for _, first := range []byte{finText, finBinary, opBinary, finBit | opPing, finBit | opClose} {
		f := func(length uint64, size int) {
			id := fmt.Sprintf("%02x of %d in %d", first, length, size)
			s.add(id, CodeProtocolError, send(oneWrite, declared(first, length, size)))
		}
		f(1<<63, 8)
		f(1<<64-1, 8)
		f(0, 2)
		f(1, 2)
		f(125, 2)
		f(0, 8)
		f(125, 8)
		f(126, 8)
		f(65535, 8)
	}
	for _, op := range []byte{opPing, opPong, opClose} { // a control frame has 125 bytes at most
		s.add(fmt.Sprintf("%02x of 126", finBit|op), CodeProtocolError, send(oneWrite, declared(finBit|op, 126, 2)))
		s.add(fmt.Sprintf("%02x of 2^63-1", finBit|op), CodeProtocolError, send(oneWrite, declared(finBit|op, 1<<63-1, 8)))
		s.add(fmt.Sprintf("%02x of 2^63-1 in a message", finBit|op), CodeProtocolError,
			send(oneWrite, masked(opText, "begun"), declared(finBit|op, 1<<63-1, 8)))
	}
	s.run(t, nil)
}

// A message that is announced and does not come holds what came.
func TestCases_MemoryComesWithTheBytes(t *testing.T) {
	onEveryRoad(t, nil, func(t *testing.T, n *node) {
		c, _ := n.connect(t, "", nil)
		c.write(append(declared(finBinary, 65536, 8), octets...), oneWrite)
		testkit.Eventually(t, "input is counted", func() bool { return n.inboundBytes.Load() > 0 })
		if got := n.inboundBytes.Load(); got > 2*keptBuffer {
			t.Errorf("%d bytes are held for 65,536 announced and %d that came", got, len(octets))
		}
		_ = c.conn.Close()
		testkit.Eventually(t, "input is given back", func() bool { return n.inboundBytes.Load() == 0 })
	})
}

func TestCases_MessagesOfTheLargestSizeAndOneByteMore(t *testing.T) {
	const most = 65536
	var s suite
	for _, chop := range []int{oneWrite, 1000} {
		for _, size := range []int{most, 4096, 4095, 1} {
			if size == 1 && chop != oneWrite {
				continue
			}
			id := fmt.Sprintf("in frames of %d and writes of %d, ", size, chop)
			s.add(id+"the most", fine, send(chop, fragments(opBinary, stars(most), size)...).hears(aBinary(stars(most))))
			s.add(id+"one more", CodeTooBig, send(chop, fragments(opBinary, stars(most+1), size)...))
		}
	}
	whole := append(fragments(opBinary, stars(most)+"x", most)[:1], masked(opContinuation, ""), masked(finCont, ""))
	s.add("the most and empty fragments behind it", fine, send(oneWrite, whole...).hears(aBinary(stars(most))))
	empty := make([][]byte, 10_000)
	for i := range empty {
		empty[i] = masked(opContinuation, "")
	}
	s.add("10,000 empty fragments", fine,
		send(oneWrite, masked(opText, "a")), send(oneWrite, empty...), send(oneWrite, masked(finCont, "z")).hears(aText("az")))
	s.run(t, nil)
}

// maskedWith is a client's frame of up to 125 bytes with the key.
func maskedWith(key [4]byte, first byte, payload string) []byte {
	b := append([]byte{first, maskBit | byte(len(payload))}, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return b
}

func TestCases_Masks(t *testing.T) {
	var s suite
	keys := [][4]byte{{}, {0xff, 0xff, 0xff, 0xff}, {1, 2, 3, 4}, {0, 0, 0, 1}, {0x80, 0, 0, 0}}
	for _, key := range keys {
		for _, chop := range []int{oneWrite, 1, 3} {
			var frames [][]byte
			var want []reply
			for size := range 24 {
				p := "0123456789abcdefghijklmn"[:size]
				frames, want = append(frames, maskedWith(key, finBit|opPing, p)), append(want, aPong(p))
			}
			s.add(fmt.Sprintf("key %x in writes of %d", key, chop), fine, send(chop, frames...).hears(want...))
		}
	}
	for name, frame := range map[string][]byte{
		"text": append([]byte{finText, 5}, "hello"...), "empty text": {finText, 0}, "binary": {finBinary, 1, 0},
		"ping": {finBit | opPing, 0}, "pong": {finBit | opPong, 0}, "close": {finBit | opClose, 2, 3, 0xe8},
		"long": append([]byte{finBinary, 126, 0, 126}, stars(126)...),
	} {
		s.add("not masked: "+name, CodeProtocolError, send(oneWrite, frame))
		s.add("not masked in a message: "+name, CodeProtocolError, send(oneWrite, masked(opText, "a"), frame))
	}
	s.run(t, nil)
}

// What follows a frame that ends the connection is thrown away, and keeps nobody
// from hearing why: close(2) with unread input would send RST.
func TestCases_WhatComesAfterTheEndIsThrownAway(t *testing.T) {
	onEveryRoad(t, nil, func(t *testing.T, n *node) {
		for _, end := range []struct {
			frame []byte
			code  int
		}{{rsv(finText, 1, "x"), CodeProtocolError}, {say("\xff"), CodeInvalidUTF8},
			{declared(finText, 1<<40, 8), CodeTooBig}, {closing(4000, ""), 4000}} {
			c, _ := n.connect(t, "", nil)
			before := n.asked.Load()
			c.write(end.frame, oneWrite)
			for range 64 {
				c.write(join(say(stars(16<<10)), ping("p"), closing(CodeNormal, "")), oneWrite)
			}
			c.hearsClose(end.code)
			if n.asked.Load() != before {
				t.Errorf("a message behind the end (%d) reached the app", end.code)
			}
		}
	})
}

// A client may end its half of TCP with its Close.
func TestCases_CloseWithFIN(t *testing.T) {
	onEveryRoad(t, nil, func(t *testing.T, n *node) {
		for code := 3000; code < 3050; code++ {
			c, _ := n.connect(t, "", nil)
			c.write(closing(code, ""), oneWrite)
			if err := c.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			c.hearsClose(code)
		}
		testkit.Eventually(t, "all are gone", func() bool { return n.Connections() == 0 })
	})
}

// only is the one connection that the node holds.
func (n *node) only(t *testing.T) *Conn {
	t.Helper()
	var found *Conn
	for _, l := range n.engine.loops() {
		l.each(func(c *Conn) { found = c })
	}
	if found == nil {
		t.Fatal("the node holds no connection")
	}
	return found
}

func TestCases_TheServersCloseIsAnsweredByTheClient(t *testing.T) {
	f := func(name string, answer []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			onEveryRoad(t, nil, func(t *testing.T, n *node) {
				c, _ := n.connect(t, "", nil)
				began := time.Now()
				n.only(t).End(&hub.Cause{Why: hub.Disconnected, Code: 4100, Reason: "bye"})
				c.hears(reply{finBit | opClose, "\x10\x04bye"})
				c.write(join(ping("late"), say("late"), answer), oneWrite)
				if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
					t.Fatalf("after the Close came % x and %v, want the end", rest, err)
				}
				if d := time.Since(began); d > closeWait/2 {
					t.Errorf("the end took %v: the client's answer was not seen", d)
				}
				if n.asked.Load() != 0 {
					t.Error("a message behind the Close reached the app")
				}
			})
		})
	}
	f("the same code", closing(4100, "bye"))
	f("another code", closing(CodeNormal, ""))
	f("no code", bare(""))
	f("a Close that is none", bare("x"))
	f("a frame that is none", rsv(finText, 3, ""))
	f("text that is none", say("\xff"))
}

func TestCases_CloseWhileTheAppIsAsked(t *testing.T) {
	held := func(t *testing.T, n *node) *client {
		c, _ := n.connect(t, "", nil)
		c.write(say("hold this"), oneWrite)
		testkit.Eventually(t, "the app is asked", func() bool { return n.asked.Load() == 1 })
		return c
	}
	f := func(name string, test func(*testing.T, *node)) {
		t.Run(name, func(t *testing.T) { onEveryRoad(t, nil, test) })
	}
	f("frames behind the message wait for its answer", func(t *testing.T, n *node) {
		c := held(t, n)
		c.write(join(ping("p"), say("second"), closing(3000, "")), oneWrite)
		n.release()
		c.hears(aText("hold this"), aPong("p"), aText("second"))
		c.hearsClose(3000)
	})
	f("the server closes: no answer comes any more", func(t *testing.T, n *node) {
		c := held(t, n)
		n.only(t).End(&hub.Cause{Why: hub.Disconnected, Code: 4100})
		c.hears(reply{finBit | opClose, "\x10\x04"})
		n.release()
		c.write(join(say("second"), closing(4100, "")), oneWrite)
		if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
			t.Fatalf("after the Close came % x and %v, want the end", rest, err)
		}
		if got := n.asked.Load(); got != 1 {
			t.Errorf("the app was asked %d times", got)
		}
	})
}

// A client that sends pings and reads no pongs is not read any faster than it
// reads: the pongs of one turn wait for it here, and the rest of its flood stays with
// it.
func TestCases_APingFloodIsHeldUpWhereItComesFrom(t *testing.T) {
	onEveryRoad(t, func(c *config.Config) { c.WebSocket.Outbox.Messages = 2 }, func(t *testing.T, n *node) {
		const pings = 60_000 // 7.6 MB of pongs: more than kernels keep
		other, _ := n.connect(t, "", nil)
		c, _ := n.connect(t, "", nil)
		payload := stars(125)
		go func() {
			for range pings / 1000 {
				c.write([]byte(strings.Repeat(string(ping(payload)), 1000)), oneWrite)
			}
		}()
		stuck := func(c *Conn) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.backlog == somePongs && c.outSize.Load() > 0
		}
		testkit.Eventually(t, "a pong waits", func() bool { return n.any(stuck) })
		for range 20 {
			other.run(send(oneWrite, say("still here")).hears(aText("still here")))
			if got := n.outboxBytes.Load(); got > framesAtOnce*130 {
				t.Fatalf("%d bytes wait, want the pongs of a turn", got)
			}
		}
		for range pings {
			c.hears(aPong(payload))
		}
		c.write(closing(CodeNormal, ""), oneWrite)
		c.hearsClose(CodeNormal)
	})
}

// any says whether a connection of the node is so.
func (n *node) any(is func(*Conn) bool) (found bool) {
	for _, l := range n.engine.loops() {
		l.each(func(c *Conn) { found = found || is(c) })
	}
	return found
}

// One that never reads is ended by the heartbeat.
func TestCases_APingFloodThatIsNeverReadEnds(t *testing.T) {
	quick := func(c *config.Config) {
		c.WebSocket.PingInterval, c.WebSocket.PongTimeout = 300*time.Millisecond, 200*time.Millisecond
	}
	onEveryRoad(t, quick, func(t *testing.T, n *node) {
		c, _ := n.connect(t, "", nil)
		go func() {
			for range 200 {
				c.write([]byte(strings.Repeat(string(ping(stars(125))), 1000)), oneWrite)
			}
		}()
		ended := func(c *Conn) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.ended == endNoPong
		}
		testkit.Eventually(t, "the connection ends", func() bool { return n.any(ended) })
	})
}

// One that reads its pongs gets all of them, however fast it pings.
func TestCases_TenThousandPingsGetTenThousandPongs(t *testing.T) {
	onEveryRoad(t, nil, func(t *testing.T, n *node) {
		c, _ := n.connect(t, "", nil)
		go func() {
			for i := 0; i < 10_000; i += 100 {
				var pings [][]byte
				for k := range 100 {
					pings = append(pings, ping(fmt.Sprint(i+k)))
				}
				c.write(join(pings...), oneWrite)
			}
		}()
		for i := range 10_000 {
			c.hears(aPong(fmt.Sprint(i)))
		}
		c.write(closing(CodeNormal, ""), oneWrite)
		c.hearsClose(CodeNormal)
	})
}

// A reset is noticed while the client's message is with the app.
func TestCases_TheClientResetsWhileTheAppIsAsked(t *testing.T) {
	onEveryRoad(t, nil, func(t *testing.T, n *node) {
		c, _ := n.connect(t, "", nil)
		c.write(say("hold this"), oneWrite)
		testkit.Eventually(t, "the app is asked", func() bool { return n.asked.Load() == 1 })
		c.reset()
		testkit.Eventually(t, "the connection is gone", func() bool { return n.Connections() == 0 })
	})
}

// A connection may end between its registration and its 101; what came early is
// then nobody's.
func TestCases_EarlyDataOfAConnectionThatEndsAtOnce(t *testing.T) {
	onEveryRoad(t, nil, func(t *testing.T, n *node) {
		done := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-done:
					return
				default:
					n.any(func(c *Conn) bool { c.End(&hub.Cause{Why: hub.Disconnected, Code: 4100}); return false })
				}
			}
		}()
		for range 100 {
			c, _ := n.connect(t, "", join(ping("p"), say("early"), closing(4100, "")))
			for {
				r, err := c.next()
				if err != nil {
					t.Fatalf("no Close came: %v", err)
				}
				if r.first == finBit|opClose {
					break
				}
			}
			_ = c.conn.Close()
		}
		close(done)
		<-ended
	})
}
