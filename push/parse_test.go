package push

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/strictjson"
)

func TestParseBody_Success(t *testing.T) {
	f := func(body string, want hub.Push) {
		t.Helper()
		pushes, batch, err := parseBody([]byte(body))
		if err != nil || batch || len(pushes) != 1 {
			t.Fatalf("%s: %d pushes, batch %v, %v", body, len(pushes), batch, err)
		}
		if !reflect.DeepEqual(*pushes[0], want) {
			t.Errorf("%s: got %+v, want %+v", body, *pushes[0], want)
		}
	}
	user := hub.Targets{Users: []string{"user:42"}}
	f(`{"to":{"users":[42,"42", 42 ]},"text":"hi"}`, hub.Push{To: user, Kind: hub.Text, Data: []byte("hi")})
	f(`{"to":{"users":[-7,123456789012345678901234567890]},"except":{"users":[0]},"text":"hi"}`, hub.Push{
		To: hub.Targets{Users: []string{"user:-7", "user:123456789012345678901234567890"}, ExceptUsers: []string{"0"}}, Kind: hub.Text, Data: []byte("hi"),
	})
	f("\ufeff"+`{"to":{"users":["42"]},"text":"hi"}`, hub.Push{To: user, Kind: hub.Text, Data: []byte("hi")})
	f(`{"to":{"users":["42"]},"text":"hi"}`, hub.Push{To: user, Kind: hub.Text, Data: []byte("hi")})
	f(`{"data": { "b" : 1.0, "a":"\u00e9" } ,"to":{"users":["42"]}}`,
		hub.Push{To: user, Kind: hub.JSON, Data: []byte(`{ "b" : 1.0, "a":"\u00e9" }`)})
	f(`{"to":{"users":["42","42"]},"data":null}`, hub.Push{To: user, Kind: hub.JSON, Data: []byte("null")})
	f(`{"to":{"users":["42"]},"data_base64":"AAEC"}`, hub.Push{To: user, Kind: hub.Binary, Data: []byte{0, 1, 2}})
	f(`{"to":{"users":["42"]},"text":"","event":null,"id":null,"ttl":null,"wait":null,"ack":null,"except":null}`,
		hub.Push{To: user, Kind: hub.Text, Data: []byte{}})
	f(`{"to":{"users":["\u0034\u0032"],"channels":[],"all":false},"text":"a\nb"}`,
		hub.Push{To: user, Kind: hub.Text, Data: []byte("a\nb")})
	f(`{"to":{"users":["a"],"channels":["b"],"connections":["c"],"all":true},"except":{"users":["d"],"connections":["e"]},
		"text":"x","event":"order.paid","id":"k","ttl":"30s","wait":"1s","ack":true}`,
		hub.Push{
			To: hub.Targets{
				Users: []string{"user:a"}, Channels: []string{"channel:b"}, Connections: []string{"c"}, All: true,
				ExceptUsers: []string{"d"}, ExceptConnections: []string{"e"},
			},
			Kind: hub.Text, Data: []byte("x"), Event: "order.paid", ID: "k", Wait: time.Second, TTL: 30 * time.Second, Ack: true,
		})
}

// TestBodies_MayBeginWithAByteOrderMark: PowerShell and .NET write one; it is no
// part of the JSON and reaches no client.
func TestBodies_MayBeginWithAByteOrderMark(t *testing.T) {
	const bom = "\xef\xbb\xbf"
	pushes, _, err := parseBody([]byte(bom + `{"to":{"users":["42"]},"data":{"a":1}}`))
	if err != nil || string(pushes[0].Data) != `{"a":1}` {
		t.Errorf("got %+v, %v", pushes, err)
	}
	var p draft
	if err := p.setRaw("application/json", []byte(bom+`[1]`)); err != nil || string(p.Data) != "[1]" {
		t.Errorf("raw JSON: got %q, %v", p.Data, err)
	}
	if err := p.setRaw("text/plain", []byte(bom+"hi")); err != nil || string(p.Data) != bom+"hi" {
		t.Errorf("raw text, which is delivered as it is: got %q, %v", p.Data, err)
	}
	if q, err := parseDisconnect([]byte(bom + `{"code":4100}`)); err != nil || q.code != 4100 {
		t.Errorf("disconnect: got %+v, %v", q, err)
	}
}

