package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
)

// ask sends a handshake that differs from a good one: each of change is a header
// line that takes the place of the good one's of that name, "-Name" takes it out,
// "+Name: value" adds a line, and what has no colon is the request line.
func (n *node) ask(t *testing.T, change ...string) (*http.Response, []byte) {
	t.Helper()
	line, fields := "GET /_push HTTP/1.1", strings.Split(strings.TrimSpace(handshook), "\r\n")[1:]
	drop := func(name string) {
		var left []string
		for _, f := range fields {
			if !strings.EqualFold(strings.SplitN(f, ":", 2)[0], name) {
				left = append(left, f)
			}
		}
		fields = left
	}
	var body string
	for _, c := range change {
		name, _, isField := strings.Cut(c, ":")
		switch {
		case strings.HasPrefix(c, "body "):
			body = strings.TrimPrefix(c, "body ")
		case c[0] == '-':
			drop(c[1:])
		case c[0] == '+':
			fields = append(fields, c[1:])
		case strings.Contains(name, " "):
			line = c
		case isField:
			drop(name)
			fields = append(fields, c)
		}
	}
	c := n.dial(t)
	c.write([]byte(line+"\r\n"+strings.Join(fields, "\r\n")+"\r\n\r\n"+body), oneWrite)
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatalf("%q: %v", change, err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		c.run(send(oneWrite, say("in")).hears(aText("in")))
		c.write(closing(CodeNormal, ""), oneWrite)
		c.hearsClose(CodeNormal)
		return resp, nil
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%q: %v", change, err)
	}
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		t.Errorf("%q: after the refusal came %q and %v, want the end", change, rest, err)
	}
	return resp, b
}

func TestHandshake_RefusesWhatIsNone(t *testing.T) {
	onEveryRoad(t, nil, func(t *testing.T, n *node) {
		f := func(status int, code string, change ...string) {
			t.Helper()
			resp, body := n.ask(t, change...)
			var e struct {
				Error struct {
					Code string `json:"code"`
				} `json:"error"`
			}
			if err := json.Unmarshal(body, &e); err != nil || resp.StatusCode != status || e.Error.Code != code {
				t.Errorf("%q: got %d %s, want %d %s", change, resp.StatusCode, body, status, code)
			}
			if v := resp.Header.Get("Sec-WebSocket-Version"); (v == "13") != (status == http.StatusUpgradeRequired) {
				t.Errorf("%q: got Sec-WebSocket-Version %q with %d", change, v, status)
			}
		}
		bad := func(change ...string) { t.Helper(); f(http.StatusBadRequest, "invalid_argument", change...) }

		bad("-Sec-WebSocket-Key")
		bad("Sec-WebSocket-Key:")
		bad("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub24=")     // 14 bytes
		bad("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=") // 17, as long in base64 as 16
		bad("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA") // 18
		bad("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ")   // no padding
		bad("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j-_==") // of another alphabet
		bad("Sec-WebSocket-Key: dGhlIHNhbXBs ZSBub25jZQ==")
		bad("+Sec-WebSocket-Key: " + sampleKey) // twice, the same
		bad("+Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
		bad("Sec-WebSocket-Key: " + sampleKey + ", " + sampleKey)

		bad("-Sec-WebSocket-Version")
		bad("+Sec-WebSocket-Version: 13")
		bad("+Sec-WebSocket-Version: 8")
		for _, v := range []string{"13, 8", "8", "8, 13", "0", "13.0", "013", "+13", "14", ""} {
			f(http.StatusUpgradeRequired, "invalid_argument", "Sec-WebSocket-Version: "+v)
		}

		bad("Upgrade: foo")
		bad("Upgrade: websocket2")
		bad("-Connection")
		bad("Connection: keep-alive")
		bad("Connection: keep-alive, close")
		bad("GET /_push HTTP/1.0")
		for _, m := range []string{"POST", "PUT", "OPTIONS", "get"} {
			bad(m + " /_push HTTP/1.1")
		}
		bad("+Content-Length: 5", "body hello")
		bad("+Transfer-Encoding: chunked", "body 5\r\nhello\r\n0\r\n\r\n")

		f(http.StatusForbidden, "forbidden", "Origin: http://evil.example")
		f(http.StatusForbidden, "forbidden", "Origin: http://app:81")
		f(http.StatusForbidden, "forbidden", "Origin: http://app.evil.example")
		f(http.StatusForbidden, "forbidden", "Origin: http://evilapp")
		f(http.StatusForbidden, "forbidden", "Origin: null")
		f(http.StatusForbidden, "forbidden", "Origin: app")
		f(http.StatusForbidden, "forbidden", "Origin: file://")
		f(http.StatusForbidden, "forbidden", "+Origin: http://app", "+Origin: http://evil.example")
	})
}

func TestHandshake_TakesEverySpellingOfAGoodOne(t *testing.T) {
	onEveryRoad(t, nil, func(t *testing.T, n *node) {
		f := func(change ...string) {
			t.Helper()
			resp, body := n.ask(t, change...)
			if resp.StatusCode != http.StatusSwitchingProtocols {
				t.Errorf("%q: got %d %s, want 101", change, resp.StatusCode, body)
				return
			}
			if len(resp.Header) != 3 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Connection") != "Upgrade" ||
				resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Errorf("%q: got %v, want the three headers", change, resp.Header)
			}
		}
		f()
		f("Upgrade: WebSocket", "Connection: upgrade")
		f("Upgrade: foo, websocket")
		f("Upgrade: foo", "+Upgrade: websocket")
		f("Connection: keep-alive, Upgrade")
		f("Connection: keep-alive", "+Connection: UPGRADE")
		f("Connection: ,,upgrade,")
		f("-Sec-WebSocket-Key", "+sec-websocket-key: "+sampleKey)
		f("-Upgrade", "+UPGRADE:websocket")
		f("Sec-WebSocket-Key: \t " + sampleKey + " \t")
		f("GET http://app/_push HTTP/1.1")
		f("GET /_push?a=b HTTP/1.1")
		f("+Content-Length: 0")
		f("+Sec-WebSocket-Extensions: foo; bar=1, permessage-deflate") // off by default
		f("+Sec-WebSocket-Protocol: nobody-knows")
		f("+Origin: http://app")
		f("+Origin: HTTP://APP:80")
		f("+Origin: https://app")
		f("Host: app:8443", "+Origin: https://app:8443")
	})
}

