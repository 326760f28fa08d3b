package json

import (
	"bytes"
	stdjson "encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/hub"
)

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestParse_TakesEveryKind(t *testing.T) {
	f := func(p string, want frame) {
		t.Helper()
		got, fault := parse([]byte(p))
		if fault != nil {
			t.Errorf("%s: %+v", p, fault)
			return
		}
		for i := range kinds {
			if strings.Contains(p, `"type":"`+kinds[i].name+`"`) {
				want.kind = &kinds[i]
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", p, got, want)
		}
		if err := fits(schemasOf(t).client, []byte(p)); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	one, last := hub.Position{Offset: 41, Epoch: "e1"}, hub.Position{Offset: 1<<64 - 1, Epoch: "ü"}
	id := []byte("1")
	f(`{"type":"subscribe","channel":"news"}`, frame{channel: "news"})
	f(`{"type":"subscribe","id":1,"channel":"news","position":{"offset":41,"epoch":"e1"}}`, frame{id: id, channel: "news", position: &one})
	f(` { "epoch" : 1 , "type":"ping"} `[0:2]+`"type":"subscribe","channel":"a.b","position":{"epoch":"ü","offset":18446744073709551615},"token":"t"}`,
		frame{channel: "a.b", position: &last, token: "t"})
	f(`{"channel":"a","type":"subscribe","recent":1000,"id":"x"}`, frame{id: []byte(`"x"`), channel: "a", count: 1000})
	f(`{"type":"subscribe","channel":"\u00e9\ud83d\ude00\/","recent":0}`, frame{channel: "é😀/"})
	f(`{"type":"unsubscribe","id":-1.5e3,"channel":"`+strings.Repeat("é", 127)+`x"}`, frame{id: []byte("-1.5e3"), channel: strings.Repeat("é", 127) + "x"})
	f(`{"type":"publish","channel":"c","data": {"b":1.00 , "a":"\ud800","a":2} }`, frame{channel: "c", data: []byte(`{"b":1.00 , "a":"\ud800","a":2}`)})
	f(`{"type":"publish","id":1,"user":"4*2","event":"a_1.-","data":null}`, frame{id: id, user: "4*2", event: "a_1.-", data: []byte("null")})
	f(`{"type":"publish","channel":"c","data":`+nested(128)+`}`, frame{channel: "c", data: []byte(nested(128))})
	f(`{"type":"publish","channel":"c","data":`+strings.Repeat("1", 1000)+`}`, frame{channel: "c", data: []byte(strings.Repeat("1", 1000))})
	f(`{"type":"message"}`, frame{})
	f(`{"type":"message","event":"typing","data":"x"}`, frame{event: "typing", data: []byte(`"x"`)})
	f(`{"type":"message","data_base64":"AP8="}`, frame{data: []byte{0, 255}, binary: true})
	f(`{"type":"message","data_base64":""}`, frame{binary: true})
	f(`{"type":"history","channel":"c"}`, frame{channel: "c"})
	f(`{"type":"history","channel":"c","after":{"offset":41,"epoch":"e1"},"limit":50}`, frame{channel: "c", position: &one, count: 50})
	f(`{"type":"recover","position":{"offset":41,"epoch":"e1"}}`, frame{position: &one})
	f(`{"type":"refresh","id":1,"token":"a.b.c"}`, frame{id: id, token: "a.b.c"})
	f(`{"type":"ack","message":"0198"}`, frame{message: "0198"})
	f(`{"type":"ping"}`, frame{})
	f(`{"type":"ping","id":"`+strings.Repeat(`x`, 128)+`"}`, frame{id: []byte(`"` + strings.Repeat(`x`, 128) + `"`)})
}

// beyond are faults that schema.json cannot express, or that a JSON parser does not see.
var beyond = []string{"twice", "nested", "half a surrogate", "longer than 255", "of 1 to 128", "not JSON", "more than one", "not an array", "not a number", "not a string", "not null"}

func TestParse_SaysWhatIsWrong(t *testing.T) {
	f := func(p, id, want string) {
		t.Helper()
		got, fault := parse([]byte(p))
		if fault == nil {
			t.Errorf("%.100s: taken as %+v", p, got)
			return
		}
		answer := faultFrame(got.id, fault)
		mustFit(t, answer)
		var e struct {
			ID            stdjson.RawMessage
			Code, Message string
		}
		if err := stdjson.Unmarshal(answer, &e); err != nil || e.Code != "invalid_argument" || e.Message != want || string(e.ID) != id {
			t.Errorf("%.100s: got %s, want id %s, %s", p, answer, id, want)
		}
		// To a schema 1.0 is a whole number.
		if !containsAny(want, beyond) && !containsAny(p, []string{":-0", ":1.0", ":1e"}) && fits(schemasOf(t).client, []byte(p)) == nil {
			t.Errorf("%.100s: schema.json takes it", p)
		}
	}
	f(``, ``, "frame: not JSON: it ends too early")
	f(`{`, ``, "frame: not JSON: it ends too early")
	f(`hello`, ``, "frame: not JSON at byte 1")
	f(`{"type":"ping"`, ``, "frame: not JSON: it ends too early")
	f(`{"type":"ping",}`, ``, "frame: not JSON at byte 16")
	f(`{"id":7,"type":ping}`, `7`, "frame: not JSON at byte 16")
	f(`{"type":"ping"} {}`, ``, "frame: more than one JSON value")
	f(`[]`, ``, "frame: must be an object, not an array")
	f(`[{"type":"ping"}]`, ``, "frame: must be an object, not an array")
	f(`"ping"`, ``, "frame: must be an object, not a string")
	f(`null`, ``, "frame: must be an object, not null")
	f(`17`, ``, "frame: must be an object, not a number")
	f(`{}`, ``, "type: is required")
	f(`{"id":1}`, `1`, "type: is required")
	f(`{"type":1,"id":1}`, `1`, "type: must be a string")
	f(`{"type":"sub","id":1}`, `1`, `type: unknown type "sub"`)
	f(`{"type":"Ping"}`, ``, `type: unknown type "Ping"`)
	f(`{"type":"presence","id":5}`, `5`, "channel: is required")
	f(`{"type":"presence","id":5,"channel":"c","cursor":""}`, `5`, "cursor: must be the next of an earlier page")
	f(`{"type":"presence","id":5,"channel":"c","limit":5}`, `5`, "limit: is not a field of presence")
	f(`{"type":"ping","pong":1,"id":2}`, `2`, `"pong": unknown field`)
	f(`{"type":"subscribe","Channel":"a","channel":"a","id":2}`, `2`, `"Channel": unknown field`)
	f(`{"type":"ping","`+strings.Repeat("x", 70)+`":1}`, ``, `"`+strings.Repeat("x", 64)+`...": unknown field`)
	f(`{"type":"ping","a\u0000\"":1}`, ``, `"a\x00\"": unknown field`)
	f(`{"type":"ping","type":"ping","id":1}`, `1`, "type: is there twice")
	f(`{"type":"ping","\u0074ype":"ping"}`, ``, "type: is there twice")
	f(`{"type":"ping","id":1,"id":1}`, ``, "id: is there twice")
	for _, id := range []string{`null`, `true`, `{}`, `[1]`, `""`, `"` + strings.Repeat("x", 129) + `"`, strings.Repeat("1", 129), strings.Repeat("1", 1000)} {
		f(`{"type":"ping","id":`+id+`}`, ``, "id: must be a number or a string, of 1 to 128 bytes")
	}
	f(`{"type":"ping","channel":"c"}`, ``, "channel: is not a field of ping")
	f(`{"type":"ack","message":"m","id":1}`, `1`, "id: is not a field of ack")
	f(`{"type":"publish","channel":"c","data_base64":"AA=="}`, ``, "data_base64: is not a field of publish")

	f(`{"type":"subscribe","id":"a"}`, `"a"`, "channel: is required")
	f(`{"type":"subscribe","channel":7}`, ``, "channel: must be a string")
	f(`{"type":"subscribe","channel":null}`, ``, "channel: must be a string")
	f(`{"type":"subscribe","channel":""}`, ``, "channel: must not be empty")
	f(`{"type":"subscribe","channel":"`+strings.Repeat("x", 256)+`"}`, ``, "channel: must not be longer than 255 bytes")
	f(`{"type":"subscribe","channel":"`+strings.Repeat("é", 128)+`"}`, ``, "channel: must not be longer than 255 bytes")
	f(`{"type":"subscribe","channel":"a\u0000b"}`, ``, "channel: must be UTF-8 without control characters")
	f(`{"type":"subscribe","channel":"a*"}`, ``, "channel: must not contain *")
	f(`{"type":"subscribe","channel":"a\ud800"}`, ``, "channel: has half a surrogate pair")
	f(`{"type":"subscribe","channel":"\udc00\ud800"}`, ``, "channel: has half a surrogate pair")
	f(`{"type":"subscribe","channel":"c","recent":1,"position":{"offset":1,"epoch":"e"}}`, ``, "recent: cannot be combined with position")
	for _, n := range []string{`-1`, `-0`, `1.0`, `1e1`, `"1"`, `1001`, `null`, strings.Repeat("9", 1000)} {
		f(`{"type":"subscribe","channel":"c","recent":`+n+`}`, ``, "recent: must be a whole number from 0 to 1000")
	}
	f(`{"type":"subscribe","channel":"c","token":""}`, ``, "token: must not be empty")

	position := func(p, want string) {
		t.Helper()
		f(`{"type":"recover","id":7,"position":`+p+`}`, `7`, want)
		f(`{"type":"history","id":7,"channel":"c","after":`+p+`}`, `7`, strings.ReplaceAll(want, "position", "after"))
	}
	position(`7`, "position: must be an object, not a number")
	position(`[]`, "position: must be an object, not an array")
	position(`{}`, "position: must have offset and epoch")
	position(`{"offset":1}`, "position: must have offset and epoch")
	position(`{"epoch":"e"}`, "position: must have offset and epoch")
	for _, n := range []string{`18446744073709551616`, `-1`, `-0`, `1.5`, `1.0`, `1e3`, `"1"`, `null`, strings.Repeat("9", 1000)} {
		position(`{"offset":`+n+`,"epoch":"e"}`, "position.offset: must be a whole number from 0 to 18446744073709551615")
	}
	position(`{"offset":1,"epoch":""}`, "position.epoch: must be 1 to 64 bytes")
	position(`{"offset":1,"epoch":"`+strings.Repeat("e", 65)+`"}`, "position.epoch: must be 1 to 64 bytes")
	position(`{"offset":1,"epoch":7}`, "position.epoch: must be a string")
	position(`{"offset":1,"epoch":"e","x":1}`, `position."x": unknown field`)
	position(`{"offset":1,"offset":1,"epoch":"e"}`, `position.offset: is there twice`)

	f(`{"type":"publish","id":3,"channel":"c"}`, `3`, "data: is required")
	f(`{"type":"publish","data":1}`, ``, "channel: is required, or user")
	f(`{"type":"publish","data":1,"channel":"c","user":"u"}`, ``, "user: cannot be combined with channel")
	f(`{"type":"publish","data":1,"user":""}`, ``, "user: must not be empty")
	for _, e := range []string{``, `A`, `a b`, strings.Repeat("x", 65), `é`} {
		f(`{"type":"publish","data":1,"channel":"c","event":"`+e+`"}`, ``, "event: must be 1 to 64 of a to z, 0 to 9, _, . and -")
	}
	f(`{"type":"publish","id":9,"channel":"c","data":`+nested(129)+`}`, `9`, "frame: nested too deeply")
	f(`{"type":"message","data":1,"data_base64":"AA=="}`, ``, "data_base64: cannot be combined with data")
	for _, b := range []string{`A`, `AA`, `AA=`, `AP_=`, `A\nA==`, `AA==\n`} {
		f(`{"type":"message","data_base64":"`+b+`"}`, ``, "data_base64: must be base64 with padding (RFC 4648 §4)")
	}
	f(`{"type":"history","channel":"c","limit":0}`, ``, "limit: must be a whole number from 1 to 1000")
	f(`{"type":"recover"}`, ``, "position: is required")
	f(`{"type":"refresh"}`, ``, "token: is required")
	f(`{"type":"refresh","token":1}`, ``, "token: must be a string")
	f(`{"type":"ack"}`, ``, "message: is required")
	f(`{"type":"ack","message":"`+strings.Repeat("x", 129)+`"}`, ``, "message: must be the id of a message")
}

func containsAny(s string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}

func FuzzParse(f *testing.F) {
	for _, p := range []string{
		`{"type":"subscribe","id":1,"channel":"news","position":{"offset":41,"epoch":"e1"}}`, `{"type":"ping","id":"\ud800"}`,
		`{"type":"publish","channel":"\u0061","event":"e","data":{"a":[1e9,"\\",null]}}`, `{"type":"message","data_base64":"AP8="}`,
		`{"id":1,"id":2}`, `[`, `{"type":"history","channel":"c","after":{"offset":1,"epoch":"e"},"limit":5}`, `{"type":"ack","message":"m"}`,
	} {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if !stdjson.Valid(p) || !bytes.Equal(bytes.ToValidUTF8(p, nil), p) {
			if !bytes.Equal(bytes.ToValidUTF8(p, nil), p) {
				return // no text message is like this
			}
			if _, fault := parse(p); fault == nil {
				t.Fatalf("%q is no JSON", p)
			}
		}
		got, fault := parse(p)
		if got.id != nil {
			if !stdjson.Valid(got.id) || len(got.id) > maxID+2 {
				t.Fatalf("%q: id %q", p, got.id)
			}
		}
		if fault != nil {
			mustFit(t, faultFrame(got.id, fault))
			return
		}
		if err := fits(schemasOf(t).client, p); err != nil && !bytes.Contains(p, []byte(`\u`)) {
			t.Fatalf("%q was taken, though %v", p, err)
		}
		if got.data != nil && !got.binary && !stdjson.Valid(got.data) {
			t.Fatalf("%q: data %q", p, got.data)
		}
	})
}

func FuzzResume(f *testing.F) {
	f.Add([]byte(`{"user":{"offset":1,"epoch":"e"},"channels":{"news":{"offset":2,"epoch":"e"}}}`))
	f.Add([]byte(`{"channels":{}}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		got, err := Protocol{}.Resume(resumeQuery(string(p)))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "resume: ") {
				t.Fatalf("%q: %v", p, err)
			}
			return
		}
		if err := fits(schemasOf(t).resume, p); err != nil && !bytes.Contains(p, []byte(`\u`)) {
			t.Fatalf("%q was taken as %+v, though %v", p, got, err)
		}
	})
}
