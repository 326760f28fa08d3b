package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testbackend"
	"github.com/pushcart/pushcart/internal/traceparent"
)

func TestStructured_TheWholeEvent(t *testing.T) {
	b := testbackend.New(t)
	cfg := testConfig(b.URL + "/hooks/{event}/push")
	cfg.Format, cfg.Secrets = config.FormatStructured, []config.Secret{secret1}
	d := newDispatcher(t, cfg)
	ask(t, d, &Event{
		Source: Source{
			ConnectionID: "node1-abc", UserID: `zoë 100% "q"`, ForwardedFor: "10.0.0.1", Proto: "https", Host: "app.test",
			Header: []Field{{"Cookie", "a=b"}, {"Content-Type", "text/evil"}, {"Traceparent", "00-evil"}, {"ce-userid", "admin"}},
		},
		Name: Message, Sequence: 42, MessageEvent: "typing", State: []byte(`{"step":1}`),
		ContentType: "application/json", Body: []byte(`{"b": 1.0, "a": "<é>" }`),
	})
	r := b.Wait(t, 1)[0]
	if err := verify(secret1, r); err != nil {
		t.Error(err)
	}
	if r.Target != "/hooks/message/push" || r.Header.Get("Content-Type") != "application/cloudevents+json" || r.Header.Get("Cookie") != "a=b" || r.Header.Get("X-Forwarded-For") != "10.0.0.1" {
		t.Errorf("got %s with %v", r.Target, r.Header)
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "Ce-") {
			t.Errorf("%s is outside the signature", name)
		}
	}
	if !strings.Contains(r.Body, `"data":{"b": 1.0, "a": "<é>" }}`) {
		t.Errorf("the payload is not as it came: %s", r.Body)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(r.Body), &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"specversion": "1.0", "type": "pushcart.message", "source": "/nodes/node1", "subject": "node1-abc", "connectionid": "node1-abc",
		"userid": `zoë 100% "q"`, "sequence": "00000000000000000042", "event": "typing", "state": "eyJzdGVwIjoxfQ==",
		"datacontenttype": "application/json", "id": r.Header.Get("webhook-id"), "traceparent": r.Header.Get("traceparent"),
	} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %q", name, got[name], want)
		}
	}
	if len(got) != 14 { // and time and data
		t.Errorf("%d members: %s", len(got), r.Body)
	}
}

func TestStructured_PayloadsOfEveryKind(t *testing.T) {
	d := newDispatcher(t, testConfig("http://backend.test/"))
	f := func(contentType, body, want string) {
		t.Helper()
		j := newJob(&Event{Source: Source{ConnectionID: "c"}, Name: Message, ContentType: contentType, Body: []byte(body)}, nil)
		got := string(d.appendEvent(nil, j, j.appendTrace(nil)))
		if !json.Valid([]byte(got)) {
			t.Fatalf("not JSON: %s", got)
		}
		_, rest, _ := strings.Cut(got, `"connectionid":"c"`)
		if rest != want {
			t.Errorf("%s %q: got %s, want %s", contentType, body, rest, want)
		}
	}
	text, octets := "text/plain; charset=utf-8", "application/octet-stream"
	f(text, `κ "q" <&>`+"\n\x00", `,"datacontenttype":"text/plain; charset=utf-8","data":"κ \"q\" <&>\n\u0000"}`)
	f(text, "", `,"datacontenttype":"text/plain; charset=utf-8","data":""}`)
	f(text, "\xff", `,"datacontenttype":"text/plain; charset=utf-8","data_base64":"/w=="}`)
	f(octets, "\x00\xff", `,"datacontenttype":"application/octet-stream","data_base64":"AP8="}`)
	f(octets, "text", `,"datacontenttype":"application/octet-stream","data_base64":"dGV4dA=="}`)
	f(octets, "", `,"datacontenttype":"application/octet-stream","data_base64":""}`)
	f("application/json", `[1]`, `,"datacontenttype":"application/json","data":[1]}`)
	f("application/json", `no JSON`, `,"datacontenttype":"application/json","data_base64":"bm8gSlNPTg=="}`)
	f("", "", `}`)
}