func TestHandshake_AllowedOrigins(t *testing.T) {
	allowed := func(c *config.Config) {
		c.WebSocket.AllowedOrigins = []string{"https://*.example.com", "http://localhost:5173"}
	}
	n := newNode(t, roads[0], allowed)
	f := func(origin string, status int) {
		t.Helper()
		if resp, body := n.ask(t, "+Origin: "+origin); resp.StatusCode != status {
			t.Errorf("Origin %q: got %d %s, want %d", origin, resp.StatusCode, body, status)
		}
	}
	f("https://a.example.com", 101)
	f("https://a.b.Example.com:443", 101)
	f("http://localhost:5173", 101)
	f("http://a.example.com", 403)
	f("https://example.com", 403)
	f("http://localhost", 403)
	f("http://app", 403) // the own host is not in the list
	f("null", 403)
}

// A file:// page, an extension and an app with a scheme of its own have an Origin
// too, which names no http host.
func TestHandshake_OriginsOfOtherSchemes(t *testing.T) {
	n := newNode(t, roads[0], func(c *config.Config) {
		c.WebSocket.AllowedOrigins = []string{"file://", "chrome-extension://abcdefgh", "capacitor://localhost", "app://-"}
	})
	f := func(origin string, status int) {
		t.Helper()
		if resp, body := n.ask(t, "+Origin: "+origin); resp.StatusCode != status {
			t.Errorf("Origin %q: got %d %s, want %d", origin, resp.StatusCode, body, status)
		}
	}
	f("file://", 101)
	f("FILE://", 101)
	f("chrome-extension://abcdefgh", 101)
	f("capacitor://localhost", 101)
	f("app://-", 101)
	f("file:", 403)
	f("file://app", 403)
	f("chrome-extension://other", 403)
	f("capacitor://localhost:80", 403)
	f("http://localhost", 403)
	f("null", 403)
}

// RFC 6455 §4.1 wants 16 bytes in base64; what the bits behind the last byte are
// is nobody's business.
func TestHandshake_AKeyMayHaveUnusedBitsSet(t *testing.T) {
	n := newNode(t, roads[0], nil)
	const key = "dGhlIHNhbXBsZSBub25jZR=="
	sum := sha1.Sum([]byte(key + acceptGUID))
	want := base64.StdEncoding.EncodeToString(sum[:])
	resp, body := n.ask(t, "Sec-WebSocket-Key: "+key)
	if got := resp.Header.Get("Sec-WebSocket-Accept"); resp.StatusCode != 101 || got != want {
		t.Errorf("got %d %s, Sec-WebSocket-Accept %q, want %q", resp.StatusCode, body, got, want)
	}
}

// What a client sends behind its handshake without waiting for the answer is as
// good as what it sends later, wherever the packets are cut.
func TestHandshake_EarlyDataIsHeard(t *testing.T) {
	onEveryRoad(t, nil, func(t *testing.T, n *node) {
		all := join(say("early"), ping("p"), masked(opText, "frag"), masked(finCont, "ment"), ping(""))
		for early := 0; early <= len(all); early++ {
			c, _ := n.connect(t, "", all[:early])
			c.write(all[early:], oneWrite)
			c.hears(aText("early"), aPong("p"), aText("fragment"), aPong(""))
			c.write(closing(CodeNormal, ""), oneWrite)
			c.hearsClose(CodeNormal)
		}
		large := stars(60_000)
		c, _ := n.connect(t, "", join(say(large), ping("p"), closing(3000, "")))
		c.hears(aText(large), aPong("p"))
		c.hearsClose(3000)
		c, _ = n.connect(t, "", closing(CodeNormal, ""))
		c.hearsClose(CodeNormal)
		c, _ = n.connect(t, "", join(rsv(finText, 1, "x"), say("never heard")))
		c.hearsClose(CodeProtocolError)
		c, _ = n.connect(t, "", []byte{finText, 0})
		c.hearsClose(CodeProtocolError)
	})
}
