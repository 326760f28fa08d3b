package ws

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const kosme = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5" // κόσμε

func TestCases6_1To4_UTF8InPieces(t *testing.T) {
	const (
		umlauts   = "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!"
		surrogate = kosme + "\xed\xa0\x80edited"
		tooHigh   = kosme + "\xf4\x90\x80\x80edited" // wrong at its 13th byte, \x90
	)
	var s suite
	s.echo("6.1.1", opText, "", oneWrite)
	s.add("6.1.2", fine, send(oneWrite, masked(opText, ""), masked(opContinuation, ""), masked(finCont, "")).hears(aText(echoOf(""))))
	s.add("6.1.3", fine, send(oneWrite, masked(opText, ""), masked(opContinuation, "middle frame payload"), masked(finCont, "")).
		hears(aText("middle frame payload")))
	s.echo("6.2.1", opText, umlauts, oneWrite)
	s.add("6.2.2", fine, send(oneWrite, masked(opText, umlauts[:13]), masked(finCont, umlauts[13:])).hears(aText(umlauts)))
	s.add("6.2.3", fine, send(oneWrite, fragments(opText, umlauts, 1)...).hears(aText(umlauts)))
	s.add("6.2.4", fine, send(oneWrite, fragments(opText, kosme, 1)...).hears(aText(kosme)))
	s.add("6.3.1", CodeInvalidUTF8, send(oneWrite, say(surrogate)))
	s.add("6.3.2", CodeInvalidUTF8, send(oneWrite, fragments(opText, surrogate, 1)...))

	// Fail-fast: the rest of the message is never sent. The ping shows that what
	// came before was let pass.
	heard := func(frames ...[]byte) step {
		return send(oneWrite, append(frames, ping("so far"))...).hears(aPong("so far"))
	}
	s.add("6.4.1", CodeInvalidUTF8, heard(masked(opText, tooHigh[:11])), send(oneWrite, masked(opContinuation, tooHigh[11:15])))
	s.add("6.4.2", CodeInvalidUTF8, heard(masked(opText, tooHigh[:12])), send(oneWrite, masked(opContinuation, tooHigh[12:13])))
	frame := say(tooHigh)
	s.add("6.4.3", CodeInvalidUTF8, send(oneWrite, frame[:6+11]), send(oneWrite, frame[6+11:6+15]))
	s.add("6.4.4", CodeInvalidUTF8, send(oneWrite, frame[:6+12]), send(oneWrite, frame[6+12:6+13]))
	s.run(t, nil)
}

// utf8Group is a section of Markus Kuhn's UTF-8 decoder test, as the Autobahn
// suite numbers them from 6.5 on.
type utf8Group struct {
	name      string
	sequences []string
}

// bytesWise is each byte from..to-1, each followed by after.
func bytesWise(from, to byte, after string) string {
	var b strings.Builder
	for c := from; c < to; c++ {
		b.WriteByte(c)
		b.WriteString(after)
	}
	return b.String()
}

