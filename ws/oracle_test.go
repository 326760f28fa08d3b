package ws

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
)

// allCome is a connection on which all of in has come and nothing more will.
type allCome struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (m *allCome) Read(b []byte) (int, error)       { return m.in.Read(b) }
func (m *allCome) Write(b []byte) (int, error)      { return m.out.Write(b) }
func (m *allCome) Close() error                     { return nil }
func (m *allCome) SetDeadline(time.Time) error      { return nil }
func (m *allCome) SetReadDeadline(time.Time) error  { return nil }
func (m *allCome) SetWriteDeadline(time.Time) error { return nil }

// hijacked hands an allCome to an upgrader of net/http.
type hijacked struct {
	http.ResponseWriter
	conn *allCome
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// outcome is what a reader made of a stream.
type outcome struct {
	messages []int    // sizes
	pongs    []string // payloads
	code     int      // of the client's Close; 0: none came
	fault    error    // what the stream breaks
}

// read collects the server's pongs from what it wrote.
func (o *outcome) read(written []byte) {
	for len(written) > 0 {
		h, ok, err := parseHeader(written)
		if !ok || err != nil {
			return
		}
		if h.op == opPong {
			o.pongs = append(o.pongs, string(written[h.size:h.size+int(h.length)]))
		}
		written = written[h.size+int(h.length):]
	}
}

// oracle is what fasthttp/websocket makes of input.
func oracle(t *testing.T, input []byte) (o outcome) {
	t.Helper()
	conn := &allCome{in: bytes.NewReader(input)}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(handshook + "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	c, err := (&websocket.Upgrader{}).Upgrade(hijacked{conn: conn}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.out.Reset()
	c.SetReadLimit(64 << 10)
	for {
		_, p, err := c.ReadMessage()
		if err == nil {
			o.messages = append(o.messages, len(p))
			continue
		}
		var closed *websocket.CloseError
		switch {
		case errors.As(err, &closed) && closed.Code != CodeAbnormal:
			o.code = closed.Code
		case errors.Is(err, io.ErrUnexpectedEOF), closed != nil:
		default:
			o.fault = err
		}
		o.read(conn.out.Bytes())
		return o
	}
}

// ours is what a connection makes of input, byte by byte.
func ours(input []byte) (o outcome) {
	c, out := bareConn()
	bytesIn := uint64(0)
	for i := range input {
		c.feed([]byte{input[i]})
		if n := c.inBytes.Load(); int(c.inFrames.Load()) > len(o.messages) {
			o.messages = append(o.messages, int(n-bytesIn))
			bytesIn = n
		}
	}
	switch {
	case c.ended == nil:
	case c.ended.Why.Label() == "client":
		o.code = endCode(c)
	default:
		code, reason := c.codec().protocol.Code(c.ended)
		o.fault = fmt.Errorf("%d %s", code, reason)
	}
	o.read(out.out)
	return o
}

// stricter are faults that fasthttp/websocket lets pass.
func stricter(fault error) bool {
	return fault != nil && slices.Contains([]string{"1007 invalid UTF-8", "1002 bad frame length", "1002 bad close frame"}, fault.Error())
}

// stream makes frames, mostly good ones, of what a fuzzer thinks up: bytes alone
// would seldom get past the first head.
func stream(script []byte) []byte {
	var out []byte
	for len(script) >= 3 {
		first, shape, n := script[0], script[1], min(int(script[2]), len(script)-3)
		payload := string(script[3 : 3+n])
		script = script[3+n:]
		op := [16]byte{0, 0, 0, 1, 1, 2, 2, 8, 9, 9, 10, 0, 0, 1, 2, 3}[first&15]
		if first&0x70 == 0x70 {
			op |= first << 4 & rsvBits
		}
		if first&finBit != 0 {
			op |= finBit
		}
		switch shape {
		case 0xff:
			out = append(append(out, op, byte(n&0x7f)), payload...) // not masked
		case 0xfe:
			out = append(append(out, declared(op, uint64(n), 2)...), payload...)
		case 0xfd:
			out = append(append(out, declared(op, uint64(n)<<56|uint64(n), 8)...), payload...)
		case 0xfc:
			out = append(out, masked(op, strings.Repeat(payload, 300))...)
		default:
			out = append(out, masked(op, payload)...)
		}
	}
	return out
}

// FuzzConn_AgreesWithAnotherImplementation: what both accept means the same to
// both, and what fasthttp/websocket refuses is refused here.
func FuzzConn_AgreesWithAnotherImplementation(f *testing.F) {
	f.Add([]byte("\x03\x00\x02a\xce\x89\x00\x01p\x80\x00\x02\xbab\x85\x00\x03\x00\xff\xfe\x87\x00\x05\x0b\xb8bye"))
	f.Add([]byte("\x89\x00\x00\x8a\x00\x01x\x05\xfc\x01*\x00\x00\x00\x80\x00\x01z"))
	f.Add([]byte("\x85\xfd\x7fabc"))
	f.Add([]byte("\x85\xfe\x05hello\x83\xff\x01a"))
	f.Add([]byte("\xf3\x00\x01a\x87\x00\x01\x03"))
	f.Fuzz(func(t *testing.T, script []byte) {
		input := stream(script)
		// A head that breaks off is judged at other bytes here and there; with this
		// behind it, none does.
		input = append(input, make([]byte, maxHeaderSize)...)
		us, they := ours(bytes.Clone(input)), oracle(t, input)
		n, p := len(us.messages), len(us.pongs)
		switch {
		case n > len(they.messages) || !slices.Equal(us.messages, they.messages[:n]),
			p > len(they.pongs) || !slices.Equal(us.pongs, they.pongs[:p]):
		case stricter(us.fault):
			return
		case n == len(they.messages) && p == len(they.pongs) && us.code == they.code && (us.fault == nil) == (they.fault == nil):
			return
		case us.code == 1014 && they.fault != nil: // registered after that library's list was written
			return
		}
		t.Fatalf("%x:\nhere %+v\nthere %+v", input, us, they)
	})
}
