package ws

import (
	"strings"
	"testing"
)

// octets is a payload that is not text.
const octets = "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"

func TestCases1_Framing(t *testing.T) {
	var s suite
	for _, kind := range []struct {
		id   string
		op   byte
		fill string
	}{{"1.1.", opText, "*"}, {"1.2.", opBinary, "\xfe"}} {
		f := func(n string, size, chop int) { s.echo(kind.id+n, kind.op, strings.Repeat(kind.fill, size), chop) }
		f("1", 0, oneWrite)
		f("2", 125, oneWrite)
		f("3", 126, oneWrite)
		f("4", 127, oneWrite)
		f("5", 128, oneWrite)
		f("6", 65535, oneWrite)
		f("7", 65536, oneWrite)
		f("8", 65536, 997)
	}
	s.run(t, nil)
}

func TestCases2_PingsAndPongs(t *testing.T) {
	var s suite
	full := strings.Repeat("\xfe", 125)
	s.add("2.1", fine, send(oneWrite, ping("")).hears(aPong("")))
	s.add("2.2", fine, send(oneWrite, ping("Hello, world!")).hears(aPong("Hello, world!")))
	s.add("2.3", fine, send(oneWrite, ping(octets)).hears(aPong(octets)))
	s.add("2.4", fine, send(oneWrite, ping(full)).hears(aPong(full)))
	s.add("2.5", CodeProtocolError, send(oneWrite, ping(full+"\xfe")))
	s.add("2.6", fine, send(1, ping(full)).hears(aPong(full)))
	s.add("2.7", fine, send(oneWrite, masked(finBit|opPong, "")))
	s.add("2.8", fine, send(oneWrite, masked(finBit|opPong, "unsolicited pong payload")))
	s.add("2.9", fine, send(oneWrite, masked(finBit|opPong, "unsolicited pong payload"), ping("ping payload")).hears(aPong("ping payload")))
	var ten [][]byte
	var pongs []reply
	for i := range 10 {
		p := "payload-" + string(rune('0'+i))
		ten, pongs = append(ten, ping(p)), append(pongs, aPong(p))
	}
	s.add("2.10", fine, send(oneWrite, ten...).hears(pongs...))
	s.add("2.11", fine, send(1, ten...).hears(pongs...))
	s.run(t, nil)
}

// rsv is a frame with reserved bits.
func rsv(first byte, bits byte, payload string) []byte { return masked(first|bits<<4, payload) }

func TestCases3_ReservedBits(t *testing.T) {
	const hello = "Hello, world!"
	var s suite
	s.add("3.1", CodeProtocolError, send(oneWrite, rsv(finText, 1, hello)))
	s.add("3.2", CodeProtocolError, send(oneWrite, say(hello), rsv(finText, 2, hello), ping("")).hears(aText(hello)))
	s.add("3.3", CodeProtocolError, send(frameWise, say(hello), rsv(finText, 3, hello), ping("")).hears(aText(hello)))
	s.add("3.4", CodeProtocolError, send(1, say(hello), rsv(finText, 4, hello), ping("")).hears(aText(hello)))
	s.add("3.5", CodeProtocolError, send(oneWrite, rsv(finBinary, 5, octets)))
	s.add("3.6", CodeProtocolError, send(oneWrite, rsv(finBit|opPing, 6, hello)))
	s.add("3.7", CodeProtocolError, send(oneWrite, rsv(finBit|opClose, 7, "")))
	s.run(t, nil)
}

func TestCases4_Opcodes(t *testing.T) {
	const hello = "Hello, world!"
	var s suite
	for _, part := range []struct {
		id string
		op byte
	}{{"4.1.", 3}, {"4.2.", 11}} {
		bad := func(n byte, payload string) []byte { return masked(finBit|(part.op+n-1), payload) }
		s.add(part.id+"1", CodeProtocolError, send(oneWrite, bad(1, "")))
		s.add(part.id+"2", CodeProtocolError, send(oneWrite, bad(2, "reserved opcode payload")))
		s.add(part.id+"3", CodeProtocolError, send(oneWrite, say(hello), bad(3, ""), ping("")).hears(aText(hello)))
		s.add(part.id+"4", CodeProtocolError, send(oneWrite, say(hello), bad(4, hello), ping("")).hears(aText(hello)))
		s.add(part.id+"5", CodeProtocolError, send(1, say(hello), bad(5, hello), ping("")).hears(aText(hello)))
	}
	s.run(t, nil)
}

func TestCases5_Fragmentation(t *testing.T) {
	var s suite
	first := func(p string) []byte { return masked(opText, p) }
	more := func(p string) []byte { return masked(opContinuation, p) }
	last := func(p string) []byte { return masked(finCont, p) }
	// three is the same case in one write, by frames, and by octets.
	three := func(ids [3]string, code int, frames [][]byte, want ...reply) {
		for i, chop := range []int{oneWrite, frameWise, 1} {
			s.add(ids[i], code, send(chop, frames...).hears(want...))
		}
	}
	s.add("5.1", CodeProtocolError, send(oneWrite, masked(opPing, "fragment1"), last("fragment2")))
	s.add("5.2", CodeProtocolError, send(oneWrite, masked(opPong, "fragment1"), last("fragment2")))
	three([3]string{"5.3", "5.4", "5.5"}, fine, [][]byte{first("fragment1"), last("fragment2")}, aText("fragment1fragment2"))
	three([3]string{"5.6", "5.7", "5.8"}, fine, [][]byte{first("fragment1"), ping("ping payload"), last("fragment2")},
		aPong("ping payload"), aText("fragment1fragment2"))
	three([3]string{"5.9", "5.10", "5.11"}, CodeProtocolError, [][]byte{last("non-continuation payload"), say("Hello, world!")})
	three([3]string{"5.12", "5.13", "5.14"}, CodeProtocolError, [][]byte{more("non-continuation payload"), say("Hello, world!")})
	s.add("5.15", CodeProtocolError, send(oneWrite, first("fragment1"), last("fragment2"), more("fragment3"), say("fragment4")).
		hears(aText("fragment1fragment2")))
	twice := func(bad []byte) [][]byte {
		once := [][]byte{bad, first("fragment2"), last("fragment3")}
		return append(once, once...)
	}
	s.add("5.16", CodeProtocolError, send(oneWrite, twice(more("fragment1"))...))
	s.add("5.17", CodeProtocolError, send(oneWrite, twice(last("fragment1"))...))
	s.add("5.18", CodeProtocolError, send(oneWrite, first("fragment1"), say("fragment2")))
	for i, chop := range []int{oneWrite, frameWise} {
		s.add([]string{"5.19", "5.20"}[i], fine,
			send(chop, first("fragment1"), more("fragment2"), ping("pongme 1!")).hears(aPong("pongme 1!")),
			send(chop, more("fragment3"), more("fragment4"), ping("pongme 2!"), last("fragment5")).
				hears(aPong("pongme 2!"), aText("fragment1fragment2fragment3fragment4fragment5")))
	}
	s.run(t, nil)
}
