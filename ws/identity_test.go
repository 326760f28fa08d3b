package ws

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
)

const tokenSecret = "0123456789abcdef0123456789abcdef"

// annsToken lets ann in until 2100, with a channel and a grant.
func annsToken(secret string) string {
	enc := base64.RawURLEncoding
	t := enc.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." +
		enc.EncodeToString([]byte(`{"sub":"ann","exp":4102444800,"channels":["token","more.*"]}`))
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(mac, t)
	return t + "." + enc.EncodeToString(mac.Sum(nil))
}

// ways are what the three ways in say; "" is a way that is not configured.
type ways struct {
	jwt       string // missing, bad, ann
	forward   string // 401, 403, 302, nobody, bob, down
	connect   string // 204, carol, channels, 403, 500
	anonymous bool
}

// app answers forward and the connect webhook by the last segment of the path.
type app struct {
	*httptest.Server
	asked atomic.Pointer[connectBody] // the last connect event
}

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/connect/") {
			var body connectBody
			_ = json.NewDecoder(r.Body).Decode(&body)
			a.asked.Store(&body)
		}
		switch r.URL.Path {
		case "/forward/bob":
			_, _ = io.WriteString(w, `{"id":"bob"}`)
		case "/connect/carol":
			_, _ = io.WriteString(w, `{"user_id":"carol","channels":["connect"]}`)
		case "/connect/channels":
			_, _ = io.WriteString(w, `{"channels":["connect"]}`)
		case "/forward/php":
			_, _ = io.WriteString(w, "\xef\xbb\xbf{\"id\":42}")
		case "/connect/php":
			_, _ = io.WriteString(w, "\xef\xbb\xbf"+`{"user_id":42,"channels":"news","expires_at":4102444800}`)
		case "/forward/twice":
			_, _ = io.WriteString(w, `{"id":"ann","id":"eve"}`)
		case "/connect/twice":
			_, _ = io.WriteString(w, `{"user_id":"ann","user_id":"eve"}`)
		case "/forward/nobody":
			_, _ = io.WriteString(w, `{}`)
		default:
			status, _ := strconv.Atoi(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
			w.WriteHeader(status)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

// identify goes through step 4 of a handshake.
func (a *app) identify(t *testing.T, w ways) (*identity, *refusal) {
	t.Helper()
	s, hub := newTestServer(t, func(c *config.Config) {
		c.Auth.Anonymous = w.anonymous
		if w.jwt != "" {
			c.Auth.JWT.Secret = tokenSecret
		}
		if w.forward != "" {
			c.Auth.Forward.URL, c.Auth.Forward.User = a.URL+"/forward/"+w.forward, "/id"
		}
		if w.forward == "down" {
			c.Auth.Forward.URL = "http://127.0.0.1:1/"
		}
		if w.connect != "" {
			c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = a.URL+"/connect/"+w.connect, []string{"connect"}, true
		}
	}, goEngine())
	defer closeServer(t, s, hub)
	defer s.auth.Close()
	head := handshook
	switch w.jwt {
	case "ann":
		head += "Authorization: Bearer " + annsToken(tokenSecret) + "\r\n"
	case "bad":
		head += "Authorization: Bearer " + annsToken("another") + "\r\n"
	}
	h := &handshake{srv: s, head: &http1.Request{}, member: s.hub.NewMember(), from: clientaddr.Origin{IP: netip.MustParseAddr("10.0.0.1")}}
	if err := http1.ParseRequest([]byte(head+"\r\n"), h.head); err != nil {
		t.Fatal(err)
	}
	return h.identify(t.Context())
}

// wanted is SPEC §4.1 step 4: who gets in as whom, or the status of the refusal.
func (w ways) wanted() (id identity, status int) {
	missing := http.StatusUnauthorized
	switch w.jwt {
	case "bad":
		return id, 401
	case "ann":
		id = identity{user: "ann", channels: []string{"token"}, expires: time.Unix(4102444800+30, 0)}
	}
	switch w.forward {
	case "":
	case "down":
		return id, 503
	case "bob":
		id.user = "bob"
	default: // a refusal takes what the token gave
		id = identity{}
		if w.forward == "403" {
			missing = 403
		}
	}
	switch w.connect {
	case "403":
		return id, 403
	case "500":
		return id, 503
	case "carol":
		id.user = "carol"
		id.channels = append(id.channels, "connect")
	case "channels":
		id.channels = append(id.channels, "connect")
	}
	alone := w.connect != "" && w.jwt == "" && w.forward == ""
	if id.user == "" && !w.anonymous && !alone {
		return id, missing
	}
	return id, 0
}

func TestIdentify_EveryCombinationOfWaysIn(t *testing.T) {
	a := newApp(t)
	for _, jwt := range []string{"", "missing", "bad", "ann"} {
		for _, forward := range []string{"", "401", "403", "302", "nobody", "bob", "down"} {
			for _, connect := range []string{"", "204", "carol", "channels", "403", "500"} {
				for _, anonymous := range []bool{false, true} {
					w := ways{jwt, forward, connect, anonymous}
					want, status := w.wanted()
					got, r := a.identify(t, w)
					switch {
					case r != nil && r.status != status, r == nil && status != 0:
						t.Errorf("%+v: got %+v, want status %d", w, r, status)
					case r == nil && (got.user != want.user || !slices.Equal(got.channels, want.channels) || !got.expires.Equal(want.expires)):
						t.Errorf("%+v: got %q %q %v, want %q %q %v", w, got.user, got.channels, got.expires, want.user, want.channels, want.expires)
					}
				}
			}
		}
	}
}

// With anonymous: true a connection that forward refused kept the channels of its
// token, and was closed when that expired.
func TestIdentify_ARefusalTakesWhatTheTokenGave(t *testing.T) {
	a := newApp(t)
	for _, forward := range []string{"401", "403", "500", "nobody"} {
		id, r := a.identify(t, ways{jwt: "ann", forward: forward, anonymous: true})
		if r != nil || id.user != "" || len(id.channels) > 0 || !id.expires.IsZero() || id.claims != nil {
			t.Errorf("forward %s: got %+v, %+v, want nothing of the token", forward, id, r)
		}
		// Nor does the backend hear of it as if it held.
		if _, r := a.identify(t, ways{jwt: "ann", forward: forward, connect: "carol"}); r != nil {
			t.Errorf("forward %s, connect carol: got %+v", forward, r)
		}
		if ev := a.asked.Load(); ev.UserID != "" || ev.Claims != nil {
			t.Errorf("forward %s: connect was told of %q with claims %s", forward, ev.UserID, ev.Claims)
		}
	}
}

// An app that renews its session with each answer gets its cookie through, whoever
// decides in the end.
func TestHandshake_ForwardsCookiesGoOut(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/me":
			w.Header().Add("Set-Cookie", "sid=2; Path=/")
			w.Header().Add("Set-Cookie", "old=; Max-Age=0")
			var status int
			if _, err := fmt.Sscanf(r.Header.Get("Cookie"), "status=%d", &status); err == nil {
				w.WriteHeader(status)
			}
			_, _ = io.WriteString(w, `{"id":"ann"}`)
		case "/connect":
			status := http.StatusNoContent
			if r.Header.Get("X-Deny") != "" {
				status = http.StatusTeapot
			}
			w.WriteHeader(status)
		default:
			_, _ = io.Copy(w, r.Body)
		}
	}))
	defer app.Close()
	n := newNode(t, roads[0], func(c *config.Config) {
		c.Auth.Anonymous = false
		c.Auth.Forward.URL, c.Auth.Forward.User = app.URL+"/me", "/id"
		c.Webhook.URL, c.Webhook.Events = app.URL+"/{event}", []string{"connect", "message"}
		c.Webhook.ForwardHeaders.Connect = []string{"X-Deny"}
	})
	f := func(status int, change ...string) {
		t.Helper()
		resp, body := n.ask(t, change...)
		if got := resp.Header["Set-Cookie"]; resp.StatusCode != status || !slices.Equal(got, []string{"sid=2; Path=/", "old=; Max-Age=0"}) {
			t.Errorf("%q: got %d %q %s, want %d with both cookies", change, resp.StatusCode, got, body, status)
		}
	}
	f(101)
	f(401, "+Cookie: status=401")
	f(403, "+Cookie: status=403")
	f(401, "+Cookie: status=500")
	f(418, "+X-Deny: yes")
}

