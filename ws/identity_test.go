package ws

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/protocol/raw"
)

// told is what these tests read of a connect event's body.
type told struct {
	Headers      map[string][]string
	Subprotocols []string
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
	asked := make(chan told, 1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("ce-type") == "pushcart.connect" {
			var body told
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
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Protocol") != raw.Name {
		t.Fatalf("got %d %v %s", resp.StatusCode, resp.Header, body)
	}
	got := <-asked
	if want := []string{"one", raw.Name, "three"}; !slices.Equal(got.Subprotocols, want) {
		t.Errorf("subprotocols: got %q, want %q", got.Subprotocols, want)
	}
	for _, name := range []string{"Cookie", "of the webhook"} {
		if want := []string{"a=1", "b=2"}; !slices.Equal(got.Headers[name], want) {
			t.Errorf("%s: got %q, want %q", name, got.Headers[name], want)
		}
	}
}
