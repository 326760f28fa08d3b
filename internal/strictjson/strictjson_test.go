package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestObject_NamesAreExact(t *testing.T) {
	got, err := Object([]byte(` {"exp":1,"EXP":2,"ex\u017f":3,"iſs":4,"a":{"b":1,"b":"},{,"},"c":[1,2,{"d":3,"d":4}],"e\"x,":"\\"} `))
	if err != nil || len(got) != 7 || string(got["exp"]) != "1" || string(got["iſs"]) != "4" || got["iss"] != nil {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := Object([]byte(`{}`)); err != nil || len(got) != 0 {
		t.Errorf("an empty object: got %s, %v", got, err)
	}
}

func TestObject_RefusesEqualNamesAndWhatIsNone(t *testing.T) {
	f := func(doc string, want error) {
		t.Helper()
		if got, err := Object([]byte(doc)); !errors.Is(err, want) {
			t.Errorf("%s: got %s, %v, want %v", doc, got, err, want)
		}
	}
	f(`{"exp":1,"exp":1}`, ErrTwice)
	f(`{"exp":1,"sub":{"a":[1,2]},"e\u0078p":2}`, ErrTwice)
	f(`{"":1,"":2}`, ErrTwice)
	f("{\"a\xfe\":1,\"a\xff\":2}", ErrTwice) // both read as U+FFFD
	for _, doc := range []string{``, ` `, `null`, `[]`, `"a"`, `1`, `{`, `{"a":1}{}`, `{"a":1,}`, "\xef\xbb\xbf{}"} {
		f(doc, ErrNotObject)
	}
}

func TestText(t *testing.T) {
	f := func(raw, want string, wantErr error) {
		t.Helper()
		if got, err := Text(json.RawMessage(raw)); got != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: got %q, %v, want %q, %v", raw, got, err, want, wantErr)
		}
	}
	f(`"a\u0062"`, "ab", nil)
	f(`""`, "", nil)
	f(`42`, "42", nil)
	f(`-1`, "-1", nil)
	f(`123456789012345678901234567890`, "123456789012345678901234567890", nil)
	f(`9007199254740993`, "9007199254740993", nil) // no float64
	f(`"\ud800"`, "", ErrNotUTF8)
	f("\"a\xff\"", "", ErrNotUTF8)
	for _, raw := range []string{``, `null`, `true`, `1.0`, `1e3`, `[]`, `{}`, `-`, `01`, `"a`} {
		f(raw, "", ErrNotText)
	}
}

func TestTexts(t *testing.T) {
	f := func(raw string, want []string) {
		t.Helper()
		got, err := Texts(json.RawMessage(raw))
		if (err == nil) != (want != nil) || err == nil && !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v, want %q", raw, got, err, want)
		}
	}
	f(`"news"`, []string{"news"})
	f(`["a","b"]`, []string{"a", "b"})
	f(`[]`, []string{})
	for _, raw := range []string{``, `null`, `1`, `[1]`, `[null]`, `[["a"]]`, `{"a":"b"}`, `["\ud800"]`, `"a`} {
		f(raw, nil)
	}
}

func TestSeconds_NeverWraps(t *testing.T) {
	f := func(raw string, want time.Time) {
		t.Helper()
		if got, err := Seconds(json.RawMessage(raw)); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v, want %v", raw, got, err, want)
		}
	}
	far := time.Unix(maxSeconds, 0)
	f(`0`, time.Unix(0, 0))
	f(`1764500000.5`, time.Unix(1764500000, 5e8))
	f(`-62135596800`, time.Unix(0, 0)) // time.Time's zero
	f(`9223372036854775808`, far)
	f(`1e300`, far)
	if d := time.Until(far); d != math.MaxInt64 {
		t.Errorf("until then: %v", d)
	}
	for _, raw := range []string{``, `null`, `"1"`, `1e999`, `{}`} {
		if got, err := Seconds(json.RawMessage(raw)); !errors.Is(err, ErrNotTime) {
			t.Errorf("%s: got %v, %v", raw, got, err)
		}
	}
}

// FuzzObject compares with the tokens of encoding/json, which fold nothing.
func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":[{"c":"}"}],"A":"\\\"","a":{}}`))
	f.Add([]byte(` {"exp":1e9,"sub":"ann","aud":["x","y"]} `))
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := Object(doc)
		if err == ErrNotObject {
			if json.Valid(doc) && bytes.HasPrefix(bytes.TrimSpace(doc), []byte("{")) {
				t.Fatalf("%q is an object", doc)
			}
			return
		}
		names, twice := topNames(t, doc)
		if twice != (err == ErrTwice) {
			t.Fatalf("%q: got %v, a name is there twice: %v", doc, err, twice)
		}
		for name, raw := range got {
			if !names[name] || !json.Valid(raw) {
				t.Fatalf("%q: got %q: %q", doc, name, raw)
			}
			if s, err := Text(raw); err == nil && strings.ContainsRune(s, '\ufffd') {
				t.Fatalf("%q: took %q", doc, s)
			}
			_, _ = Texts(raw)
			if at, err := Seconds(raw); err == nil && at.IsZero() {
				t.Fatalf("%q: %s is no time", doc, raw)
			}
		}
	})
}

func topNames(t *testing.T, doc []byte) (names map[string]bool, twice bool) {
	t.Helper()
	names = map[string]bool{}
	dec := json.NewDecoder(bytes.NewReader(doc))
	_, err := dec.Token()
	for err == nil && dec.More() {
		var name json.Token
		var value json.RawMessage
		if name, err = dec.Token(); err == nil {
			err = dec.Decode(&value)
			twice = twice || names[name.(string)]
			names[name.(string)] = true
		}
	}
	if err != nil {
		t.Fatalf("%q: %v", doc, err)
	}
	return names, twice
}
