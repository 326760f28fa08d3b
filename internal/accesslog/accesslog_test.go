package accesslog_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pushcart/pushcart/internal/accesslog"
	"github.com/pushcart/pushcart/internal/race"
)

// full is an entry with everything.
func full() *accesslog.Entry {
	return &accesslog.Entry{
		Kind: accesslog.Handshake, Begin: time.Now(), ID: []byte("r-1"), IP: netip.MustParseAddr("2001:db8::1"),
		Method: []byte("GET"), Host: []byte("app.example:8080"), Path: []byte("/_push"), Query: []byte("a=1&access_token=secret"), HasQuery: true,
		Status: 101, In: 300, Out: 200, Backend: 1500 * time.Microsecond, Connection: "n1-c1", User: "ann",
	}
}

func written(o accesslog.Options, e *accesslog.Entry) string {
	var out bytes.Buffer
	accesslog.New(&out, o).Write(e)
	return out.String()
}

// fields reads a line of text as slog writes it.
func fields(t *testing.T, line string) map[string]string {
	t.Helper()
	out, rest := map[string]string{}, strings.TrimSuffix(line, "\n")
	for rest != "" {
		key, value, ok := strings.Cut(rest, "=")
		if !ok || strings.ContainsAny(key, " \"") {
			t.Fatalf("%q: no key at %q", line, rest)
		}
		if quoted, err := strconv.QuotedPrefix(value); err == nil {
			rest = value[len(quoted):]
			if value, err = strconv.Unquote(quoted); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		} else {
			value, rest, _ = strings.Cut(value, " ")
			rest = " " + rest
		}
		if _, twice := out[key]; twice {
			t.Fatalf("%q: %s stands there twice", line, key)
		}
		out[key] = value
		rest = strings.TrimPrefix(rest, " ")
	}
	return out
}

func TestWrite_TextHasEachFieldOnce(t *testing.T) {
	line := written(accesslog.Options{Node: "n1", Query: true}, full())
	got := fields(t, line)
	for key, want := range map[string]string{
		"level": "INFO", "msg": "handshake", "node": "n1", "request_id": "r-1", "ip": "2001:db8::1", "method": "GET",
		"host": "app.example:8080", "path": "/_push", "query": "a=1&access_token=[redacted]", "status": "101",
		"bytes_in": "300", "bytes_out": "200", "backend_ms": "1.500", "conn": "n1-c1", "user": "ann",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z07:00", got["time"]); err != nil {
		t.Error(err)
	}
	if ms, err := strconv.ParseFloat(got["duration_ms"], 64); err != nil || ms < 0 || ms > 60_000 {
		t.Errorf("duration_ms is %q", got["duration_ms"])
	}
	if _, there := got["end"]; there || len(got) != 17 {
		t.Errorf("%d fields in %s", len(got), line)
	}
}

func TestWrite_JSONHasTheSame(t *testing.T) {
	var got map[string]any
	line := written(accesslog.Options{Node: "n1", JSON: true, Query: true}, full())
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	for key, want := range map[string]any{
		"level": "INFO", "msg": "handshake", "node": "n1", "request_id": "r-1", "ip": "2001:db8::1", "method": "GET",
		"host": "app.example:8080", "path": "/_push", "query": "a=1&access_token=[redacted]", "status": 101.0,
		"bytes_in": 300.0, "bytes_out": 200.0, "backend_ms": 1.5, "conn": "n1-c1", "user": "ann",
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, got["time"].(string)); err != nil {
		t.Error(err)
	}
}

func TestWrite_WhatIsAskedFor(t *testing.T) {
	var none *accesslog.Log
	none.Write(full()) // writes nothing, and lives
	if got := written(accesslog.Options{}, full()); strings.Contains(got, "query") || strings.Contains(got, "secret") {
		t.Errorf("a query nobody asked for: %s", got)
	}
	f := func(status int, end string, want bool) {
		t.Helper()
		e := full()
		e.Status, e.End = status, end
		if got := written(accesslog.Options{Errors: true}, e); (got != "") != want {
			t.Errorf("status %d, end %q: got %q", status, end, got)
		}
	}
	f(200, "", false)
	f(101, "", false)
	f(399, "", false)
	f(400, "", true)
	f(503, "", true)
	f(200, accesslog.BackendBroke, true)
	f(0, accesslog.ClientGone, true)
}

