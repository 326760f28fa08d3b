package push

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pushcart/pushcart/internal/strictjson"
)

func FuzzJSONReader_IsAsStrictAsEncodingJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, `{"a":[1,2,{"b":null}],"c":true}`, `"\ud83d\ude00 \ud83d \u00e9\n\/"`, `-0.5e+10`, `01`, `1.`, `.5`, `+1`,
		`1e`, `[1,]`, `{"a":}`, `{"a" 1}`, `{a:1}`, `nul`, `truefalse`, "\"\x01\"", "\"\xff\"", ` [ 1 , 2 ] `, `"\x"`, `"\u12g4"`,
		`[[[[[[[[[[]]]]]]]]]]`, `{"a":1]`, `[1}`, `"`, `"\`, `"\u`, ``, "\x00", "1 \x00", `{"":""}`, `-`, "\xef\xbb\xbf{}", `[,1]`, `{,}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, fault := newJSONReader(b)
		b = strictjson.TrimBOM(b)
		var value []byte
		if fault == nil {
			value, fault = r.value()
		}
		if fault == nil {
			fault = r.end()
		}
		if want := json.Valid(b) && utf8.Valid(b); (fault == nil) != want {
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
			r := jsonReader{b: b}
			if got, fault := r.text("x"); fault != nil || string(got) != want {
				t.Errorf("%q: got %q, %v; want %q", b, got, fault, want)
			}
		}
	})
}

func TestJSONReader_BoundsNesting(t *testing.T) {
	f := func(depth int, ok bool) {
		t.Helper()
		r := jsonReader{b: []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))}
		if _, fault := r.value(); (fault == nil) != ok {
			t.Errorf("depth %d: %v", depth, fault)
		}
	}
	f(maxDepth, true)
	f(maxDepth+1, false)
}

func TestAppendJSONString(t *testing.T) {
	for _, s := range []string{"", "plain", `with "quotes" and \`, "tab\t", "ü", "\u2028", "<&>"} {
		var got string
		if err := json.Unmarshal(appendJSONString(nil, s), &got); err != nil || got != s {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}
