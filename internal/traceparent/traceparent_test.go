package traceparent

import (
	"regexp"
	"strings"
	"testing"
)

const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestKeep_TakesWhatTheStandardTakes(t *testing.T) {
	f := func(header, want string) {
		t.Helper()
		if got, ok := Keep(header); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", header, got, ok, want)
		}
	}
	f(good, good)
	f(good[:54]+"0", good[:54]+"0")
	f("cc"+good[2:]+"-what-the-future-brings", good)
	f("cc"+good[2:], good)
	f("cc"+good[2:]+".x", "")
	f("ff"+good[2:], "")
	f(good+"-more", "")
	f(good[:54], "")
	f("", "")
	f(strings.ToUpper(good), "")
	f(strings.Replace(good, "4bf92f3577b34da6a3ce929d0e0e4736", strings.Repeat("0", 32), 1), "")
	f(strings.Replace(good, "00f067aa0ba902b7", strings.Repeat("0", 16), 1), "")
	f(strings.Replace(good, "-", "_", 1), "")
	f(strings.Replace(good, "4bf9", "4bg9", 1), "")
	f(good+", "+good, "")
}

func TestAppend_BeginsATraceThatKeepTakes(t *testing.T) {
	id := [16]byte{0x01, 0x98, 15: 0xff}
	seen := map[string]bool{}
	for range 1000 {
		got := string(Append(nil, id))
		if kept, ok := Keep(got); !ok || kept != got || !strings.HasPrefix(got, "00-019800000000000000000000000000ff-") || !strings.HasSuffix(got, "-01") {
			t.Fatalf("got %q", got)
		}
		seen[got] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d parents of 1000", len(seen))
	}
}

func FuzzKeep(f *testing.F) {
	f.Add(good)
	f.Add("cc" + good[2:] + "-x")
	form := regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	f.Fuzz(func(t *testing.T, header string) {
		got, ok := Keep(header)
		if ok != (got != "") || ok && (!form.MatchString(got) || got[2:] != header[2:len(got)]) {
			t.Errorf("%q: got %q, %v", header, got, ok)
		}
	})
}
