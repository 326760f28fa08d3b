package redisfailures

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
)

const secret = "0123456789abcdef0123456789abcdef"

// token is a JWT of a user.
func token(user string) string {
	enc := base64.RawURLEncoding
	t := enc.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." +
		enc.EncodeToString(fmt.Appendf(nil, `{"sub":%q,"exp":%d}`, user, time.Now().Add(time.Hour).Unix()))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t))
	return t + "." + enc.EncodeToString(mac.Sum(nil))
}

// client speaks pushcart.json.v1, and notes what comes.
type client struct {
	user string
	node *sidecartest.Sidecar
	conn *websocket.Conn
	done chan struct{} // closed when the connection ended

	mu         sync.Mutex // guards all below
	id         string
	channels   []string // that it wants, by the id of its request
	subscribed map[string]place
	got        map[string][]received
	probes     map[string]time.Time // when the last came, by the node that sent it
	left       bool                 // it ended the connection itself
	ended      error
}

type place struct {
	Offset uint64
	Epoch  string
}

// received is a message as it came, or a gap.
type received struct {
	gap    bool
	offset uint64
	number int
}

var dialer = &websocket.Dialer{HandshakeTimeout: 15 * time.Second, Subprotocols: []string{"pushcart.json.v1"}}

// dial connects a user, and asks for channels.
func dial(node *sidecartest.Sidecar, user string, channels ...string) (*client, error) {
	conn, resp, err := dialer.Dial("ws://"+node.Public+"/_push", http.Header{"Authorization": {"Bearer " + token(user)}})
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%d", resp.StatusCode)
		}
		return nil, err
	}
	c := &client{user: user, node: node, conn: conn, done: make(chan struct{}), channels: channels,
		subscribed: map[string]place{}, got: map[string][]received{}, probes: map[string]time.Time{}}
	go c.read()
	for i := range channels {
		c.subscribe(i)
	}
	return c, nil
}

func (c *client) subscribe(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"subscribe","id":%d,"channel":%q}`, i, c.channels[i]))
}

func (c *client) read() {
	defer close(c.done)
	for {
		_, b, err := c.conn.ReadMessage()
		if err != nil {
			c.mu.Lock()
			c.ended = err
			c.mu.Unlock()
			return
		}
		c.take(b)
	}
}

type frame struct {
	Type, Channel, Code string
	ID                  json.RawMessage
	Connection          string `json:"connection_id"`
	Position            place
	Offset              uint64
	Data                json.RawMessage
}

func (c *client) take(b []byte) {
	var f frame
	if err := json.Unmarshal(b, &f); err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f.Type {
	case "welcome":
		c.id = f.Connection
	case "ok":
		c.subscribed[f.Channel] = f.Position
	case "error": // of a subscribe: unavailable while Redis is away
		var i int
		if json.Unmarshal(f.ID, &i) == nil && f.Code == "unavailable" {
			time.AfterFunc(250*time.Millisecond, func() { c.subscribe(i) })
		}
	case "gap":
		c.got[f.Channel] = append(c.got[f.Channel], received{gap: true, offset: f.Position.Offset})
	case "message":
		var probe string
		if json.Unmarshal(f.Data, &probe) == nil {
			c.probes[probe] = time.Now()
			return
		}
		r := received{offset: f.Offset}
		_ = json.Unmarshal(f.Data, &r.number)
		c.got[f.Channel] = append(c.got[f.Channel], r)
	}
}

// ready: all that it asked for was granted.
func (c *client) ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id != "" && len(c.subscribed) == len(c.channels)
}

// identity is the id of its connection, and whether that ended.
func (c *client) identity() (id string, ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id, c.left || c.ended != nil
}

// facts are what the app hears of it, as keys of app.last.
func (c *client) facts() []string {
	keys := []string{"user " + c.user}
	c.mu.Lock()
	defer c.mu.Unlock()
	for channel := range c.subscribed {
		keys = append(keys, "channel "+channel+" ")
		if strings.HasPrefix(channel, "room.") {
			keys = append(keys, "presence "+channel+" "+c.user)
		}
	}
	return keys
}

// messages are what came on a channel.
func (c *client) messages(channel string) (since place, got []received) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subscribed[channel], append([]received(nil), c.got[channel]...)
}

// heard says whether a probe came.
func (c *client) heard(probe string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.probes[probe].IsZero()
}

// broke says why the connection ended though nobody ended it.
func (c *client) broke() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return nil
	}
	return c.ended
}

// leave ends the connection.
func (c *client) leave() {
	c.mu.Lock()
	c.left = true
	_ = c.conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""))
	c.mu.Unlock()
	select {
	case <-c.done:
	case <-time.After(5 * time.Second):
	}
	_ = c.conn.Close()
}

// wants says whether it asked for a channel.
func (c *client) wants(channel string) bool {
	return slices.Contains(c.channels, channel)
}
