package webhook

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/strictjson"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestParseConnectAnswer(t *testing.T) {
	d := newDispatcher(t, testConfig("http://backend.test"))
	f := func(body string, ok bool) ConnectAnswer {
		t.Helper()
		a, err := d.ParseConnectAnswer(Answer{Status: 200, Body: []byte(body)})
		if (err == nil) != ok || err != nil && !errors.Is(err, ErrUnavailable) {
			t.Errorf("%.60s: got %v, want ok %v", body, err, ok)
		}
		return a
	}
	a := f(` {"user_id":"42","channels":["news","chat.*"],"state":{"a":1},"expires_at":"2026-11-24T10:00:00Z",`+
		`"subprotocol":"chat","messages":["hi",{"n":1}],"more":true}`, true)
	if *a.UserID != "42" || len(a.Channels) != 2 || string(a.State) != `{"a":1}` || a.ExpiresAt.Hour() != 10 ||
		a.Subprotocol != "chat" || len(a.Messages) != 2 {
		t.Errorf("got %+v", a)
	}
	f(`{}`, true)
	f(`{"user_id":""}`, true)
	if a := f(`{"user_id":null,"state":null}`, true); a.UserID != nil || a.State != nil {
		t.Errorf("null: got %+v", a)
	}
	if a := f(`{"state":"`+strings.Repeat("x", maxState-2)+`"}`, true); len(a.State) != maxState {
		t.Error("a state of 2 KiB was ignored")
	}
	if a := f(`{"state":"`+strings.Repeat("x", maxState)+`"}`, true); a.State != nil {
		t.Error("a state over 2 KiB was taken")
	}
	for _, body := range []string{
		``, ` `, `null`, `[]`, `"in"`, `true`, `{`, `{} {}`, `{"user_id":4.2}`, `{"user_id":[]}`, `{"channels":5}`, `{"channels":[""]}`,
		`{"channels":""}`, `{"expires_at":"tomorrow"}`, `{"expires_at":true}`, `{"user_id":"\ud800"}`, `{"user_id":"a\nb"}`, `{"user_id":"` + strings.Repeat("x", 256) + `"}`,
		`<html>`, `{"messages":{}}`,
	} {
		f(body, false)
	}
}

// {"userId":"42"} let everybody in as nobody, without a word.
func TestParseConnectAnswer_LogsAnUnknownField(t *testing.T) {
	f := func(body string, want ...string) {
		t.Helper()
		var out testkit.Log
		d := newDispatcher(t, testConfig("http://backend.test"))
		d.rare = ratelog.New(slog.New(slog.NewTextHandler(&out, nil)))
		for range 2 {
			if _, err := d.ParseConnectAnswer(Answer{Status: 200, Body: []byte(body)}); err != nil {
				t.Errorf("%s: %v", body, err)
			}
		}
		if got := out.String(); (got == "") != (len(want) == 0) || strings.Count(got, "WARN") > 1 || strings.Contains(got, "SECRET") {
			t.Errorf("%s: got %q", body, got)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s: no %q in %q", body, w, out.String())
			}
		}
	}
	f(`{"user_id":"42","channels":["a"],"state":1,"expires_at":4102444800,"subprotocol":"x","messages":[]}`)
	f(`{"userId":"SECRET"}`, "WARN", "field=userId", "user_id")
}

// TestParseConnectAnswer_TakesWhatBackendsWrite: PHP sends one value as a string,
// an id is a number, some write a byte order mark.
func TestParseConnectAnswer_TakesWhatBackendsWrite(t *testing.T) {
	f := func(body, user string, expires int64, channels ...string) {
		t.Helper()
		a, err := parseConnectAnswer([]byte(body))
		if err != nil || a.UserID == nil || *a.UserID != user || !slices.Equal(a.Channels, channels) {
			t.Errorf("%s: got %+v, %v", body, a, err)
			return
		}
		if (a.ExpiresAt != nil) != (expires != 0) || expires != 0 && a.ExpiresAt.Unix() != expires {
			t.Errorf("%s: ends %v, want %d", body, a.ExpiresAt, expires)
		}
	}
	f(`{"user_id":42,"channels":"news","expires_at":1764500000}`, "42", 1764500000, "news")
	f("\xef\xbb\xbf"+`{"user_id":12345678901234567890123,"expires_at":1764500000.5}`, "12345678901234567890123", 1764500000)
	f(`{"user_id":9007199254740993,"expires_at":1e300}`, "9007199254740993", 1<<40)
	f(`{"user_id":"42","channels":null,"expires_at":null,"messages":null,"subprotocol":null}`, "42", 0)
	f(`{"user_id":"42","USER_ID":"eve","Channels":5,"Expires_At":"x","ſtate":1}`, "42", 0)
}

