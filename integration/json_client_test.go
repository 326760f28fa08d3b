package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/fasthttp/websocket"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/pushcart/pushcart/internal/sidecartest"
)

// jsonClient speaks pushcart.json.v1, and holds every message of both sides to the schema.
type jsonClient struct {
	t       *testing.T
	conn    *websocket.Conn
	welcome welcome
}

type jsonPlace struct {
	Offset uint64 `json:"offset"`
	Epoch  string `json:"epoch"`
}

type recovered struct {
	jsonPlace
	Recovered *bool
}

type welcome struct {
	ConnectionID string `json:"connection_id"`
	UserID       string `json:"user_id"`
	NodeID       string `json:"node_id"`
	Position     *recovered
	Channels     map[string]recovered
	Refused      map[string]string
}

const jsonV1 = "pushcart.json.v1"

var jsonDialer = &websocket.Dialer{HandshakeTimeout: dialer.HandshakeTimeout, Subprotocols: []string{jsonV1}}

// talk opens a connection; query may be "", and token too.
func talk(t *testing.T, s *sidecartest.Sidecar, token, query string) *jsonClient {
	t.Helper()
	header := http.Header{}
	if token != "" {
		header = bearer(token)
	}
	conn, resp, err := jsonDialer.Dial("ws://"+s.Public+"/_push?"+query, header)
	if err != nil {
		if resp != nil {
			t.Fatalf("%v: %d %s", err, resp.StatusCode, readAll(resp.Body))
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &jsonClient{t: t, conn: conn}
	first := c.raw()
	if err := json.Unmarshal([]byte(first), &c.welcome); err != nil || !strings.HasPrefix(first, `{"type":"welcome",`) {
		t.Fatalf("got %s, %v", first, err)
	}
	return c
}

// resume is the query of a client that comes back.
func resume(doc string) string { return "resume=" + base64.RawURLEncoding.EncodeToString([]byte(doc)) }

// raw is the next message.
func (c *jsonClient) raw() string {
	c.t.Helper()
	kind, text := next(c.t, c.conn)
	if kind != websocket.TextMessage {
		c.t.Errorf("got kind %d", kind)
	}
	if err := fits("server", text); err != nil {
		c.t.Errorf("%s: %v", text, err)
	}
	return text
}

// next is the next message without what is another each time.
func (c *jsonClient) next() string { c.t.Helper(); return plain(c.raw()) }

// send says what must be right.
func (c *jsonClient) send(frame string) {
	c.t.Helper()
	if err := fits("client", frame); err != nil {
		c.t.Errorf("%s: %v", frame, err)
	}
	send(c.t, c.conn, websocket.TextMessage, frame)
}

func (c *jsonClient) ask(frame string) string { c.t.Helper(); c.send(frame); return c.next() }

// wants compares the next messages.
func (c *jsonClient) wants(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.next(); got != w {
			c.t.Errorf("got  %s\nwant %s", got, w)
		}
	}
}

// any compares them where they have no common order.
func (c *jsonClient) any(want ...string) {
	c.t.Helper()
	left := map[string]int{}
	for _, w := range want {
		left[w]++
	}
	for range want {
		got := c.next()
		if left[got]--; left[got] < 0 {
			c.t.Errorf("got %s, want one of %q", got, want)
		}
	}
}

// none wants nothing to have come.
func (c *jsonClient) none() {
	c.t.Helper()
	if got := c.ask(`{"type":"ping","id":"none"}`); got != `{"type":"pong","id":"none"}` {
		c.t.Errorf("got %s, want nothing", got)
	}
}

var (
	jsonTimes  = regexp.MustCompile(`,"time":"[^"]*"`)
	jsonIDs    = regexp.MustCompile(`"type":"message","id":"[^"]*"`)
	jsonEpochs = regexp.MustCompile(`"epoch":"[^"]*"`)
)

func plain(frame string) string {
	frame = jsonTimes.ReplaceAllString(frame, "")
	frame = jsonIDs.ReplaceAllString(frame, `"type":"message"`)
	return jsonEpochs.ReplaceAllString(frame, `"epoch":"e"`)
}

// fits holds a message to one part of the schema.
func fits(part, doc string) error {
	parts, err := schemaParts()
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(doc))
	if err != nil {
		return err
	}
	return parts[part].Validate(v)
}

var schemaParts = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	const name = "../protocol/json/schema.json"
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, doc); err != nil {
		return nil, err
	}
	parts := map[string]*jsonschema.Schema{}
	for _, part := range []string{"client", "server"} {
		if parts[part], err = c.Compile(name + "#/$defs/" + part); err != nil {
			return nil, err
		}
	}
	return parts, nil
})
