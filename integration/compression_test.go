package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testbackend"
)

// Two clients of one user, one with compression and one without: both get and say
// the same.
func TestCompression_EndToEnd(t *testing.T) {
	app := testbackend.New(t)
	app.Script("message", func(w http.ResponseWriter, r *testbackend.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte("you said " + r.Body))
	})
	s := sidecartest.Start(t, "websocket: {compression: true}\nwebhook: {url: '"+app.URL+"/hook', unsigned: true, events: [message]}"+withJWT)
	long := strings.Repeat("all work and no play ", 100)
	for _, compression := range []bool{true, false} {
		d := websocket.Dialer{EnableCompression: compression}
		c, resp, err := d.Dial("ws://"+s.Public+"/_push", bearer(token("42", "news")))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if got := resp.Header.Get("Sec-WebSocket-Extensions"); (got != "") != compression {
			t.Errorf("extensions %q", got)
		}
		for _, text := range []string{"", "short", long} {
			send(t, c, websocket.TextMessage, text)
			if _, got := next(t, c); got != "you said "+text {
				t.Errorf("compression %v: %.40q came back as %.60q", compression, text, got)
			}
		}
		s.Pushed(t, `{"to":{"users":["42"]},"text":"`+long+`"}`)
		if _, got := next(t, c); got != long {
			t.Errorf("compression %v: pushed %.40q", compression, got)
		}
		if got := closedBy(t, c, strings.Repeat("x", 65<<10)); got != websocket.CloseMessageTooBig {
			t.Errorf("compression %v: closed with %d", compression, got)
		}
	}
}

// closedBy sends what is not taken and returns the close code.
func closedBy(t *testing.T, c *websocket.Conn, text string) int {
	t.Helper()
	send(t, c, websocket.TextMessage, text)
	return closed(t, c)
}