func TestTrace_IsBegunOrKeptAndTheSameOnEachTry(t *testing.T) {
	b := testbackend.New(t)
	b.Script(Message, testbackend.Status(503), testbackend.Status(204))
	cfg := testConfig(b.URL)
	cfg.Retry.Min, cfg.Retry.Max = 1, 1
	d := newDispatcher(t, cfg)
	ask(t, d, &Event{Source: Source{ConnectionID: "c", Header: []Field{{"traceparent", "00-x"}, {"tracestate", "evil=1"}}}, Name: Message})
	got := b.Wait(t, 2)
	traces := map[string]bool{}
	for _, r := range got {
		values := r.Header.Values("traceparent")
		if len(values) != 1 || r.Header.Get("tracestate") != "" {
			t.Fatalf("got %q, %q", values, r.Header.Get("tracestate"))
		}
		if _, ok := traceparent.Keep(values[0]); !ok {
			t.Errorf("got %q", values[0])
		}
		traces[values[0][:35]] = true
	}
	if want := "00-" + strings.ReplaceAll(got[0].Header.Get("ce-id"), "-", ""); len(traces) != 1 || !traces[want] {
		t.Errorf("got %v, want %s", traces, want)
	}
	kept := &Trace{Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", State: "a=1,b=2"}
	ask(t, d, &Event{Source: Source{ConnectionID: "c", Trace: kept}, Name: Message})
	if h := b.Wait(t, 3)[2].Header; h.Get("traceparent") != kept.Parent || h.Get("tracestate") != kept.State {
		t.Errorf("got %v", h)
	}
}

func TestTarget_EventIsReplacedWhereverItStands(t *testing.T) {
	b := testbackend.New(t)
	cfg := testConfig(b.URL + "/a/{event}/b//{event}?e={event}")
	ask(t, newDispatcher(t, cfg), event(Message, "c", 1))
	if r := b.Wait(t, 1)[0]; r.Target != "/a/message/b//message?e=message" {
		t.Errorf("got %s", r.Target)
	}
}

// The binding's own example, and what it leaves alone.
func TestAttribute_IsEncodedAsTheBindingSays(t *testing.T) {
	f := func(value, want string) {
		t.Helper()
		if got := attribute(value); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
	f("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80")
	f("!#$&'()*+,/:;=?@[]\\^`{|}~-._", "!#$&'()*+,/:;=?@[]\\^`{|}~-._")
	f("\"%\x7f\n", "%22%25%7F%0A")
}

// Every kind of wrongness has an outcome and a line that says what to change.
func TestAnswers_ThatAreWrong(t *testing.T) {
	raw := func(head, body string) testbackend.Answer {
		return testbackend.Raw("HTTP/1.1 " + head + "\r\n\r\n" + body)
	}
	f := func(name string, a testbackend.Answer, want, line string) {
		t.Helper()
		b := testbackend.New(t)
		cfg := testConfig(b.URL)
		cfg.Timeout, cfg.MaxAnswer = 500*time.Millisecond, 64
		d, out := loggedDispatcher(t, cfg)
		b.Script(Message, testbackend.Status(204), a)
		ask(t, d, event(Message, "c", 1)) // a 4xx counts as the app's from now on
		o := ask(t, d, event(Message, "c", 2))
		got := fmt.Sprintf("%d %q %s %s", o.Status, o.Body, o.ContentType, o.State)
		if o.err != nil {
			got = "unavailable"
		}
		if got != want {
			t.Errorf("%s: got %s (%v), want %s", name, got, o.err, want)
		}
		if !regexp.MustCompile(line).MatchString(out.String()) || line == "^$" && out.String() != "" {
			t.Errorf("%s: no %q in %s", name, line, out.String())
		}
		b.Script(Message, testbackend.Say(200, "well")) // and the next is not hurt
		if o := ask(t, d, event(Message, "c", 3)); o.err != nil || string(o.Body) != "well" {
			t.Errorf("after %s: %q, %v", name, o.Body, o.err)
		}
	}
	f("too big", testbackend.Say(200, strings.Repeat("x", 65)), "unavailable", "max_answer.*setting=webhook.max_answer")
	f("too big a 4xx", testbackend.Say(409, strings.Repeat("x", 65)), `409 ""  `, "max_answer")
	f("too big, chunked", raw("200 OK\r\nTransfer-Encoding: chunked", "41\r\n"+strings.Repeat("x", 65)+"\r\n0\r\n\r\n"), "unavailable", "max_answer")
	f("3xx", testbackend.Status(303, "Location", "/login?x=secret"), "unavailable", "redirects are not followed; it leads to /login\".*setting=webhook.url")
	f("304", testbackend.Status(304), "unavailable", "redirects are not followed.*setting=webhook.url")
	f("slow body", slowly, "unavailable", "no answer within 500ms.*setting=webhook.timeout")
	f("closed mid-body", raw("200 OK\r\nContent-Length: 10", "half"), "unavailable", "broke off.*setting=webhook.url")
	f("closed in a chunk", raw("200 OK\r\nTransfer-Encoding: chunked", "5\r\nhal"), "unavailable", "broke off.*setting=webhook.url")
	f("1xx first", raw("103 Early Hints\r\nLink: </x>", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), `200 "ok"  `, "^$")
	f("nothing but 1xx", raw("100 Continue", ""), "unavailable", "setting=webhook.url")
	f("101", raw("101 Switching Protocols\r\nUpgrade: x", ""), "unavailable", "setting=webhook.url")
	f("204 with a body", raw("204 No Content\r\nContent-Length: 4", "body"), `204 ""  `, "^$")
	f("gzip", testbackend.Say(200, "\x1f\x8b...", "Content-Encoding", "gzip"), "unavailable", "is compressed.*encoding=gzip")
	f("gzip of a 4xx", testbackend.Say(409, "\x1f\x8b...", "Content-Encoding", "gzip"), `409 ""  `, "is compressed")
	f("identity", testbackend.Say(200, "ok", "Content-Encoding", "identity"), `200 "ok"  `, "^$")
	f("no content-type", testbackend.Say(200, "ok"), `200 "ok"  `, "^$")
	f("invalid UTF-8", testbackend.Say(200, "\xff", "Content-Type", "text/plain"), `200 "\xff" text/plain `, "^$")
	f("ce-state not base64", testbackend.Say(200, "ok", "ce-state", "{}"), `200 "ok"  `, "state ignored.*ce-state is not base64")
	f("ce-state not JSON", testbackend.Say(200, "ok", "ce-state", "AAAA"), `200 "ok"  `, "state ignored.*ce-state is not JSON")
	f("ce-state too big", testbackend.Say(200, "ok", "ce-state", strings.Repeat("MTEx", 700)), `200 "ok"  `, "state ignored.*larger than 2 KiB")
	f("ce-state", testbackend.Say(200, "ok", "ce-state", "eyJhIjoxfQ=="), `200 "ok"  {"a":1}`, "^$")
	f("not HTTP", testbackend.Raw("SSH-2.0-OpenSSH_9\r\n\r\n"), "unavailable", "is not HTTP/1.1.*setting=webhook.url")
	f("a head too big", testbackend.Status(200, "X-Fill", strings.Repeat("x", 64<<10)), "unavailable", "head is larger.*setting=webhook.url")
	f("500", testbackend.Status(500), "unavailable", "status=500.*setting=webhook.url")
}

// slowly sends a body one byte at a time, for longer than anybody waits.
func slowly(w http.ResponseWriter, r *testbackend.Request) {
	w.Header().Set("Content-Length", "60")
	for range 60 {
		if _, err := w.Write([]byte("x")); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		<-time.After(50 * time.Millisecond)
	}
}
