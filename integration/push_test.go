package integration

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestPush_BadRequestsAreNamed(t *testing.T) {
	s := sidecartest.Start(t, anonymous)
	f := func(body string, status int, says ...string) {
		t.Helper()
		got, answer := call(t, "POST", "http://"+s.Push+"/v1/push", "application/json", body)
		if got != status {
			t.Errorf("%.80s: got %d %s, want %d", body, got, answer, status)
		}
		for _, w := range says {
			if !strings.Contains(answer, w) {
				t.Errorf("%.80s: got %s, want %q in it", body, answer, w)
			}
		}
	}
	f(`{"text":"x"}`, 400, "invalid_argument", `"field":"to"`)
	f(`{"to":{},"text":"x"}`, 400, `"field":"to"`)
	f(`{"to":{"users":["a"]}}`, 400, `"field":"data"`)
	f(`{"to":{"users":["a"]},"text":"x","data":1}`, 400, "exactly one of")
	f(`{"to":{"users":["a"]},"txet":"x"}`, 400, `"field":"txet"`)
	f(`{"to":{"users":["a","b",""]},"text":"x"}`, 400, `"field":"to.users[2]"`)
	f(`{"to":{"channels":["a*"]},"text":"x"}`, 400, `"field":"to.channels[0]"`)
	f(`{"to":{"users":"a"},"text":"x"}`, 400, `to.users`)
	f(`{"to":{"users":["a"]},"data_base64":"!"}`, 400, `"field":"data_base64"`)
	f(`{"to":{"users":["a"]},"text":"x","wait":"1h"}`, 400, `"field":"wait"`)
	f(`{"to":{"users":["a"]},"text":"x","event":"No!"}`, 400, `"field":"event"`)
	f(`{"pushes":[{"to":{"users":["a"]},"text":"x"},{"to":{"users":[""]},"text":"x"}]}`, 400, `"field":"pushes[1].to.users[0]"`)
	f(`not json`, 400, "not JSON")
	f(`{"to":{"users":["a"]},"text":"x"} {}`, 400, "more than one")
	f(`{"to":{"users":["a"]},"text":"`+strings.Repeat("x", 2<<20)+`"}`, 413, "too_large")
	g := func(method, path, contentType string, header http.Header, status int) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+s.Push+path, strings.NewReader(`{"to":{"all":true},"text":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range header {
			req.Header[k] = v
		}
		req.Header.Set("Content-Type", contentType)
		if h := header.Get("Host"); h != "" {
			req.Host = h
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body := readAll(resp.Body); resp.StatusCode != status || !strings.Contains(body, `"code"`) && status >= 400 {
			t.Errorf("%s %s %v: got %d %s, want %d", method, path, header, resp.StatusCode, body, status)
		}
	}
	g("GET", "/v1/push", "", nil, 405)
	g("POST", "/v1/nothing", "", nil, 404)
	g("POST", "/v1/push", "text/plain", nil, 200)
	g("POST", "/v1/push", "text/html", nil, 415)
	g("POST", "/v1/push", "application/x-www-form-urlencoded", nil, 200)
	g("POST", "/v1/push", "", http.Header{"Host": {"evil.example"}}, 403)
	g("POST", "/v1/push", "", http.Header{"Origin": {"http://localhost"}}, 403)
	g("POST", "/v1/push", "", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403)
	if status, _, body := exchange(t, s.Push, "POST /v1/users/a%zz/push HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"); status != 400 || !strings.Contains(body, "percent") {
		t.Errorf("bad escape: %d %s", status, body)
	}
	g("GET", "/v1/connections/nonsense", "", nil, 404)
}

func TestPush_EveryFormArrives(t *testing.T) {
	s := sidecartest.Start(t, withJWT)
	name := "ann/%2F ü"
	c := dial(t, s, bearer(token(name, "news")))
	f := func(kind int, want string) {
		t.Helper()
		if k, got := next(t, c); k != kind || got != want {
			t.Errorf("got kind %d %q, want %d %q", k, got, kind, want)
		}
	}
	escaped := "ann%2F%252F%20%C3%BC"
	id := firstConnection(t, s, escaped)
	s.Pushed(t, `{"to":{"users":["ann/%2F ü"]},"data":{"b":1.0,  "a":[1e3,"\u00e9"]}}`)
	f(websocket.TextMessage, `{"b":1.0,  "a":[1e3,"\u00e9"]}`)
	s.Pushed(t, `{"to":{"channels":["news"]},"text":"line\n"}`)
	f(websocket.TextMessage, "line\n")
	s.Pushed(t, `{"to":{"connections":["`+id+`"]},"data_base64":"`+base64.StdEncoding.EncodeToString([]byte{0, 255})+`"}`)
	f(websocket.BinaryMessage, "\x00\xff")
	s.Pushed(t, `{"pushes":[{"to":{"all":true},"text":"1"},{"to":{"all":true},"text":"2"}]}`)
	f(websocket.TextMessage, "1")
	f(websocket.TextMessage, "2")
	raw := func(path, contentType, body string) {
		t.Helper()
		if status, answer := call(t, "POST", "http://"+s.Push+path, contentType, body); status != 200 || !strings.Contains(answer, `"nodes":1`) {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	raw("/v1/users/"+escaped+"/push", "", "raw text")
	f(websocket.TextMessage, "raw text")
	raw("/v1/channels/news/push?event=a.b&wait=1s", "application/octet-stream", "\xff\x00")
	f(websocket.BinaryMessage, "\xff\x00")
	raw("/v1/connections/"+id+"/push", "application/json", ` {"x": 1} `)
	f(websocket.TextMessage, ` {"x": 1} `)
	raw("/v1/all/push", "text/plain", "all")
	f(websocket.TextMessage, "all")
	if status, answer := call(t, "POST", "http://"+s.Push+"/v1/all/push", "text/plain", "\xff"); status != 400 {
		t.Errorf("raw text that is no UTF-8: %d %s", status, answer)
	}
}

func TestPush_AnIDIsSentOnce(t *testing.T) {
	for _, where := range []string{"memory", "redis"} {
		t.Run(where, func(t *testing.T) {
			yaml := withJWT
			if where == "redis" {
				yaml += "\nredis: {addresses: ['" + redistest.Start(t).Addr + "']}"
			}
			s := sidecartest.Start(t, yaml)
			c := dial(t, s, bearer(token("ann")))
			push := `{"to":{"users":["ann"]},"text":"once","id":"order-1"}`
			if got := s.Pushed(t, push); got.Duplicate || got.Nodes != 1 || got.ID != "order-1" {
				t.Errorf("first: %+v", got)
			}
			if got := s.Pushed(t, push); !got.Duplicate || got.Nodes != 0 {
				t.Errorf("again: %+v", got)
			}
			status, body := s.API("POST", "/v1/push", `{"to":{"users":["ann"]},"text":"other","id":"order-1"}`)
			if status != 409 || !strings.Contains(body, `"conflict"`) {
				t.Errorf("other content: %d %s", status, body)
			}
			s.Pushed(t, `{"to":{"users":["ann"]},"text":"end"}`)
			if _, got := next(t, c); got != "once" {
				t.Errorf("got %q", got)
			}
			if _, got := next(t, c); got != "end" {
				t.Errorf("got %q after the first, want no repeat", got)
			}
		})
	}
}

func TestPush_ASlowConsumerIsClosedAndCounted(t *testing.T) {
	b := newBackend(t, nil)
	s := sidecartest.Start(t, withJWT+strings.Replace(b.hooked(), "['*']", "[disconnected]", 1)+"\nwebsocket: {outbox: {messages: 8, bytes: 1MiB}}")
	_ = dial(t, s, bearer(token("slow"))) // never reads
	fine := dial(t, s, bearer(token("fine")))
	slow := 0
	for i := 0; i < 200 && slow == 0; i++ {
		got := s.Pushed(t, fmt.Sprintf(`{"to":{"users":["slow","fine"]},"text":"%d %s","wait":"50ms"}`, i, strings.Repeat("x", 100_000)))
		if got.Slow != nil {
			slow += *got.Slow
		}
		if _, text := next(t, fine); !strings.HasPrefix(text, fmt.Sprint(i, " ")) {
			t.Fatalf("the other one got %.20q for push %d", text, i)
		}
	}
	if slow == 0 {
		t.Error("the push that filled the outbox did not say so")
	}
	testkit.Eventually(t, "disconnected with cause slow", func() bool {
		d := b.got("disconnected")
		return len(d) == 1 && strings.Contains(d[0].body, `"code":4000`) && strings.Contains(d[0].body, `"cause":"slow"`)
	})
	if _, metrics := call(t, "GET", "http://"+s.Admin+"/metrics", "", ""); !strings.Contains(metrics, "pushcart_slow_consumers_total 1") {
		t.Error("not counted in pushcart_slow_consumers_total")
	}
}
