package session

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
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
func (a *app) identify(t *testing.T, w ways) (*identity, *Refusal) {
	t.Helper()
	e := newTestEngine(t, func(c *config.Config) {
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
	})
	headers := ""
	switch w.jwt {
	case "ann":
		headers = "Authorization: Bearer " + annsToken(tokenSecret) + "\r\n"
	case "bad":
		headers = "Authorization: Bearer " + annsToken("another") + "\r\n"
	}
	h := handshakeWith(t, headers)
	m := &admitting{
		Admission: &Admission{engine: e, from: h.From, set: e.settings.Load(), member: e.hub.NewMember()}, head: h.Head,
	}
	ctx, cancel := context.WithTimeout(t.Context(), h.Timeout)
	defer cancel()
	return m.identify(ctx)
}

// wanted is SPEC §4.1 step 4: who gets in as whom, or the status of the refusal.
func (w ways) wanted() (id identity, status int) {
	missing := http.StatusUnauthorized
	switch w.jwt {
	case "bad":
		return id, 401
	case "ann":
		id = identity{user: "ann", subject: "ann", granted: []string{"token", "more.*"}, channels: []string{"token"}, expires: time.Unix(4102444800+30, 0)}
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
					case r != nil && r.Status != status, r == nil && status != 0:
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

// Ids are numbers, PHP sends one channel as a string, some write a byte order mark.
func TestIdentify_TakesWhatBackendsWrite(t *testing.T) {
	a := newApp(t)
	id, r := a.identify(t, ways{connect: "php"})
	if r != nil || id.user != "42" || len(id.channels) != 1 || id.channels[0] != "news" || id.expires.Unix() != 4102444800 {
		t.Errorf("connect: got %+v, %+v", id, r)
	}
	if id, r := a.identify(t, ways{forward: "php"}); r != nil || id.user != "42" {
		t.Errorf("forward: got %+v, %+v", id, r)
	}
	if _, r := a.identify(t, ways{connect: "twice", anonymous: true}); r == nil || r.Status != http.StatusServiceUnavailable {
		t.Errorf("a connect answer with two users: got %+v, want 503", r)
	}
	if _, r := a.identify(t, ways{forward: "twice"}); r == nil || r.Status != http.StatusUnauthorized {
		t.Errorf("a forward answer with two users: got %+v, want 401", r)
	}
}