// A header may come in several lines, HTTP/2 front ends make them of Cookie.
func TestConnect_TellsEveryLine(t *testing.T) {
	asked := make(chan connectBody, 1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("ce-type") == "pushcart.connect" {
			var body connectBody
			_ = json.NewDecoder(r.Body).Decode(&body)
			body.Headers["of the webhook"] = r.Header.Values("Cookie")
			asked <- body
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
	defer app.Close()
	n := newNode(t, roads[0], func(c *config.Config) {
		c.Webhook.URL, c.Webhook.Events = app.URL, []string{"connect", "message"}
	})
	resp, body := n.ask(t, "+Cookie: a=1", "+cookie: b=2", "+Sec-WebSocket-Protocol: one", "+Sec-WebSocket-Protocol: pushcart.raw.v1, three")
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Protocol") != protocolRaw {
		t.Fatalf("got %d %v %s", resp.StatusCode, resp.Header, body)
	}
	got := <-asked
	if want := []string{"one", protocolRaw, "three"}; !slices.Equal(got.Subprotocols, want) {
		t.Errorf("subprotocols: got %q, want %q", got.Subprotocols, want)
	}
	for _, name := range []string{"Cookie", "of the webhook"} {
		if want := []string{"a=1", "b=2"}; !slices.Equal(got.Headers[name], want) {
			t.Errorf("%s: got %q, want %q", name, got.Headers[name], want)
		}
	}
}
