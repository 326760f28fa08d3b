package ws

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/push"
)

// pushServer is a push API in front of a hub.
func pushServer(t *testing.T, h *hub.Hub) (url string) {
	t.Helper()
	api := push.NewAPI(push.APIOptions{Settings: push.NewSettings(config.Default().Push, config.Default().Limits, nil), MaxBody: config.MiB, Hub: h, Log: slog.New(slog.DiscardHandler)})
	ln := testkit.Listen(t)
	served := make(chan error, 1)
	go func() { served <- api.Serve(ln) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		_ = api.Shutdown(t.Context())
		_ = ln.Close()
		<-served
	})
	return "http://" + ln.Addr().String()
}

// What a reply or a pong found no room for ended the connection, and the pushes that
// waited in its outbox were forgotten: their publishers waited in vain.
func TestConn_PushesThatAReplyPushesOutHaveTheirOutcome(t *testing.T) {
	f := func(name string, fill func(*Conn)) {
		t.Helper()
		s, h := newTestServer(t, func(c *config.Config) { c.WebSocket.Outbox.Messages = 4 }, nil)
		defer closeServer(t, s, h)
		url := pushServer(t, h)
		_, client := openPipe(t, s)
		defer client.Close()
		var c *Conn
		s.engine.goLoop.each(func(found *Conn) { c = found })
		waiting := func(n int) func() bool {
			return func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return n == 0 && c.out == nil || c.out != nil && c.out.len() == n
			}
		}
		testkit.Eventually(t, "the 101 is out", waiting(0))
		c.reply(c.frameOf(textMessages(1, 8)[0])) // its writer holds this one, and nobody reads

		type answer struct{ Delivered, Slow int }
		answered := make(chan answer, 1)
		began := time.Now()
		go func() {
			var a answer
			defer func() { answered <- a }()
			resp, err := http.Post(url+"/v1/push", "application/json",
				strings.NewReader(`{"to":{"connections":["`+c.Member().ID()+`"]},"text":"x","wait":"20s"}`))
			if err != nil {
				return
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			_ = json.Unmarshal(body, &a)
		}()
		testkit.Eventually(t, "the push waits", waiting(2))
		for range 8 {
			fill(c)
		}
		if a := <-answered; a.Slow != 1 || a.Delivered != 0 || time.Since(began) > 15*time.Second {
			t.Errorf("%s: %+v after %v, want slow: 1 at once", name, a, time.Since(began))
		}
	}
	f("reply", func(c *Conn) { c.reply(c.frameOf(textMessages(1, 8)[0])) })
	f("pong", func(c *Conn) { c.pong(&turn{pongs: newFrame(opPong, []byte("?"))}) })
}