func TestBodies_NamesAreExactAndNoneComesTwice(t *testing.T) {
	for _, body := range []string{
		`{"TO":{"all":true},"text":"x"}`, `{"to":{"all":true},"Text":"x"}`, `{"to":{"uſers":["42"]},"text":"x"}`,
		`{"to":{"all":true},"to":{"all":true},"text":"x"}`, `{"to":{"users":["1"],"users":["2"]},"text":"x"}`,
		`{"to":{"all":true},"text":"x","t\u0065xt":"y"}`, `{"to":{"all":true},"except":{"Users":["1"]},"text":"x"}`,
	} {
		if pushes, _, err := parseBody([]byte(body)); err == nil {
			t.Errorf("%s: got %+v", body, pushes)
		}
	}
	for _, body := range []string{`{"Code":4100}`, `{"code":4100,"code":4101}`, `{"code":4100,"reaſon":"x"}`} {
		if q, err := parseDisconnect([]byte(body)); err == nil {
			t.Errorf("disconnect %s: got %+v", body, q)
		}
	}
}

func TestParseBody_Failure(t *testing.T) {
	f := func(body, field, message string) {
		t.Helper()
		_, _, err := parseBody([]byte(body))
		switch {
		case err == nil:
			t.Errorf("%s: was taken", body)
		case err.Code != apierror.InvalidArgument || err.Field != field || !strings.Contains(err.Message, message):
			t.Errorf("%s: got %q, field %q; want %q, field %q", body, err.Message, err.Field, message, field)
		case field != "" && !strings.HasPrefix(err.Message, field+": "):
			t.Errorf("%s: message %q does not begin with the field", body, err.Message)
		}
	}
	// The body.
	f("", "", "not JSON")
	f("{", "", "ends too early")
	f("[]", "", "must be an object, not an array")
	f("null", "", "must be an object, not null")
	f(`{"to":{"all":true},"text":"x"} {}`, "", "more than one")
	f(`{"to":{"all":true},"text":"x",}`, "", "not JSON at byte 31")
	f("{\"to\":{\"all\":true},\"text\":\"\xff\"}", "", "not UTF-8")
	f(`{"to":{"all":true},"data":{"a":}}`, "", "not JSON")
	f(`{"to":{"all":true},"data":tru}`, "", "not JSON")
	// Targets.
	f(`{"text":"x"}`, "to", "needs a target")
	f(`{"to":null,"text":"x"}`, "to", "needs a target")
	f(`{"to":{},"text":"x"}`, "to", "needs a target")
	f(`{"to":{"users":[],"all":false},"text":"x"}`, "to", "needs a target")
	f(`{"to":"42","text":"x"}`, "to", "must be an object, not a string")
	f(`{"to":{"users":"42"},"text":"x"}`, "to.users", "must be an array, not a string")
	f(`{"to":{"users":["1","2","3",""]},"text":"x"}`, "to.users[3]", "must not be empty")
	f(`{"to":{"users":["1",42.0]},"text":"x"}`, "to.users[1]", "must be a string or a whole number, not a number")
	f(`{"to":{"users":[4e2]},"text":"x"}`, "to.users[0]", "whole number")
	f(`{"to":{"users":[042]},"text":"x"}`, "", "not JSON")
	f(`{"to":{"users":[true]},"text":"x"}`, "to.users[0]", "must be a string or a whole number, not a boolean")
	f(`{"to":{"users":[`+strings.Repeat("9", 256)+`]},"text":"x"}`, "to.users[0]", "255 bytes")
	f(`{"to":{"channels":[42]},"text":"x"}`, "to.channels[0]", "must be a string, not a number")
	f(`{"to":{"connections":[42]},"text":"x"}`, "to.connections[0]", "must be a string, not a number")
	f(`{"to":{"users":[null]},"text":"x"}`, "to.users[0]", "must be a string or a whole number, not null")
	f(`{"to":{"users":["`+strings.Repeat("a", 256)+`"]},"text":"x"}`, "to.users[0]", "255 bytes")
	f(`{"to":{"users":["a\u0000"]},"text":"x"}`, "to.users[0]", "control characters")
	f(`{"to":{"channels":["a*"]},"text":"x"}`, "to.channels[0]", "*")
	f(`{"to":{"connections":[""]},"text":"x"}`, "to.connections[0]", "must not be empty")
	f(`{"to":{"all":1},"text":"x"}`, "to.all", "must be true or false, not a number")
	f(`{"to":{"user":["42"]},"text":"x"}`, "to.user", "unknown field")
	f(`{"to":{"all":true,"all":true},"text":"x"}`, "to.all", "given twice")
	f(`{"to":{"all":true},"to":{"all":true},"text":"x"}`, "to", "given twice")
	f(`{"to":{"all":true},"except":{"users":[""]},"text":"x"}`, "except.users[0]", "must not be empty")
	f(`{"to":{"all":true},"except":{"channels":["a"]},"text":"x"}`, "except.channels", "unknown field")
	// Payloads.
	f(`{"to":{"all":true}}`, "data", "exactly one")
	f(`{"to":{"all":true},"text":null}`, "data", "exactly one")
	f(`{"to":{"all":true},"text":"x","data":1}`, "data", "exactly one")
	f(`{"to":{"all":true},"data":1,"data_base64":""}`, "data", "exactly one")
	f(`{"to":{"all":true},"data":1,"data":2}`, "data", "given twice")
	f(`{"to":{"all":true},"text":5}`, "text", "must be a string, not a number")
	f(`{"to":{"all":true},"data_base64":"***"}`, "data_base64", "not base64")
	// Options.
	f(`{"to":{"all":true},"text":"x","evnet":"a"}`, "evnet", "unknown field")
	f(`{"to":{"all":true},"Text":"x"}`, "Text", "unknown field")
	f(`{"to":{"all":true},"text":"x","event":"Order"}`, "event", "a-z")
	f(`{"to":{"all":true},"text":"x","event":""}`, "event", "1 to 64")
	f(`{"to":{"all":true},"text":"x","id":""}`, "id", "1 to 128")
	f(`{"to":{"all":true},"text":"x","id":"`+strings.Repeat("a", 129)+`"}`, "id", "1 to 128")
	f(`{"to":{"all":true},"text":"x","id":7}`, "id", "must be a string")
	f(`{"to":{"all":true},"text":"x","ttl":"soon"}`, "ttl", "duration")
	for _, ttl := range []string{"-1s", "0s", "0", "999us", "87601h", "9999999h", "30"} {
		f(`{"to":{"all":true},"text":"x","ttl":"`+ttl+`"}`, "ttl", "duration")
	}
	f(`{"to":{"all":true},"text":"x","wait":"31s"}`, "wait", "at most 30s")
	f(`{"to":{"all":true},"text":"x","wait":1}`, "wait", "must be a string")
	f(`{"to":{"all":true},"text":"x","ack":"yes"}`, "ack", "must be true or false")
	// Batches.
	good := `{"to":{"all":true},"text":"x"}`
	f(`{"pushes":{}}`, "pushes", "must be an array")
	f(`{"pushes":[],"text":"x"}`, "pushes", "must stand alone")
	f(`{"pushes":[],"pushes":[]}`, "pushes", "given twice")
	f(`{"pushes":[`+good+`,5]}`, "pushes[1]", "must be an object, not a number")
	f(`{"pushes":[`+good+`,{"to":{"users":[""]},"text":"x"}]}`, "pushes[1].to.users[0]", "must not be empty")
	f(`{"pushes":[`+good+`,{"text":"x"}]}`, "pushes[1].to", "needs a target")
	f(`{"pushes":[`+good+`,{"pushes":[]}]}`, "pushes[1].pushes", "unknown field")
	f(`{"pushes":[`+strings.Repeat(good+",", MaxBatch)+good+`]}`, "pushes", "must not be more than 1000")
}

