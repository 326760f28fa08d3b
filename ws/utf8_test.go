package ws

import (
	"testing"
	"unicode/utf8"
)

func FuzzUTF8Checker_AgreesWithTheLibrary(f *testing.F) {
	for _, s := range []string{"", "a", "κόσμε", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xce", "\U0010ffff"} {
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, chop uint8) {
		var u utf8Checker
		good := true
		for b := text; len(b) > 0 && good; {
			n := min(int(chop)+1, len(b))
			good = u.feed(b[:n])
			b = b[n:]
		}
		if got, want := good && u.done(), utf8.Valid(text); got != want {
			t.Fatalf("%q in pieces of %d: got %v, want %v", text, int(chop)+1, got, want)
		}
	})
}
