package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/protocol/raw"
)

// squeeze is a client's compressed payload, made by the standard library.
func squeeze(t testing.TB, p []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err == nil {
		_, err = w.Write(p)
	}
	if err = errors.Join(err, w.Flush()); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte(flushed[:4]))
}

// unsqueeze reads a frame's payload as the standard library does.
func unsqueeze(t testing.TB, p []byte) []byte {
	t.Helper()
	out, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader(flushed))))
	if err != nil {
		t.Fatalf("decompress %x: %v", p, err)
	}
	return out
}

// payloadOf takes a server's frame apart.
func payloadOf(t testing.TB, frame []byte) (first byte, payload []byte) {
	t.Helper()
	h, ok, err := parseHeader(frame)
	if !ok || err != nil || int(h.length) != len(frame)-h.size {
		t.Fatalf("frame %x: %v", frame, err)
	}
	return frame[0], frame[h.size:]
}

func text(n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, `{"id":%d,"note":"the quick brown fox"},`, i*7919)
	}
	return b[:n]
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestDeflatedFrame_IsWhatTheStandardLibraryReads(t *testing.T) {
	for _, size := range []int{minDeflate, 200, 4096, 65535, 200_000} {
		m := &hub.Message{Kind: hub.JSON, Data: text(size)}
		first, p := payloadOf(t, newCodec(new(hub.Hub), raw.Protocol{}).deflatedFrame(m))
		if first != finText|rsv1 {
			t.Errorf("%d bytes: first byte %x", size, first)
		}
		if got := unsqueeze(t, p); !bytes.Equal(got, m.Data) {
			t.Errorf("%d bytes came back as %d others", size, len(got))
		}
	}
}

func TestDeflatedFrame_IsThePlainOneWhereThatIsSmaller(t *testing.T) {
	m := &hub.Message{Kind: hub.Binary, Data: noise(5000)}
	if first, p := payloadOf(t, newCodec(new(hub.Hub), raw.Protocol{}).deflatedFrame(m)); first != finBinary || !bytes.Equal(p, m.Data) {
		t.Errorf("first byte %x, %d bytes", first, len(p))
	}
}

func TestFrameOf_KeepsToTheWindow(t *testing.T) {
	f := func(window uint8, size int, compressed bool) {
		t.Helper()
		c := &Conn{srv: &Server{codecs: []*codec{newCodec(new(hub.Hub), raw.Protocol{})}}, window: window}
		first, _ := payloadOf(t, c.frameOf(&hub.Message{Kind: hub.Text, Data: text(size)}))
		if got := first&rsv1 != 0; got != compressed {
			t.Errorf("window %d, %d bytes: compressed %v, want %v", window, size, got, compressed)
		}
		first, _ = payloadOf(t, c.encode(opText, text(size)))
		if got := first&rsv1 != 0; got != compressed {
			t.Errorf("encode with window %d, %d bytes: compressed %v, want %v", window, size, got, compressed)
		}
	}
	f(0, 4096, false)
	f(15, minDeflate-1, false)
	f(15, minDeflate, true)
	f(15, 100_000, true)
	f(10, 1024, true)
	f(10, 1025, false)
}

func TestInflate(t *testing.T) {
	const most = 10_000
	f := func(name string, data []byte, op byte, want any) {
		t.Helper()
		got, fault := inflate(bytes.Clone(data), op, most)
		switch want := want.(type) {
		case *hub.Cause:
			if fault != want {
				t.Errorf("%s: got %d bytes and %v, want %v", name, len(got), fault, want)
			}
		case []byte:
			if fault != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: got %d bytes and %v, want %d bytes", name, len(got), fault, len(want))
			}
		}
	}
	f("text", squeeze(t, text(most)), opText, text(most))
	f("noise", squeeze(t, noise(most)), opBinary, noise(most))
	f("nothing", squeeze(t, nil), opText, []byte{})
	f("nothing, as RFC 7692 §7.2.3.6 writes it", []byte{0}, opText, []byte{})
	f("a final block, §7.2.3.4", []byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00}, opText, []byte("Hello"))
	f("two blocks, §7.2.3.5", []byte{0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00}, opText, []byte("Hello"))
	f("stored, §7.2.3.3", []byte{0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00}, opText, []byte("Hello"))

	f("one byte too many", squeeze(t, text(most+1)), opText, endTooBig)
	f("a bomb", squeeze(t, make([]byte, 8<<20)), opBinary, endTooBig)
	f("no UTF-8", squeeze(t, []byte("a\xffb")), opText, endUTF8)
	f("no UTF-8 in binary", squeeze(t, []byte("a\xffb")), opBinary, []byte("a\xffb"))
	f("garbage", []byte{0xff, 0xff, 0xff}, opText, endInflate)
	f("something behind a final block", []byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 'a', 'b', 'c'}, opText, endInflate)
}

