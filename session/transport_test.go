package session

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testkit"
)

// tape is a transport that shares nothing with WebSockets: what an event stream needs
// of a session, and no more.
type tape struct {
	session Session
	engine  *Engine

	mu    sync.Mutex // guards all below
	wrote []string
	holds int
	bytes int // charged
	ended *hub.Cause
}

var _ Transport = (*tape)(nil)

func (c *tape) Member() *hub.Member              { return c.session.Member() }
func (c *tape) Session() *Session                { return &c.session }
func (c *tape) Info() hub.Info                   { return c.engine.Describe(&c.session) }
func (c *tape) SetState(state json.RawMessage)   { c.engine.SetState(&c.session, state) }
func (c *tape) PresenceInfo() []byte             { return c.session.PresenceInfo() }
func (c *tape) Write(payload []byte, _ hub.Kind) { c.write(string(payload)) }
func (c *tape) Hold()                            { c.hold(1) }
func (c *tape) Resume()                          { c.hold(-1) }
func (c *tape) Reschedule()                      {}
func (c *tape) say(kind hub.Kind, message string) {
	c.protocol().Input(c.engine, &c.session, c, kind, []byte(message))
}

func (c *tape) protocol() Protocol { return c.engine.Protocol(c.session.ProtocolIndex()) }

func (c *tape) Send(batch []*hub.Message) {
	for _, m := range batch {
		p, _ := c.protocol().Payload(m)
		c.write(string(p))
		m.Done(hub.Written)
	}
}

func (c *tape) write(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrote = append(c.wrote, s)
}

func (c *tape) hold(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds += n
}

func (c *tape) Room() (messages, bytes int) { return 128, 1 << 20 }
func (c *tape) OnRoom(func()) bool          { return false }

func (c *tape) Charge(bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += bytes
}

func (c *tape) End(cause *hub.Cause) {
	c.mu.Lock()
	first := c.ended == nil
	if first {
		c.ended = cause
	}
	c.mu.Unlock()
	if first {
		c.engine.Ended(&c.session, c, cause)
		c.engine.Released(&c.session)
	}
}

func (c *tape) got() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.wrote)
}

// open lets a tape in.
func open(t testing.TB, e *Engine, headers string) *tape {
	t.Helper()
	return openWith(t, e, handshakeWith(t, headers))
}

func openWith(t testing.TB, e *Engine, h Handshake) *tape {
	t.Helper()
	a, r := e.Admit(t.Context(), h)
	if r != nil {
		t.Fatalf("refused: %d %s", r.Status, r.Body)
	}
	c := &tape{engine: e}
	a.Begin(&c.session, false)
	a.Keep()
	if cause := a.Join(t.Context(), c); cause != nil {
		c.End(cause)
	}
	for _, f := range a.Open(&c.session, c) {
		c.Write(f.Payload, f.Kind)
	}
	return c
}

// plain is a protocol that shows each call.
type plain struct{}

func (plain) Resume([]byte) (*Resume, error) { return nil, nil }

func (plain) Open(_ *Engine, _ *Session, o *Opening) []Frame {
	var frames []Frame
	for _, m := range o.First {
		frames = append(frames, Frame{hub.Text, append([]byte("first "), m...)})
	}
	return frames
}

func (plain) Input(e *Engine, s *Session, t Transport, kind hub.Kind, p []byte) {
	e.Ask(s, t, kind, p, func(a Answer, err error) {
		if err != nil {
			t.End(&hub.Cause{Why: hub.NoAnswer})
			return
		}
		t.Write(append([]byte("reply "), a.Body...), hub.Text)
	})
}

func (plain) Payload(m *hub.Message) ([]byte, hub.Kind) {
	return append([]byte("push "), m.Data...), m.Kind
}
func (plain) Code(c *hub.Cause) (code int, reason string) { return 7000 + int(c.Why), "so it is" }

// A second transport needs nothing of ws: it is let in, gets pushes, asks the backend
// and is told about.
func TestTransport_NeedsNothingOfWebSockets(t *testing.T) {
	told := make(chan string, 16)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch kind := strings.TrimPrefix(r.Header.Get("ce-type"), "pushcart."); kind {
		case "connect":
			_, _ = io.WriteString(w, `{"user_id":"ann","channels":["news"],"state":{"n":1},"messages":["hi"]}`)
		case "message":
			_, _ = io.WriteString(w, strings.ToUpper(string(body))+" "+r.Header.Get("ce-sequence")[19:])
		default:
			told <- kind + " " + r.Header.Get("ce-userid") + " " + string(body)
		}
	}))
	defer app.Close()
	e := newTestEngine(t, func(c *config.Config) {
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = app.URL, []string{"*"}, true
	})
	one, two := open(t, e, ""), open(t, e, "")
	if got := <-told; !strings.HasPrefix(got, `connected ann {"connection_id":`) {
		t.Errorf("told %s", got)
	}
	out := make([]hub.Published, 1)
	e.Hub().Publish(t.Context(), []*hub.Push{{To: hub.Targets{Channels: []string{"channel:news"}}, Data: []byte("x")}}, out)
	if out[0].Err != nil || out[0].Nodes != 1 {
		t.Errorf("push: %+v", out[0])
	}
	one.say(hub.Text, "hello")
	want := []string{`first "hi"`, "push x", "reply HELLO 3"}
	testkit.Eventually(t, "the reply", func() bool { return len(one.got()) == len(want) })
	if got := one.got(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := two.got(); !slices.Equal(got, want[:2]) {
		t.Errorf("the other got %q", got)
	}
	if i := one.Info(); i.UserID != "ann" || string(i.State) != `{"n":1}` || !slices.Equal(i.Channels, []string{"news"}) {
		t.Errorf("info: %+v", i)
	}
	<-told // the other's connected
	for cause, end := range map[string]func(){
		"drain":  func() { one.End(&hub.Cause{Why: hub.Draining}) },
		"client": func() { two.End(&hub.Cause{Why: hub.PeerClosed}) },
	} {
		end()
		if got := <-told; !strings.Contains(got, "disconnected ann ") || !strings.Contains(got, `"reason":"so it is"`) || !strings.Contains(got, cause) {
			t.Errorf("told %s, want cause %s", got, cause)
		}
	}
	if e.Sessions() != 0 || e.Hub().Connections() != 0 || one.holds != 0 || one.bytes != 0 {
		t.Errorf("%d sessions, %d connections, %d holds, %d bytes are left", e.Sessions(), e.Hub().Connections(), one.holds, one.bytes)
	}
}