func TestParseBody_Batch(t *testing.T) {
	good := `{"to":{"all":true},"text":"x"}`
	for _, n := range []int{0, 1, MaxBatch} {
		body := `{"pushes":[` + strings.TrimSuffix(strings.Repeat(good+",", n), ",") + `]}`
		if pushes, batch, err := parseBody([]byte(body)); err != nil || !batch || len(pushes) != n {
			t.Errorf("%d: got %d, batch %v, %v", n, len(pushes), batch, err)
		}
	}
}

// What is taken is JSON, whose payload comes out as it went in.
func FuzzParseBody(f *testing.F) {
	for _, s := range []string{
		`{"to":{"users":["42"],"channels":["a"],"connections":["c"],"all":true},"except":{"users":["b"]},"data":{"a":[1, 2]}}`,
		`{"pushes":[{"to":{"all":true},"text":"x","id":"k","event":"e","ttl":"1s","wait":"1s","ack":false}]}`,
		`{"to":{"all":true},"data_base64":"AAEC"}`, `{"to":{"all":true},"data":"\ud800"}`, `{"":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		pushes, batch, err := parseBody(b)
		if err != nil {
			if err.Message == "" || len(pushes) > 0 {
				t.Errorf("%q: %+v", b, err)
			}
			return
		}
		if b = strictjson.TrimBOM(b); !json.Valid(b) {
			t.Fatalf("%q was taken", b)
		}
		if batch {
			return
		}
		var want struct {
			Data json.RawMessage `json:"data"`
		}
		if p := pushes[0]; p.Kind == hub.JSON && json.Unmarshal(b, &want) == nil && string(want.Data) != string(p.Data) {
			t.Errorf("%q: data %q, want %q", b, p.Data, want.Data)
		}
	})
}
