package json

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	stdjson "encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/auth"
	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
	"github.com/pushcart/pushcart/session"
	"github.com/pushcart/pushcart/webhook"
)

func TestMain(m *testing.M) { leak.Main(m) }

// rig is a node without sockets: sessions over a hub in memory, and an app.
type rig struct {
	t      *testing.T
	engine *session.Engine
	hub    *hub.Hub

	mu     sync.Mutex // guards all below
	asked  []string   // events of the app: name, event, body
	answer func(w http.ResponseWriter, event, body string)
}

const tokenSecret = "0123456789abcdef0123456789abcdef"

// keeping is how many messages are kept.
const keeping = 50

func newRig(t *testing.T, change func(*config.Config)) *rig {
	t.Helper()
	return newRigOver(t, memory.New(), change)
}

func newRigOver(t *testing.T, b hub.Broker, change func(*config.Config)) *rig {
	t.Helper()
	r := &rig{t: t}
	app := httptest.NewServer(http.HandlerFunc(r.serve))
	cfg := config.Default()
	cfg.Auth.Anonymous, cfg.Auth.JWT.Secret = true, tokenSecret
	cfg.Webhook.URL, cfg.Webhook.Events, cfg.Webhook.Unsigned = app.URL, []string{"message", "subscribe", "publish"}, true
	keep := config.History{Messages: keeping, Age: time.Hour}
	cfg.Users = config.Users{History: keep, Publish: config.AnyUser}
	cfg.Channels = []config.ChannelRule{
		{Match: "mine.{user}.**", Subscribe: config.AnyUser, Publish: config.AnyUser},
		{Match: "open.**", Subscribe: config.Anyone, Publish: config.Anyone, History: keep},
		{Match: "users.*", Subscribe: config.AnyUser, Publish: config.AnyUser},
		{Match: "asked.*", Subscribe: config.ByWebhook, Publish: config.ByWebhook, History: keep},
		{Match: "none.*", Subscribe: config.Nobody, Publish: config.Nobody},
		{Match: "plain.*", Subscribe: config.Anyone, Publish: config.Granted},
		{Match: "**", Subscribe: config.Granted, Publish: config.Granted, History: keep},
	}
	if change != nil {
		change(&cfg)
	}
	log, m := slog.New(slog.DiscardHandler), metrics.New("test", "")
	r.hub = hub.NewHub(b, ids.NewNode(), m, log)
	rules, err := hub.NewRules(cfg.Channels, cfg.Users, cfg.Limits)
	must(t, err)
	r.hub.Apply(rules)
	must(t, r.hub.Start(t.Context()))
	verifies, err := auth.New(cfg.Auth, cfg.Backend, log)
	must(t, err)
	hooks, err := webhook.NewSettings(cfg.Webhook, cfg.Backend)
	must(t, err)
	settings, err := session.NewSettings(session.Sections{
		WebSocket: cfg.WebSocket, Auth: cfg.Auth, Webhook: cfg.Webhook, Limits: cfg.Limits, Channels: cfg.Channels, Users: cfg.Users,
	}, verifies, hooks)
	must(t, err)
	d := webhook.New(hooks, r.hub.NodeID(), m, log)
	r.engine = session.NewEngine(session.Options{
		Settings: settings, Hub: r.hub, Webhooks: d, Protocols: []session.Named{{Name: Name, Protocol: Protocol{}}},
		RequestsInFlight: cfg.WebSocket.RequestsInFlight, Metrics: m, Log: log,
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = d.Close(ctx)
		r.engine.Close()
		verifies.Close()
		must(t, r.hub.Close())
		app.Close()
	})
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) serve(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	event := strings.TrimPrefix(q.Header.Get("ce-type"), "pushcart.")
	r.mu.Lock()
	r.asked = append(r.asked, strings.TrimSpace(event+" "+q.Header.Get("ce-event"))+" "+q.Header.Get("Content-Type")+" "+string(body))
	answer := r.answer
	r.mu.Unlock()
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(w, event, string(body))
}

// app sets what the app answers.
func (r *rig) app(answer func(w http.ResponseWriter, event, body string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// events are those that the app was asked about.
func (r *rig) events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.asked...)
}

// push is one of the backend.
func (r *rig) push(p hub.Push) hub.Published {
	r.t.Helper()
	var out [1]hub.Published
	r.hub.Publish(r.t.Context(), []*hub.Push{&p}, out[:])
	if out[0].Err != nil {
		r.t.Fatal(out[0].Err)
	}
	return out[0]
}

// say pushes JSON to a channel.
func (r *rig) say(channel, data string) hub.Published {
	r.t.Helper()
	return r.push(hub.Push{To: hub.Targets{Channels: []string{"channel:" + channel}}, Kind: hub.JSON, Data: []byte(data)})
}

// token signs claims.
func token(claims string) string {
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + enc.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(tokenSecret))
	mac.Write([]byte(signed))
	return signed + "." + enc.EncodeToString(mac.Sum(nil))
}

// for an hour
func tokenFor(user string, channels ...string) string {
	list, _ := stdjson.Marshal(append([]string{}, channels...))
	return token(fmt.Sprintf(`{"sub":%q,"channels":%s,"exp":%d}`, user, list, time.Now().Add(time.Hour).Unix()))
}