func TestConn_ReservedBitIsForCompressedMessagesOnly(t *testing.T) {
	f := func(window uint8, want int, frames ...[]byte) {
		t.Helper()
		c, _ := bareConn()
		c.window = window
		c.received(join(frames...))
		if c.srv.inflater.work.Wait(); endCode(c) != want {
			t.Errorf("window %d, %x: ended %v, want %d", window, frames, c.ended, want)
		}
	}
	z := string(squeeze(t, []byte("hello")))
	f(0, CodeProtocolError, masked(finText|rsv1, z))
	f(15, CodeProtocolError, masked(opText|rsv1, z), masked(finCont|rsv1, ""))
	f(15, CodeProtocolError, masked(finBit|opPing|rsv1, ""))
	f(15, CodeProtocolError, masked(finText|rsv1|0x20, z))
	f(15, CodeInvalidUTF8, masked(finText|rsv1, "\xff\xff\xff"))
	f(15, CodeTooBig, masked(finText|rsv1, string(squeeze(t, make([]byte, 1<<20)))))
}

func TestConn_TakesCompressedMessagesInAnyPieces(t *testing.T) {
	for _, cut := range []int{0, 1, 5, 20} {
		c, out := bareConn()
		c.window = 15
		z := squeeze(t, text(1000))
		input := join(masked(opText|rsv1, string(z[:cut])), masked(finBit|opPing, "x"), masked(finCont, string(z[cut:])))
		for i := range input {
			c.received(input[i : i+1])
		}
		c.srv.inflater.work.Wait()
		if got, want := heard(c, out), "messages=1 bytes=1000 code=0 out=8a0178"; got != want {
			t.Errorf("cut at %d: got %s, want %s", cut, got, want)
		}
		if c.in != nil {
			t.Errorf("cut at %d: a buffer is left", cut)
		}
	}
}

// mine is a decompressor that meets what nobody thought of.
type mine struct{ io.ReadCloser }

func (mine) Reset(io.Reader, []byte) error { panic("boom") }

func TestInflater_APanicEndsOneConnectionOnly(t *testing.T) {
	runtime.GC() // twice, so that the pool has none left
	runtime.GC()
	old := readers.New
	readers.New = func() any { return mine{} }
	defer func() { readers.New = old; runtime.GC(); runtime.GC() }()
	n := newNode(t, roads[0], compressing)
	other, _ := n.connect(t, "", nil)
	c, _ := n.connect(t, "Sec-WebSocket-Extensions: permessage-deflate\r\n", nil)
	c.write(masked(finText|rsv1, string(squeeze(t, []byte("hello")))), oneWrite)
	c.hears(farewell("\x03\xf3internal error"))
	other.run(send(oneWrite, say("still here")).hears(aText("still here")))
}

// FuzzInflate: what is accepted is what the standard library reads, and never
// more than allowed.
func FuzzInflate(f *testing.F) {
	f.Add([]byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00})
	f.Add([]byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00})
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 1 << 16
		got, fault := inflate(bytes.Clone(data), opBinary, most)
		r := flate.NewReader(bytes.NewReader(append(bytes.Clone(data), flushed...)))
		want, err := io.ReadAll(io.LimitReader(r, most+1))
		switch {
		case fault == nil && (err != nil || !bytes.Equal(got, want)):
			t.Errorf("%x: got %d bytes, the library %d and %v", data, len(got), len(want), err)
		case fault == endTooBig && err == nil && len(want) <= most:
			t.Errorf("%x: too big, the library has %d bytes", data, len(want))
		}
	})
}

func BenchmarkDeflate(b *testing.B) {
	for _, size := range []int{200, 2048, 16384} {
		p := text(size)
		b.Run(fmt.Sprint("size=", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = deflate(opText, p)
			}
		})
	}
}

func BenchmarkInflate(b *testing.B) {
	for _, size := range []int{200, 2048, 16384} {
		z := squeeze(b, text(size))
		b.Run(fmt.Sprint("size=", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, fault := inflate(z, opText, 64<<10); fault != nil {
					b.Fatal(fault)
				}
			}
		})
	}
}
