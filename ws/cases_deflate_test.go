package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/race"
)

// Cases 12 and 13 are those of permessage-deflate (RFC 7692); the standard
// library's compress/flate is the client.

func compressing(c *config.Config) {
	c.WebSocket.Compression, c.WebSocket.MaxMessageSize = true, 128*config.KiB
}

const (
	offered  = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; client_max_window_bits\r\n"
	accepted = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
)

// sizes are the message and frame sizes of 12.x.1 to 12.x.18; 0: one frame.
var sizes = [][2]int{
	{16}, {64}, {256}, {1024}, {4096}, {8192}, {16384}, {32768}, {65536}, {131072},
	{8192, 256}, {16384, 256}, {32768, 256}, {65536, 256}, {131072, 256}, {131072, 1024}, {131072, 4096}, {131072, 32768},
}

// deflaters are what clients compress with, by level. A new one is a MiB, all of
// which the race detector looks at.
var deflaters [flate.BestCompression - flate.HuffmanOnly + 1]sync.Pool

// deflatedFrames is a message of a client, compressed at level, in frames of at
// most size bytes of it.
func deflatedFrames(t *testing.T, op byte, message []byte, level, size int) [][]byte {
	t.Helper()
	var out bytes.Buffer
	pool := &deflaters[level-flate.HuffmanOnly]
	w, ok := pool.Get().(*flate.Writer)
	if !ok {
		w, _ = flate.NewWriter(nil, level) // the levels are good
	}
	defer pool.Put(w)
	w.Reset(&out)
	_, err := w.Write(message)
	if err = errors.Join(err, w.Flush()); err != nil {
		t.Fatal(err)
	}
	return marked(op, bytes.TrimSuffix(out.Bytes(), []byte(flushed[:4])), size)
}

// marked is a payload in frames that say it is compressed.
func marked(op byte, payload []byte, size int) [][]byte {
	if size == 0 {
		size = len(payload) + 1
	}
	frames := fragments(op, string(payload), size)
	frames[0][0] |= rsv1
	return frames
}

// hearsMessage wants the message, compressed or not, and says which.
func (c *client) hearsMessage(op byte, want []byte) (compressed bool) {
	c.t.Helper()
	r, err := c.next()
	if err != nil || r.first&^rsv1 != finBit|op {
		c.t.Fatalf("got %v %v, want a message of %d bytes", r, err, len(want))
	}
	got := []byte(r.payload)
	if compressed = r.first&rsv1 != 0; compressed {
		got = unsqueeze(c.t, got)
	}
	if !bytes.Equal(got, want) {
		c.t.Fatalf("got %d bytes %.40q, want %d %.40q", len(got), got, len(want), want)
	}
	return compressed
}

func (c *client) end(code int) {
	c.t.Helper()
	if code == fine {
		c.write(closing(CodeNormal, ""), oneWrite)
	}
	c.hearsClose(code)
}

// dataset is what the messages of a part are cut from: the suite's own are a book,
// a bitmap, a PDF, JSON and HTML.
type dataset struct {
	op   byte
	data []byte
}

func datasets() []dataset {
	const least = 150_000
	var prose, page bytes.Buffer
	for i := 0; min(prose.Len(), page.Len()) < least; i++ {
		fmt.Fprintf(&prose, "Habe nun, ach! %x Philosophie, Juristerei und Medizin, und leider auch %d Theologie. ", i*i, i)
		fmt.Fprintf(&page, "<tr class=\"row\"><td>%d</td><td>Grüße №%x</td></tr>\n", i, i*31)
	}
	bitmap := make([]byte, least)
	for i := range bitmap {
		bitmap[i] = byte(i%512/3 + i/512*i/512%7)
	}
	return []dataset{
		{opBinary, prose.Bytes()}, {opBinary, bitmap}, {opBinary, noise(least)}, {opText, text(least)},
		{opText, page.Bytes()},
	}
}

// cut is n bytes from about at on; of text no character is split, and the missing
// bytes are filled up.
func (d dataset) cut(at, n int) []byte {
	at %= len(d.data) - n
	b := bytes.Clone(d.data[at : at+n])
	if d.op == opText {
		b = bytes.ToValidUTF8(b, nil)
		b = append(b, stars(n-len(b))...)
	}
	return b
}

var levels = []int{flate.BestSpeed, flate.DefaultCompression, flate.BestCompression, flate.HuffmanOnly, flate.NoCompression}