// client is a connection without a socket.
type client struct {
	t       *testing.T
	rig     *rig
	session session.Session

	mu    sync.Mutex // guards all below
	got   []string
	read  int
	holds int
	bytes int
	ended *hub.Cause
}

var _ session.Transport = (*client)(nil)

func (c *client) Member() *hub.Member               { return c.session.Member() }
func (c *client) Session() *session.Session         { return &c.session }
func (c *client) Info() hub.Info                    { return c.rig.engine.Describe(&c.session) }
func (c *client) SetState(state stdjson.RawMessage) { c.rig.engine.SetState(&c.session, state) }
func (c *client) PresenceInfo() []byte              { return c.session.PresenceInfo() }
func (c *client) Reschedule()                       {}
func (c *client) Room() (messages, bytes int)       { return 128, 1 << 19 }
func (c *client) OnRoom(func()) bool                { return false }
func (c *client) Hold()                             { c.add(&c.holds, 1) }
func (c *client) Resume()                           { c.add(&c.holds, -1) }
func (c *client) Charge(bytes int)                  { c.add(&c.bytes, bytes) }

func (c *client) add(to *int, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*to += n
}

func (c *client) Write(p []byte, kind hub.Kind) {
	if kind != hub.Text {
		c.t.Errorf("kind %v", kind)
	}
	mustFit(c.t, p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.got = append(c.got, string(p))
	}
}

func (c *client) Send(batch []*hub.Message) {
	for _, m := range batch {
		p, kind := Protocol{}.Payload(m)
		c.Write(p, kind)
		m.Done(hub.Written)
	}
}

func (c *client) End(cause *hub.Cause) {
	c.mu.Lock()
	first := c.ended == nil
	if first {
		c.ended = cause
	}
	c.mu.Unlock()
	if first {
		c.rig.engine.Ended(&c.session, c, cause)
		c.rig.engine.Released(&c.session)
	}
}

// try asks to be let in.
func (r *rig) try(token, query string) (*client, *session.Refusal) {
	head := &http1.Request{}
	q := "?" + query
	if token != "" {
		q += "&access_token=" + token
	}
	must(r.t, http1.ParseRequest([]byte("GET /_push"+q+" HTTP/1.1\r\nHost: app\r\nSec-WebSocket-Protocol: "+Name+"\r\n\r\n"), head))
	ip := netip.MustParseAddr("10.0.0.1")
	a, refusal := r.engine.Admit(r.t.Context(), session.Handshake{
		Head: head, Timeout: 20 * time.Second, From: clientaddr.Origin{IP: ip, ForwardedFor: ip.String(), Proto: "http", Host: "app"},
	})
	if refusal != nil {
		return nil, refusal
	}
	c := &client{t: r.t, rig: r}
	a.Begin(&c.session, false)
	a.Keep()
	if cause := a.Join(r.t.Context(), c); cause != nil {
		c.End(cause)
	}
	c.open(a.Open(&c.session, c))
	r.t.Cleanup(func() { c.End(&hub.Cause{Why: hub.PeerClosed}) })
	return c, nil
}

// open writes what comes first before what was pushed meanwhile.
func (c *client) open(first []session.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pushed := c.got
	c.got = nil
	for _, f := range first {
		mustFit(c.t, f.Payload)
		c.got = append(c.got, string(f.Payload))
	}
	c.got = append(c.got, pushed...)
}

// join is a client that is let in, after its welcome.
func (r *rig) join(token, query string) (c *client, welcome string) {
	r.t.Helper()
	c, refusal := r.try(token, query)
	if refusal != nil {
		r.t.Fatalf("refused: %d %s", refusal.Status, refusal.Body)
	}
	return c, c.next()
}

// send has the client say something.
func (c *client) send(frame string) {
	Protocol{}.Input(c.rig.engine, &c.session, c, hub.Text, []byte(frame))
}

// ask sends and returns the next frame.
func (c *client) ask(frame string) string {
	c.t.Helper()
	c.send(frame)
	return c.next()
}

// next is the next frame; times and ids of messages are cut out.
func (c *client) next() string {
	c.t.Helper()
	ok := testkit.Until(func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.read < len(c.got)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ok {
		c.t.Fatalf("no frame after %q", c.got)
	}
	c.read++
	return plain(c.got[c.read-1])
}

// none wants nothing more to have come, after everything that it said was answered.
func (c *client) none() {
	c.t.Helper()
	if got := c.ask(`{"type":"ping","id":"none"}`); got != `{"type":"pong","id":"none"}` {
		c.t.Errorf("got %s, want nothing", got)
	}
}

// wants compares the next frames.
func (c *client) wants(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.next(); got != w {
			c.t.Errorf("got  %s\nwant %s", got, w)
		}
	}
}

// plain cuts out of a frame what is another each time.
func plain(frame string) string {
	frame = times.ReplaceAllString(frame, "")
	frame = messageIDs.ReplaceAllString(frame, `"type":"message"`)
	return epochs.ReplaceAllString(frame, `"epoch":"e"`)
}

var (
	times      = regexp.MustCompile(`,"time":"[^"]*"`)
	messageIDs = regexp.MustCompile(`"type":"message","id":"[^"]*"`)
	epochs     = regexp.MustCompile(`"epoch":"[^"]*"`)
)

func cut(s, from, to string) string {
	i := strings.Index(s, from)
	if i < 0 {
		return s
	}
	rest := s[i+len(from):]
	return s[:i] + rest[strings.Index(rest, to)+len(to):]
}
