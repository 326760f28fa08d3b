package listen

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestMain(m *testing.M) { leak.Main(m) }

// server hands each WebSocket to do.
func server(t *testing.T, do func(*websocket.Conn)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u websocket.Upgrader
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		do(c)
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

func TestRun_SaysHowItEnded(t *testing.T) {
	f := func(want Closed, do func(*websocket.Conn)) {
		t.Helper()
		var out, notes testkit.Log
		err := Run(t.Context(), Dial{URL: server(t, do) + "/?secret=1"}, Options{In: strings.NewReader(""), Out: &out, Notes: &notes})
		var closed *Closed
		if !errors.As(err, &closed) || *closed != want {
			t.Errorf("got %v, want %v", err, &want)
		}
		if notes.Has("secret") {
			t.Errorf("the query is shown: %s", &notes)
		}
	}
	f(Closed{1006, ""}, func(*websocket.Conn) {})
	f(Closed{1012, "node restarts"}, func(c *websocket.Conn) {
		_ = c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1012, "node restarts"))
	})
	f(Closed{1005, ""}, func(c *websocket.Conn) { _ = c.WriteMessage(websocket.CloseMessage, nil) })
	f(Closed{4100, "\\x1b[2J"}, func(c *websocket.Conn) {
		_ = c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4100, "\x1b[2J"))
	})
}

// What the server said last is heard although the line could not be sent any more.
func TestRun_HearsTheCloseBehindAFailedSend(t *testing.T) {
	url := server(t, func(c *websocket.Conn) {
		_, _, _ = c.ReadMessage()
		_ = c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(3000, "token expired"))
	})
	var out, notes testkit.Log
	err := Run(t.Context(), Dial{URL: url}, Options{In: strings.NewReader(strings.Repeat("a line\n", 100_000)), Out: &out, Notes: &notes})
	var closed *Closed
	if !errors.As(err, &closed) || closed.Code != 3000 && closed.Code != 1006 { // a reset may overtake the Close
		t.Errorf("got %v", err)
	}
}

func TestRun_OffersTheProtocolsName(t *testing.T) {
	offered := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		offered <- r.Header.Get("Sec-WebSocket-Protocol")
		http.Error(w, "{}", http.StatusTeapot)
	}))
	defer s.Close()
	d := Dial{URL: "ws" + strings.TrimPrefix(s.URL, "http"), Protocol: Protocol{Name: "other", Subprotocol: "other.v1"}}
	err := Run(t.Context(), d, Options{In: strings.NewReader("")})
	var refused *Refused
	if !errors.As(err, &refused) || refused.Status != http.StatusTeapot || refused.Message != "I'm a teapot" || <-offered != "other.v1" {
		t.Errorf("got %v", err)
	}
}

func FuzzSafe_DrivesNoTerminal(f *testing.F) {
	for _, seed := range []string{"plain", "a\nb\tc", "\x1b[2J", "\x9b2J", "\u009b2J", "\r\x00\xff", "日本"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := safe(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, drives) {
			t.Errorf("%q became %q", text, got)
		}
		if utf8.ValidString(text) && !strings.ContainsFunc(text, drives) && got != text {
			t.Errorf("%q became %q", text, got)
		}
	})
}