func TestWrite_HidesTokensOfQueries(t *testing.T) {
	f := func(query, want string) {
		t.Helper()
		e := full()
		e.Query = []byte(query)
		got := fields(t, written(accesslog.Options{Query: true, Hide: []string{"token", "jwt[]"}}, e))["query"]
		if got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	f("", "")
	f("a=1&b", "a=1&b")
	f("token=x", "token=[redacted]")
	f("a=1&token=x&b=2&token=y", "a=1&token=[redacted]&b=2&token=[redacted]")
	f("TOKEN=x&Access_Token=y", "TOKEN=[redacted]&Access_Token=[redacted]")
	f("t%6fken=x&jwt%5B%5D=y", "t%6fken=[redacted]&jwt%5B%5D=[redacted]")
	f("a=1;token=x", "a=1;token=[redacted]")
	f("token=a=b=c", "token=[redacted]")
	f("token&x", "token&x")
	f("tokens=x", "tokens=x")
	f(strings.Repeat("a", 2000)+"&token="+strings.Repeat("x", 100), strings.Repeat("a", 2000)+"&token=[redacted]")
}

func TestWrite_CutsWhatIsLong(t *testing.T) {
	e := full()
	e.Path = []byte("/" + strings.Repeat("ä", 40_000))
	e.Keep()
	if got := written(accesslog.Options{}, e); len(got) > 3000 || !strings.Contains(got, "…") {
		t.Errorf("%d bytes", len(got))
	}
}

func TestKeep_CopiesWhatWillChange(t *testing.T) {
	head := []byte("GET app /x q=1 id-1")
	e := &accesslog.Entry{Kind: accesslog.Request, Method: head[:3], Host: head[4:7], Path: head[8:10], Query: head[11:14], HasQuery: true, ID: head[15:]}
	e.Keep()
	clear(head)
	got := fields(t, written(accesslog.Options{Query: true}, e))
	if got["method"] != "GET" || got["host"] != "app" || got["path"] != "/x" || got["query"] != "q=1" || got["request_id"] != "id-1" {
		t.Errorf("got %v", got)
	}
	e.Reset()
	if e.Kind != "" || e.Path != nil {
		t.Errorf("after Reset: %+v", e)
	}
}

// What a client sends must not end its value, nor its line.
func FuzzWrite(f *testing.F) {
	for _, s := range []string{"/x", "/\" status=200", "/\n{}", "/\\", "/\x00\x1b[31m", "/\xff\xc3", "/é\u202e\u2028", "/😀\U000e0001", "a=1&access_token=x;y"} {
		f.Add([]byte(s), s)
	}
	f.Fuzz(func(t *testing.T, raw []byte, user string) {
		e := full()
		e.Path, e.Host, e.Method, e.Query, e.ID, e.User = raw, raw, raw, raw, raw, user
		text := written(accesslog.Options{Query: true}, e)
		if strings.Count(text, "\n") != 1 || !utf8.ValidString(text) {
			t.Fatalf("%q", text)
		}
		got := fields(t, text)
		if want := string(raw); len(raw) > 0 && len(raw) <= 2048 && got["path"] != want {
			t.Errorf("path %q is read as %q", want, got["path"])
		}
		if got["status"] != "101" || got["msg"] != "handshake" {
			t.Errorf("forged: %s", text)
		}
		var object map[string]any
		line := written(accesslog.Options{Query: true, JSON: true}, e)
		if err := json.Unmarshal([]byte(line), &object); err != nil || strings.Count(line, "\n") != 1 || !utf8.ValidString(line) {
			t.Fatalf("%v in %q", err, line)
		}
		if want := strings.ToValidUTF8(user, "\ufffd"); user != "" && len(user) <= 2048 && utf8.ValidString(user) && object["user"] != want {
			t.Errorf("user %q is read as %q", want, object["user"])
		}
		if object["status"] != 101.0 {
			t.Errorf("forged: %s", line)
		}
	})
}

func TestWrite_DoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector empties pools")
	}
	log, e := accesslog.New(discard{}, accesslog.Options{Node: "n1"}), full()
	if n := testing.AllocsPerRun(200, func() { log.Write(e) }); n > 0.5 {
		t.Errorf("%v allocations", n)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkWrite(b *testing.B) {
	for _, format := range []string{"text", "json"} {
		b.Run(format, func(b *testing.B) {
			log, e := accesslog.New(discard{}, accesslog.Options{Node: "0190d2c67f9a", JSON: format == "json"}), full()
			b.ReportAllocs()
			for b.Loop() {
				log.Write(e)
			}
		})
	}
}
