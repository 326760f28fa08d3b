package plainjson

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestAppendString_WritesAsItIs(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		if got := string(AppendString([]byte("x"), s)); got != "x"+want {
			t.Errorf("%q: got %s, want %s", s, got[1:], want)
		}
		if got := string(AppendString(nil, []byte(s))); got != want {
			t.Errorf("bytes of %q: got %s, want %s", s, got, want)
		}
	}
	f("", `""`)
	f("<a> & \u2028 κόσμε 🚀", "\"<a> & \u2028 κόσμε 🚀\"")
	f("a\"b\\c\n\r\t\x00\x1f\x7f", `"a\"b\\c\n\r\t\u0000\u001f`+"\x7f\"")
	f("a\xffb\xc3", "\"a\ufffdb\ufffd\"")
	f("\ufffd\xed\xa0\x80", "\""+strings.Repeat("\ufffd", 4)+"\"")
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\x00\xff\u2028\xf0\x9f\x9a")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var got, want string
		if err := errors.Join(json.Unmarshal(AppendString(nil, s), &got), json.Unmarshal(b, &want)); err != nil || got != want {
			t.Fatalf("%q: got %q, encoding/json %q, %v", s, got, want, err)
		}
	})
}
