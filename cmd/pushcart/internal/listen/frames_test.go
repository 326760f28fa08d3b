package listen

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestShownFrame_ShowsEachKind(t *testing.T) {
	f := func(frame, want string, counts bool) {
		t.Helper()
		text, parsed, ok := shownFrame([]byte(frame))
		if !ok || text != want || parsed.isMessage() != counts {
			t.Errorf("got %q, %v", text, ok)
		}
	}
	f(`{"type":"message","id":"a","data":null}`, `user: null`, true)
	f(`{"type":"message","id":"a","channel":"c","data_base64":"AP8="}`, `channel c: [base64] AP8=`, true)
	f(`{"type":"message","id":"invoice-7","data":1,"ack":true}`, `user, wants ack "invoice-7": 1`, true)
	f(`{"type":"gap","channel":"c","position":{"offset":44,"epoch":"e1"}}`, `[gap] {"channel":"c","position":{"offset":44,"epoch":"e1"}}`, false)
	f(`{"type":"ok","id":2}`, `[ok 2]`, false)
	f(`{"id":"x","new":1.50,"type":"later"}`, `[later "x"] {"new":1.50}`, false)
	f(`{"type":"unsubscribed","channel":"c"}`, `[unsubscribed] {"channel":"c"}`, false)
	for _, none := range []string{"", "text", "[1]", `{"a":1}`, `{"type":1}`, `{"type":"ok"} {}`} {
		if text, _, ok := shownFrame([]byte(none)); ok {
			t.Errorf("%q is taken for a frame: %q", none, text)
		}
	}
}

func TestSubscribing_HasTheChannelForItsID(t *testing.T) {
	if got := string(subscribing(`a"b`)); got != `{"type":"subscribe","id":"a\"b","channel":"a\"b"}` {
		t.Errorf("got %s", got)
	}
	long := strings.Repeat("x", 255)
	if got := string(subscribing(long)); got != `{"type":"subscribe","channel":"`+long+`"}` {
		t.Errorf("got %s", got)
	}
}

func FuzzShownFrame_ShowsLines(f *testing.F) {
	for _, seed := range []string{`{"type":"message","data":{"a":[1]}}`, `{"type":"ok","id":1,"x":{"type":2}}`, `{"type":"error","code":"a","message":"b"}`, "{\n\"type\":\"gap\"}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, _, ok := shownFrame([]byte(text))
		if ok && (got == "" || !json.Valid([]byte(text))) {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func FuzzTypedFrame_IsJSON(f *testing.F) {
	for _, seed := range []string{"hello", "17", `"x"`, "[1", " {}", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := typedFrame(text); !strings.HasPrefix(text, "{") && !json.Valid(got) {
			t.Errorf("%q became %s", text, got)
		}
	})
}
