package ws

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/protocol/raw"
	"github.com/pushcart/pushcart/session"
)

// sink is a socket that takes everything.
type sink struct {
	out    []byte
	writes int
	closed bool
	full   bool
	room   int // with full: bytes still taken
	input  bool
}

func (s *sink) write(b []byte) (int, error) {
	s.writes++
	if s.full && len(b) > s.room {
		n := s.room
		s.out, s.room = append(s.out, b[:n]...), 0
		return n, errAgain
	}
	if s.full {
		s.room -= len(b)
	}
	s.out = append(s.out, b...)
	return len(b), nil
}

func (s *sink) wantWrite(bool) {}
func (s *sink) wantRead(bool)  {}
func (s *sink) unread() bool   { return s.input }
func (s *sink) start()         {}
func (s *sink) closeWrite()    { s.closed = true }
func (s *sink) close()         {}

// bareConn is an open connection without hub, backend or running loop.
func bareConn() (*Conn, *sink) {
	d := config.Default().WebSocket
	s := &Server{
		guard: guard.New(slog.New(slog.DiscardHandler), nil),
		box:   d.Outbox, maxMessage: int64(d.MaxMessageSize), inboundTotal: int64(d.InboundTotal),
		engine: &engine{goLoop: newGoLoop()}, codecs: []*codec{newCodec(new(hub.Hub), raw.Protocol{})}, sessions: quietSessions(),
	}
	s.settings.Store(NewSettings(d, config.Shutdown{}, nil, nil))
	out := &sink{}
	c := &Conn{srv: s, loop: s.engine.goLoop.loop, sock: out, life: life{phase: phaseOpen}}
	c.loop.add(c, never)
	return c, out
}

// quietSessions ask and tell nobody.
func quietSessions() *session.Engine {
	settings, err := session.NewSettings(session.Sections{}, nil, nil)
	if err != nil {
		panic(err)
	}
	return session.NewEngine(session.Options{Settings: settings, Protocols: spoken, Log: slog.New(slog.DiscardHandler)})
}

// masked is a client's frame.
func masked(first byte, payload string) []byte {
	b := appendHeader(nil, 0, len(payload))
	b[0], b[1] = first, b[1]|maskBit
	key := [4]byte{0x11, 0x22, 0x33, 0x44}
	b = append(b, key[:]...)
	p := []byte(payload)
	unmask(p, key, 0)
	return append(b, p...)
}

const (
	finText   = finBit | opText
	finBinary = finBit | opBinary
	finCont   = finBit | opContinuation
)

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// heard sums up what a connection made of its input.
func heard(c *Conn, out *sink) string {
	return fmt.Sprintf("messages=%d bytes=%d code=%d out=%x", c.inFrames.Load(), c.inBytes.Load(), endCode(c), out.out)
}

func TestConn_ReadsWhatRFC6455Allows(t *testing.T) {
	f := func(name string, input []byte, messages, size int) {
		t.Helper()
		for _, chop := range []int{len(input) + 1, 1, 3, 7} {
			c, out := bareConn()
			for b := bytes.Clone(input); len(b) > 0; {
				n := min(chop, len(b))
				c.feed(b[:n])
				b = b[n:]
			}
			if got := heard(c, out); !strings.HasPrefix(got, fmt.Sprintf("messages=%d bytes=%d code=0 ", messages, size)) {
				t.Errorf("%s in pieces of %d: got %s, want %d messages of %d bytes in all", name, chop, got, messages, size)
			}
			if c.in != nil {
				t.Errorf("%s in pieces of %d: an input buffer is still held", name, chop)
			}
		}
	}
	f("empty text", masked(finText, ""), 1, 0)
	f("125 bytes", masked(finText, strings.Repeat("*", 125)), 1, 125)
	f("126 bytes", masked(finBinary, strings.Repeat("*", 126)), 1, 126)
	f("64 KiB, the most", masked(finBinary, strings.Repeat("*", 65536)), 1, 65536)
	f("two messages", join(masked(finText, "a"), masked(finText, "bc")), 2, 3)
	f("fragments", join(masked(opText, "ab"), masked(opContinuation, ""), masked(finCont, "c")), 1, 3)
	f("a ping between fragments", join(masked(opText, "ab"), masked(finBit|opPing, "p"), masked(finCont, "c")), 1, 3)
	f("a character split over fragments", join(masked(opText, "\xce"), masked(finCont, "\xba")), 1, 2)
	f("an unasked pong", masked(finBit|opPong, "x"), 0, 0)
}

