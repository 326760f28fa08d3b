package jsonread

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzReader_IsAsStrictAsEncodingJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, `{"a":[1,2,{"b":null}],"c":true}`, `"\ud83d\ude00 \ud83d \u00e9\n\/"`, `-0.5e+10`, `01`, `1.`, `.5`, `+1`,
		`1e`, `[1,]`, `{"a":}`, `{"a" 1}`, `{a:1}`, `nul`, `truefalse`, "\"\x01\"", "\"\xff\"", ` [ 1 , 2 ] `, `"\x"`, `"\u12g4"`,
		`[[[[[[[[[[]]]]]]]]]]`, `{"a":1]`, `[1}`, `"`, `"\`, `"\u`, ``, "\x00", "1 \x00", `{"":""}`, `-`, "\xef\xbb\xbf{}", `[,1]`, `{,}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !utf8.Valid(b) {
			return
		}
		r := New(b, 10000)
		value, fault := r.Value()
		if fault == nil {
			fault = r.End()
		}
		if want := json.Valid(b); (fault == nil) != want {
			t.Fatalf("%q: %+v, want valid %v", b, fault, want)
		}
		if fault != nil {
			return
		}
		if !bytes.Equal(value, bytes.Trim(b, " \t\r\n")) {
			t.Errorf("%q: got %q", b, value)
		}
		var want string
		if value[0] == '"' && json.Unmarshal(b, &want) == nil {
			if got, fault := New(b, 1).Text("x"); fault != nil || string(got) != want {
				t.Errorf("%q: got %q, %v; want %q", b, got, fault, want)
			}
			if _, whole := Unescape(value[1 : len(value)-1]); !whole && !strings.ContainsRune(want, utf8.RuneError) {
				t.Errorf("%q has no half of a pair", b)
			}
		}
	})
}

func TestReader_BoundsNesting(t *testing.T) {
	f := func(depth int, ok bool) {
		t.Helper()
		if _, fault := New([]byte(strings.Repeat("[", depth)+strings.Repeat("]", depth)), 128).Value(); (fault == nil) != ok {
			t.Errorf("depth %d: %v", depth, fault)
		}
	}
	f(128, true)
	f(129, false)
}

func TestUnescape_SaysWhatIsNoCharacter(t *testing.T) {
	f := func(s, want string, whole bool) {
		t.Helper()
		if got, ok := Unescape([]byte(s)); string(got) != want || ok != whole {
			t.Errorf("%s: got %q, %v", s, got, ok)
		}
	}
	f(`a\n\"\/\\\b\f\r\t\u00e9`, "a\n\"/\\\b\f\r\té", true)
	f(`\ud83d\ude00`, "😀", true)
	f(`\ufffd`, "\ufffd", true)
	f(`\ud83d`, "\ufffd", false)
	f(`\ud83dx\ude00`, "\ufffdx\ufffd", false)
	f(`\ude00\ud83d`, "\ufffd\ufffd", false)
}

func TestObject_NamesAreExactAndFaultsHaveTheirPath(t *testing.T) {
	var names []string
	r := New([]byte(` {"a":1,"A":{"b":[true,"x"]},"a":null} `), 10)
	fault := r.Object("", func(key []byte) *Fault {
		names = append(names, string(key))
		if string(key) != "A" {
			_, f := r.Value()
			return f
		}
		return r.Object("A", func(key []byte) *Fault {
			return r.Array("A.b", func(i int) *Fault {
				if i == 0 {
					_, f := r.Bool("A.b[0]")
					return f
				}
				_, f := r.Bool("[1]")
				return f.In("A.b")
			})
		})
	})
	if fault == nil || *fault != (Fault{"A.b[1]", "must be true or false, not a string"}) || strings.Join(names, "") != "aA" {
		t.Errorf("got %+v after %q", fault, names)
	}
}