// exchange sends a message of the set and wants it back; window is the server's.
// The suite sends a thousand.
func (d dataset) exchange(c *client, number, chop, size, fragment, window int) {
	m := d.cut(number*size+number, size)
	c.run(send(chop, deflatedFrames(c.t, d.op, m, levels[number%len(levels)], fragment)...))
	want := size >= minDeflate && (window == fullWindow || size <= 1<<window)
	if compressed := c.hearsMessage(d.op, m); compressed != want {
		c.t.Errorf("%d bytes came compressed: %v, to a window of %d bits", size, compressed, window)
	}
}

// leftOut says whether a part does without a size: with the race detector each has every
// third, another third than its neighbours. make unit runs all of them without it too.
func leftOut(part, size int) bool { return race.Enabled && (part+size)%3 != 0 }

func TestCases12_CompressedMessages(t *testing.T) {
	sets := datasets()
	onEveryRoad(t, compressing, func(t *testing.T, n *node) {
		for s, set := range sets {
			for i, size := range sizes {
				if leftOut(s, i) {
					continue
				}
				t.Run(fmt.Sprintf("12.%d.%d", s+1, i+1), func(t *testing.T) {
					c, resp := n.connect(t, offered, nil)
					if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != accepted {
						t.Fatalf("got extensions %q", got)
					}
					set.exchange(c, s+i, oneWrite, size[0], size[1], fullWindow)
					set.exchange(c, s+i+1, frameWise, size[0], size[1], fullWindow)
					c.end(fine)
				})
			}
		}
	})
}

func TestCases13_Negotiation(t *testing.T) {
	json := datasets()[3]
	const client = "permessage-deflate; client_no_context_takeover; client_max_window_bits"
	parts := []struct {
		offer  string
		window int // that the server must accept; 0: none is asked for
	}{
		{client, 0},
		{client + "; server_no_context_takeover", 0},
		{client + "; server_max_window_bits=8", 8},
		{client + "; server_max_window_bits=15", 15},
		{client + "; server_no_context_takeover; server_max_window_bits=8", 8},
		{client + "; server_no_context_takeover; server_max_window_bits=15", 15},
		{client + "; server_no_context_takeover; server_max_window_bits=8, " + client + "; server_no_context_takeover, " + client, 8},
	}
	onEveryRoad(t, compressing, func(t *testing.T, n *node) {
		for p, part := range parts {
			want, window := accepted, fullWindow
			if part.window != 0 {
				want, window = fmt.Sprintf("%s; server_max_window_bits=%d", accepted, part.window), part.window
			}
			for i, size := range sizes {
				if leftOut(p, i) {
					continue
				}
				t.Run(fmt.Sprintf("13.%d.%d", p+1, i+1), func(t *testing.T) {
					c, resp := n.connect(t, "Sec-WebSocket-Extensions: "+part.offer+"\r\n", nil)
					if got := resp.Header.Values("Sec-WebSocket-Extensions"); len(got) != 1 || got[0] != want {
						t.Fatalf("got extensions %q, want %q", got, want)
					}
					json.exchange(c, p+i, oneWrite, size[0], size[1], window)
					c.end(fine)
				})
			}
		}
	})
}

// Beyond the suite: what is declined, and what is then an error.
func TestCases13_WhatIsDeclinedIsNotSpoken(t *testing.T) {
	onEveryRoad(t, compressing, func(t *testing.T, n *node) {
		f := func(want string, header ...string) {
			t.Helper()
			var lines string
			for _, h := range header {
				lines += "Sec-WebSocket-Extensions: " + h + "\r\n"
			}
			c, resp := n.connect(t, lines, nil)
			if got := strings.Join(resp.Header.Values("Sec-WebSocket-Extensions"), "|"); got != want {
				t.Errorf("%q: got %q, want %q", header, got, want)
			}
			message := text(500)
			for _, frame := range deflatedFrames(t, opText, message, flate.BestSpeed, 0) {
				c.write(frame, oneWrite)
			}
			if want == "" {
				c.end(CodeProtocolError)
				return
			}
			c.hearsMessage(opText, message)
			c.end(fine)
		}
		f(accepted, "permessage-deflate")
		f(accepted, "foo, permessage-deflate")
		f(accepted, "foo", "permessage-deflate") // two lines are one list
		f(accepted, "permessage-deflate; server_max_window_bits=7", "permessage-deflate")
		f(accepted, "PERMESSAGE-DEFLATE;CLIENT_MAX_WINDOW_BITS=9")
		f(accepted, `permessage-deflate; client_max_window_bits="9"`)
		f("")
		f("", "permessage-deflate; unknown")
		f("", "permessage-deflate; client_max_window_bits=7")
		f("", "permessage-deflate; client_max_window_bits=16")
		f("", "permessage-deflate; server_max_window_bits")
		f("", "permessage-deflate; server_max_window_bits=0")
		f("", "permessage-deflate; server_no_context_takeover=true")
		f("", "permessage-deflate; client_max_window_bits; client_max_window_bits=9")
		f("", "x-webkit-deflate-frame", "permessage-bzip2")
	})
}