func TestConn_RefusesWhatRFC6455Forbids(t *testing.T) {
	f := func(name string, input []byte, code int) {
		t.Helper()
		for _, chop := range []int{len(input) + 1, 1, 5} {
			c, _ := bareConn()
			for b := bytes.Clone(input); len(b) > 0; {
				n := min(chop, len(b))
				c.feed(b[:n])
				b = b[n:]
			}
			if endCode(c) != code {
				t.Errorf("%s in pieces of %d: got %+v, want code %d", name, chop, c.ended, code)
			}
		}
	}
	f("not masked", []byte{finText, 1, 'a'}, CodeProtocolError)
	f("reserved bit", masked(finText|0x40, "a"), CodeProtocolError)
	f("opcode 3", masked(finBit|3, ""), CodeProtocolError)
	f("opcode 11", masked(finBit|11, ""), CodeProtocolError)
	f("fragmented ping", masked(opPing, ""), CodeProtocolError)
	f("ping of 126 bytes", masked(finBit|opPing, strings.Repeat("p", 126)), CodeProtocolError)
	f("continuation of nothing", masked(finCont, "a"), CodeProtocolError)
	f("message inside a message", join(masked(opText, "a"), masked(finText, "b")), CodeProtocolError)
	f("length of 2^63", []byte{finBinary, maskBit | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, CodeProtocolError)
	f("length not minimal", []byte{finBinary, maskBit | 126, 0, 5, 1, 2, 3, 4}, CodeProtocolError)
	f("2^62 bytes announced", []byte{finBinary, maskBit | 127, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, CodeTooBig)
	f("65 KiB", masked(finBinary, strings.Repeat("*", 65<<10)), CodeTooBig)
	f("65 KiB in fragments", join(masked(opBinary, strings.Repeat("*", 40000)), masked(finCont, strings.Repeat("*", 40000))), CodeTooBig)
	f("bad UTF-8", masked(finText, "a\xff"), CodeInvalidUTF8)
	f("unfinished UTF-8", masked(finText, "\xce"), CodeInvalidUTF8)
	f("bad UTF-8 in the first fragment", masked(opText, "\xed\xa0\x80"), CodeInvalidUTF8)
	f("close of one byte", masked(finBit|opClose, "x"), CodeProtocolError)
	f("close with code 1005", masked(finBit|opClose, "\x03\xed"), CodeProtocolError)
	f("close with bad UTF-8", masked(finBit|opClose, "\x03\xe8\xff"), CodeInvalidUTF8)
}

func TestConn_FindsBadUTF8BeforeTheFrameEnds(t *testing.T) {
	c, _ := bareConn()
	whole := masked(finText, "good so far \xf4\x90\x80\x80 and much more")
	c.feed(bytes.Clone(whole[:6+12+2]))
	if endCode(c) != CodeInvalidUTF8 {
		t.Fatalf("after the second byte of a bad character: got %+v, want 1007", c.ended)
	}
}

func TestConn_AnswersPingAndClose(t *testing.T) {
	c, out := bareConn()
	c.feed(masked(finBit|opPing, "hello"))
	if want := newFrame(opPong, []byte("hello")); !bytes.Equal(out.out, want) {
		t.Fatalf("pong: got %x, want %x", out.out, want)
	}
	out.out = nil
	c.feed(masked(finBit|opClose, "\x0b\xb8bye"))
	if want := newFrame(opClose, []byte("\x0b\xb8bye")); !bytes.Equal(out.out, want) {
		t.Fatalf("close: got %x, want %x", out.out, want)
	}
	if c.ended.Why.Label() != "client" {
		t.Fatalf("cause: got %q, want client", c.ended.Why.Label())
	}
}

// FuzzConn_PiecesMakeNoDifference holds the in-place parser and the one for
// pieces to each other.
func FuzzConn_PiecesMakeNoDifference(f *testing.F) {
	f.Add(join(masked(opText, "a\xce"), masked(finBit|opPing, "p"), masked(finCont, "\xbab")), uint8(3))
	f.Add(masked(finBinary, strings.Repeat("x", 300)), uint8(9))
	f.Add(masked(finBit|opClose, "\x03\xe8bye"), uint8(1))
	f.Fuzz(func(t *testing.T, input []byte, chop uint8) {
		whole, wholeOut := bareConn()
		whole.feed(bytes.Clone(input))
		pieces, piecesOut := bareConn()
		for b := bytes.Clone(input); len(b) > 0; {
			n := min(int(chop)+1, len(b))
			pieces.feed(b[:n])
			b = b[n:]
		}
		if a, b := heard(whole, wholeOut), heard(pieces, piecesOut); a != b {
			t.Fatalf("whole: %s\npieces of %d: %s", a, int(chop)+1, b)
		}
	})
}