func TestParseConnectAnswer_RefusesAMemberThatComesTwice(t *testing.T) {
	for _, body := range []string{
		`{"user_id":"ann","user_id":"eve"}`, `{"user_id":"ann","user\u005fid":"ann"}`, `{"x":1,"x":1}`,
	} {
		if a, err := parseConnectAnswer([]byte(body)); err == nil {
			t.Errorf("%s: got %+v", body, a)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	f := func(v string, want time.Duration) {
		t.Helper()
		if got := retryAfter(v, now); got != want {
			t.Errorf("%q: got %v, want %v", v, got, want)
		}
	}
	f("", -1)
	f("0", 0)
	f(" 7 ", 7*time.Second)
	f("-1", -1)
	f("1.5", -1)
	f("soon", -1)
	f("99999999999999999999", farAway)
	f("9223372036854775807", farAway)
	f("Tue, 24 Nov 2026 10:00:30 GMT", 30*time.Second)
	f("Tue, 24 Nov 2026 09:00:00 GMT", 0)
	f("Tuesday, 24-Nov-26 10:00:30 GMT", 30*time.Second)
}

func TestDecodeState(t *testing.T) {
	f := func(header string, want string) {
		t.Helper()
		got, err := decodeState([]byte(header))
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%.40q: got %.40q, %v", header, got, err)
		}
	}
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	f(b64(`{"a":1}`), `{"a":1}`)
	f(b64(`"`+strings.Repeat("x", maxState-2)+`"`), `"`+strings.Repeat("x", maxState-2)+`"`)
	f(b64(`"`+strings.Repeat("x", maxState-1)+`"`), "")
	f(b64("\xef\xbb\xbf[1]"), "[1]")
	f(b64("not json"), "")
	f("{}", "")
	f("e30", "")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"user_id":"42","channels":["a"],"state":{},"expires_at":"2026-11-24T10:00:00Z"}`))
	f.Add([]byte("eyJhIjoxfQ=="))
	f.Add([]byte("120"))
	f.Add([]byte("Tue, 24 Nov 2026 10:00:30 GMT"))
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, p []byte) {
		if a, err := parseConnectAnswer(p); err == nil {
			if !json.Valid(strictjson.TrimBOM(p)) || a.UserID != nil && !utf8.ValidString(*a.UserID) {
				t.Errorf("took %q", p)
			}
		}
		if s, err := decodeState(p); err == nil && (len(s) > maxState || !json.Valid(s)) {
			t.Errorf("took state %q", p)
		}
		if d := retryAfter(string(p), now); d < -1 || d > farAway {
			t.Errorf("%q: waits %v", p, d)
		}
	})
}

func FuzzAttribute(f *testing.F) {
	f.Add("zoë")
	f.Add("a\r\nb: c")
	f.Fuzz(func(t *testing.T, s string) {
		got := attribute(s)
		if i := strings.IndexFunc(got, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }); i >= 0 {
			t.Errorf("%q became %q", s, got)
		}
		var back []byte
		for i := 0; i < len(got); i++ {
			c := got[i]
			if c == '%' {
				c = unhex(got[i+1])<<4 | unhex(got[i+2])
				i += 2
			}
			back = append(back, c)
		}
		if !bytes.Equal(back, []byte(s)) {
			t.Errorf("%q came back as %q", s, back)
		}
	})
}

func unhex(c byte) byte {
	if c >= 'A' {
		return c - 'A' + 10
	}
	return c - '0'
}