func utf8Groups() []utf8Group {
	prefixes := make([]string, len(kosme))
	for i := range prefixes {
		prefixes[i] = kosme[:i+1]
	}
	cut := []string{"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf"}
	return []utf8Group{
		{"valid", []string{"hello\x24world", "hello\xc2\xa2world", "hello\xe2\x82\xacworld", "hello\xf0\xa4\xad\xa2world", kosme}},
		{"prefixes of valid text", prefixes},
		{"first sequence of each length", []string{"\x00", "\xc2\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80"}},
		{"first of 5 and 6", []string{"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"}},
		{"last sequence of each length", []string{"\x7f", "\xdf\xbf", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"}},
		{"last of 4, 5 and 6", []string{"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"}},
		{"other boundaries", []string{"\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", "\xf4\x8f\xbf\xbf", "\xf4\x90\x80\x80"}},
		{"unexpected continuations", []string{"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80",
			"\x80\xbf\x80\xbf\x80\xbf", bytesWise(0x80, 0xbf, "")}},
		{"lonely starts", []string{bytesWise(0xc0, 0xdf, " "), bytesWise(0xe0, 0xef, " "), bytesWise(0xf0, 0xf7, " "),
			bytesWise(0xf8, 0xfb, " "), bytesWise(0xfc, 0xfd, " ")}},
		{"last byte missing", cut},
		{"incomplete ones joined", []string{strings.Join(cut, "")}},
		{"impossible bytes", []string{"\xfe", "\xff", "\xfe\xfe\xff\xff"}},
		{"overlong slash", []string{"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"}},
		{"longest overlong", []string{"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"}},
		{"overlong NUL", []string{"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"}},
		{"single surrogates", []string{"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf"}},
		{"paired surrogates", []string{"\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
			"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf"}},
		{"non-characters, which are valid", nonCharacters()},
		{"specials", []string{"\xef\xbf\xb9", "\xef\xbf\xba", "\xef\xbf\xbb", "\xef\xbf\xbc", "\xef\xbf\xbd", "\xef\xbf\xbe", "\xef\xbf\xbf"}},
	}
}

// nonCharacters are the last two code points of each plane.
func nonCharacters() []string {
	var all []string
	for plane := rune(0); plane <= 0x10; plane++ {
		all = append(all, string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	return all
}

func TestCases6_5To23_UTF8Sequences(t *testing.T) {
	groups := utf8Groups()
	if n := len(groups); n != 19 {
		t.Fatalf("%d groups, want those of 6.5 to 6.23", n)
	}
	// Which sequences are good is written down by hand, not asked of a library.
	good := func(g, i int) bool {
		switch g + 5 {
		case 5, 7, 9, 22, 23:
			return true
		case 6: // the prefixes that end where a character does
			return slices.Contains([]int{2, 5, 7, 9, 11}, i+1)
		case 11:
			return i < 4
		}
		return false
	}
	var s suite
	for g, group := range groups {
		for i, seq := range group.sequences {
			id := fmt.Sprintf("6.%d.%d", g+5, i+1)
			if !good(g, i) {
				s.add(id, CodeInvalidUTF8, send(oneWrite, say(seq)))
				continue
			}
			s.echo(id, opText, seq, oneWrite)
		}
	}
	s.run(t, nil)
}

// TestCases6_SplitAnywhere sends every sequence of the suite, between plain text,
// split over two frames and over two reads at every byte, with a ping between the
// frames. That the error is found at the first byte that cannot be right is held
// against a search over all ways to go on.
func TestCases6_SplitAnywhere(t *testing.T) {
	for _, group := range utf8Groups() {
		for _, seq := range group.sequences {
			message := "a" + seq + "z"
			for at := range len(message) + 1 {
				frames := join(masked(opText, message[:at]), ping("p"), masked(finCont, message[at:]))
				for cut := 0; cut <= len(frames); cut++ {
					c, out := bareConn()
					c.feed(bytes.Clone(frames[:cut]))
					c.feed(bytes.Clone(frames[cut:]))
					checkSplit(t, c, out, message, at, cut)
				}
			}
			checkFailFast(t, message)
		}
	}
}

func checkSplit(t *testing.T, c *Conn, out *sink, message string, at, cut int) {
	t.Helper()
	pong := newFrame(opPong, []byte("p"))
	switch {
	case utf8.ValidString(message):
		if c.ended != nil || c.inFrames.Load() != 1 || !bytes.Equal(out.out, pong) {
			t.Fatalf("%q split at %d, read in two at %d: got %s, want the message", message, at, cut, heard(c, out))
		}
	case c.ended != endUTF8 || c.inFrames.Load() != 0:
		t.Fatalf("%q split at %d, read in two at %d: got %s, want 1007", message, at, cut, heard(c, out))
	case wrongAt(message) >= at && !bytes.HasPrefix(out.out, pong):
		t.Fatalf("%q split at %d, read in two at %d: got %s, want the pong first", message, at, cut, heard(c, out))
	}
}

// checkFailFast feeds a text frame byte by byte.
func checkFailFast(t *testing.T, message string) {
	t.Helper()
	wrong := wrongAt(message)
	c, _ := bareConn()
	for i, b := range masked(finText, message) {
		c.feed([]byte{b})
		if at := i - 6; (c.ended == nil) != (at < wrong) {
			t.Fatalf("%q is wrong at byte %d: after byte %d got %+v", message, wrong, at, c.ended)
		}
	}
}

// wrongAt is the first byte after which no continuation makes text valid; its
// length if there is none.
func wrongAt(text string) int {
	for i := range len(text) {
		if !completable(text[:i+1]) {
			return i
		}
	}
	return len(text)
}

func completable(prefix string) bool {
	if utf8.ValidString(prefix) {
		return true
	}
	for _, a := range []string{"\x80", "\x90", "\xa0", "\xbf"} {
		for _, b := range []string{"", "\x80", "\x80\x80"} {
			if utf8.ValidString(prefix + a + b) {
				return true
			}
		}
	}
	return false
}
