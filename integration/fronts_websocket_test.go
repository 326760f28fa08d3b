package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// knows opens a WebSocket through the front from another address of this machine, and
// returns it with its id at the node.
func (f front) knows(t *testing.T, s *sidecartest.Sidecar, address string) (c *websocket.Conn, id string) {
	t.Helper()
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	d := websocket.Dialer{HandshakeTimeout: 15 * time.Second, NetDialContext: from.DialContext, Subprotocols: []string{"pushcart.json.v1"}}
	c, _, err := d.Dial("ws://"+address+"/_push", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	var welcome struct {
		ConnectionID string `json:"connection_id"`
	}
	if _, text := next(t, c); json.Unmarshal([]byte(text), &welcome) != nil || welcome.ConnectionID == "" {
		t.Fatalf("the first frame is %s", text)
	}
	return c, welcome.ConnectionID
}

// checkClient: limits by address, and the app, go by who the client is.
func (f front) checkClient(t *testing.T, s *sidecartest.Sidecar, address string) {
	t.Helper()
	_, id := f.knows(t, s, address)
	if _, body := s.API("GET", "/v1/connections/"+id, ""); !strings.Contains(body, `"remote_ip":"127.0.0.9"`) {
		t.Errorf("the client came from 127.0.0.9, the node has %s", body)
	}
}

// checkCloseCodes: they tell a client whether to come back, and the app why it left.
func (f front) checkCloseCodes(t *testing.T, s *sidecartest.Sidecar, app *frontApp, address string) {
	t.Helper()
	c, id := f.knows(t, s, address)
	if status, body := s.API("POST", "/v1/connections/"+id+"/disconnect", `{"code":4107,"reason":"see you"}`); status != http.StatusOK {
		t.Fatalf("disconnect: %d %s", status, body)
	}
	_ = c.SetReadDeadline(time.Now().Add(15 * time.Second))
	_, _, err := c.ReadMessage()
	if closed := new(websocket.CloseError); !errors.As(err, &closed) || closed.Code != 4107 || closed.Text != "see you" {
		t.Errorf("the app closed it with 4107 and a reason, the client got %v", err)
	}
	c, _ = f.knows(t, s, address)
	if err := c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "bye")); err != nil {
		t.Fatal(err)
	}
	if code := closed(t, c); code != 4321 {
		t.Errorf("the client closed it with 4321 and was answered %d", code)
	}
	testkit.Eventually(t, "the app hears 4321", func() bool { return app.told(`"code":4321,"reason":"bye"`) })
}

// told says whether the app got a webhook with this in it.
func (a *frontApp) told(text string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Contains(a.webhooks, text)
}

// quick makes a front's timeouts two seconds; those of a front that has none by itself, and
// in no snippet, stay as they are.
func (f front) quick() front {
	config, args := f.config, f.args
	f.config = func(snippet, dir, host, port string) string {
		text := config(snippet, dir, host, port)
		text = strings.NewReplacer("75s", "2s", "ProxyTimeout 75", "ProxyTimeout 2").Replace(text)
		if f.name == "lighttpd" {
			text += "server.max-read-idle = 2\nserver.max-write-idle = 2\n"
		}
		return text
	}
	f.args = func(file, dir, host, port string) []string {
		out := args(file, dir, host, port)
		if f.name == "varnishd" {
			out = append(out, "-p", "pipe_timeout=2")
		}
		return out
	}
	return f
}

// TestFronts_PingsKeepQuietWebSocketsAlive: with timeouts of two seconds, one that is pinged
// more often outlives them, and one that is not is cut.
func TestFronts_PingsKeepQuietWebSocketsAlive(t *testing.T) {
	yaml := "\nwebsocket: {ping_interval: %s, pong_timeout: 650ms}"
	pinged, silent := sidecartest.Start(t, anonymous+fmt.Sprintf(yaml, "700ms")), sidecartest.Start(t, anonymous+fmt.Sprintf(yaml, "1h"))
	for _, f := range fronts {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			f := f.quick()
			first, second := f.start(t, pinged.Public), f.start(t, silent.Public)
			alive, cut := f.open(t, first), f.open(t, second)
			pings := make(chan bool, 100)
			alive.SetPingHandler(func(text string) error {
				pings <- true
				return alive.WriteControl(websocket.PongMessage, []byte(text), time.Now().Add(time.Second))
			})
			ended := make(chan error, 1)
			go func() {
				_, _, err := alive.ReadMessage()
				ended <- err
			}()
			for range 5 { // 3.5 s
				select {
				case <-pings:
				case err := <-ended:
					t.Fatalf("the one that is pinged was cut: %v", err)
				case <-time.After(15 * time.Second):
					t.Fatal("no ping came")
				}
			}
			if f.name == "apache2" || f.name == "caddy" || f.name == "lighttpd" {
				return // these versions cut none
			}
			_ = cut.SetReadDeadline(time.Now().Add(15 * time.Second))
			var late net.Error
			if _, _, err := cut.ReadMessage(); err == nil || errors.As(err, &late) && late.Timeout() {
				t.Errorf("the one that is not pinged: %v", err)
			}
		})
	}
}

func (f front) open(t *testing.T, address string) *websocket.Conn {
	t.Helper()
	c, _, err := dialer.Dial("ws://"+address+"/_push", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// nginx takes 512 connections, two for each WebSocket, unless it is told otherwise.
func TestFronts_NginxHoldsAsManyAsTheDocsSay(t *testing.T) {
	s := sidecartest.Start(t, anonymous)
	f := fronts[0]
	config := f.config
	f.config = func(snippet, dir, host, port string) string {
		main := docBlocks(t, "fronts.md", "nginx")[1]
		return strings.Replace(config(snippet, dir, host, port), "events {}", main, 1)
	}
	address := f.start(t, s.Public)
	var waits sync.WaitGroup
	places := make(chan bool, 20)
	for range 600 {
		places <- true
		waits.Go(func() {
			defer func() { <-places }()
			c, _, err := dialer.Dial("ws://"+address+"/_push", nil)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		})
	}
	waits.Wait()
}