// deflateCases are beyond the suite: what may be sent once compression is agreed
// on, and what may not.
func deflateCases(t *testing.T) *suite {
	s := &suite{}
	whole := func(op byte, m string) []byte { return deflatedFrames(t, op, []byte(m), flate.BestCompression, 0)[0] }
	packed := string(squeeze(t, []byte(stars(100))))
	hello := string(squeeze(t, []byte("hello")))

	s.add("plain messages", fine, send(oneWrite, say("a"), masked(finBinary, octets)).hears(aText("a"), aBinary(octets)))
	s.add("compressed and plain by turns", fine,
		send(oneWrite, whole(opText, "a"), say("b"), whole(opBinary, "c"), whole(opText, "d")).
			hears(aText("a"), aText("b"), aBinary("c"), aText("d")))
	s.add("by octets", fine, send(1, whole(opText, "hello"), ping("p"), whole(opText, "")).hears(aText("hello"), aPong("p"), aText(echoOf(""))))
	s.add("an empty message", fine, send(oneWrite, marked(opText, []byte{0}, 0)...).hears(aText(echoOf(""))))
	s.add("an empty message, in a block of fixed codes", fine, send(oneWrite, marked(opText, []byte{2, 0}, 0)...).hears(aText(echoOf(""))))
	s.add("empty fragments", fine,
		send(oneWrite, masked(opText|rsv1, ""), masked(opContinuation, hello), ping("p"), masked(finCont, "")).hears(aPong("p"), aText("hello")))
	s.add("a final block", fine, send(oneWrite, marked(opText, []byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), 0)...).hears(aText("Hello")))
	s.add("stored", fine, send(oneWrite, marked(opText, []byte("\x00\x05\x00\xfa\xffHello\x00"), 0)...).hears(aText("Hello")))
	s.add("two blocks", fine, send(oneWrite, marked(opText, []byte("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), 0)...).hears(aText("Hello")))

	s.add("RSV1 in a continuation", CodeProtocolError, send(oneWrite, masked(opText|rsv1, packed[:2]), masked(finCont|rsv1, packed[2:])))
	s.add("RSV1 in a continuation of a plain message", CodeProtocolError, send(oneWrite, masked(opText, "a"), masked(finCont|rsv1, packed)))
	for _, op := range []byte{opPing, opPong, opClose} {
		s.add(fmt.Sprintf("RSV1 in %x", op), CodeProtocolError, send(oneWrite, masked(finBit|rsv1|op, "")))
	}
	for _, bits := range []byte{2, 1, 6, 3, 5, 7, 4} {
		if bits != 4 { // that is RSV1 alone
			s.add(fmt.Sprintf("reserved bits %03b", bits), CodeProtocolError, send(oneWrite, rsv(finText, bits, packed)))
		}
	}
	s.add("a message inside a compressed one", CodeProtocolError, send(oneWrite, masked(opText|rsv1, packed[:2]), whole(opText, "x")))

	s.add("garbage", CodeInvalidUTF8, send(oneWrite, marked(opBinary, []byte("\xff\xff\xff\xff garbage"), 0)...))
	s.add("nothing, which is no block", CodeInvalidUTF8, send(oneWrite, marked(opText, nil, 0)...))
	s.add("a reserved block type", CodeInvalidUTF8, send(oneWrite, marked(opBinary, []byte{0x06}, 0)...))
	s.add("a stored block whose length is wrong", CodeInvalidUTF8, send(oneWrite, marked(opBinary, []byte("\x00\x05\x00\x00\x00Hello\x00"), 0)...))
	s.add("bytes behind the final block", CodeInvalidUTF8, send(oneWrite, marked(opText, []byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00more"), 0)...))
	s.add("a reference to the message before", CodeInvalidUTF8,
		send(oneWrite, whole(opText, "hello")).hears(aText("hello")), send(oneWrite, marked(opText, takenOver(t, "hello"), 0)...))
	s.add("text that is none", CodeInvalidUTF8, send(oneWrite, whole(opText, "a\xed\xa0\x80")))
	s.add("text that ends too early", CodeInvalidUTF8, send(oneWrite, deflatedFrames(t, opText, []byte(kosme[:10]), flate.BestSpeed, 3)...))
	s.add("the same as binary", fine, send(oneWrite, whole(opBinary, "a\xed\xa0\x80")).hears(aBinary("a\xed\xa0\x80")))
	return s
}

// takenOver is m once more, compressed with the window of m before it.
func takenOver(t *testing.T, m string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(m))
	_ = w.Flush()
	first := out.Len()
	_, _ = w.Write([]byte(strings.Repeat(m, 20)))
	_ = w.Flush()
	return bytes.TrimSuffix(out.Bytes()[first:], []byte(flushed[:4]))
}

func TestCases_CompressionAgreedOn(t *testing.T) {
	s := deflateCases(t)
	onEveryRoad(t, compressing, func(t *testing.T, n *node) {
		for _, tc := range s.cases {
			t.Run(tc.id, func(t *testing.T) {
				c, _ := n.connect(t, offered, nil)
				for _, step := range tc.steps {
					c.run(step)
				}
				c.end(tc.code)
			})
		}
	})
}

func TestCases_CompressedEarlyData(t *testing.T) {
	frames := join(deflatedFrames(t, opText, text(3000), flate.BestSpeed, 700)...)
	onEveryRoad(t, compressing, func(t *testing.T, n *node) {
		for early := 0; early < len(frames); early += 1 + len(frames)/20 {
			c, _ := n.connect(t, offered, frames[:early])
			c.write(frames[early:], oneWrite)
			c.hearsMessage(opText, text(3000))
			c.end(fine)
		}
	})
}

// bomb is 16 MiB in less than the 128 KiB that a message may have.
func bomb(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err == nil {
		_, err = w.Write(make([]byte, 16<<20))
	}
	if err = errors.Join(err, w.Flush()); err != nil || out.Len() > 128<<10 {
		t.Fatalf("%d bytes, %v", out.Len(), err)
	}
	return out.Bytes()
}

// The limit is the message's, not its frames': what cannot be compressed comes in
// a few bytes more, and a bomb is not inflated beyond it.
func TestCases_CompressedSizes(t *testing.T) {
	const most = 128 << 10
	bomb := marked(opText, bomb(t), 1000)
	onEveryRoad(t, compressing, func(t *testing.T, n *node) {
		f := func(code int, message []byte, frames [][]byte) {
			t.Helper()
			c, _ := n.connect(t, offered, nil)
			c.write(join(frames...), oneWrite)
			if code == fine {
				c.hearsMessage(opBinary, message)
			}
			c.end(code)
		}
		for _, level := range []int{flate.NoCompression, flate.BestSpeed} {
			f(fine, noise(most), deflatedFrames(t, opBinary, noise(most), level, 0))
			f(fine, noise(most), deflatedFrames(t, opBinary, noise(most), level, 1000))
			f(CodeTooBig, nil, deflatedFrames(t, opBinary, noise(most+1), level, 0))
		}
		f(CodeTooBig, nil, deflatedFrames(t, opBinary, make([]byte, most+1), flate.BestSpeed, 0))
		f(CodeTooBig, nil, [][]byte{declared(finBinary|rsv1, uint64(compressedLimit(most))+1, 8)})
		f(CodeTooBig, nil, [][]byte{declared(finBinary|rsv1, 1<<63-1, 8)})
		f(CodeTooBig, nil, [][]byte{masked(opBinary|rsv1, "0"), declared(finCont, uint64(compressedLimit(most)), 8)})
		f(CodeTooBig, nil, bomb)
		if got := n.asked.Load(); got != 4 {
			t.Errorf("%d messages reached the app, want the four that fit", got)
		}
	})
}

func TestInflate_HoldsABombNoLongerThanTheLimit(t *testing.T) {
	const most = 64 << 10
	bomb := bomb(t)
	_, _ = inflate(squeeze(t, []byte("a decompressor is in the pool")), opBinary, most)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, fault := inflate(bomb, opBinary, most)
	runtime.ReadMemStats(&after)
	if fault != endTooBig {
		t.Fatalf("got %+v, want 1009", fault)
	}
	// The decompressor itself has a window of 32 KiB and some tables.
	if got := after.TotalAlloc - before.TotalAlloc; got > 8*most {
		t.Errorf("%d bytes were allocated for a bomb of %d, with a limit of %d", got, len(bomb), most)
	}
}

func TestHandshake_AnswersTheExtensionOnce(t *testing.T) {
	n := newNode(t, roads[0], compressing)
	resp, body := n.ask(t, strings.TrimSpace("+"+offered))
	if resp.StatusCode != http.StatusSwitchingProtocols || len(resp.Header) != 4 || len(resp.Header.Values("Sec-WebSocket-Extensions")) != 1 {
		t.Errorf("got %d %v %s", resp.StatusCode, resp.Header, body)
	}
}
