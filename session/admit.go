package session

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/internal/traceparent"
	"github.com/pushcart/pushcart/webhook"
)

// registerWait is how long a handshake waits for the broker's confirmation that
// the user's pushes reach this node (SPEC §11 Handshake).
const registerWait = time.Second

// Handshake is a client's request to connect. Its memory is not retained.
type Handshake struct {
	Head *http1.Request
	From clientaddr.Origin
	// Timeout bounds how long all ways in together may take.
	Timeout time.Duration
	// Settings are what it is judged by; nil: the newest.
	Settings *Settings
}

// Admission is a client that may connect. Its transport calls, in this order, Begin,
// Keep, Join when the connection can take messages, and Open; or Cancel.
type Admission struct {
	// Subprotocol is the one to select, "" for none.
	Subprotocol string
	// SetCookie are lines of auth.forward for the client, which a refusal has too.
	SetCookie []string
	// Asked is how long the backend took to say who it is.
	Asked    time.Duration
	engine   *Engine
	set      *Settings // it was judged by
	from     clientaddr.Origin
	member   hub.Member
	protocol uint8
	host     hosts
	more     *extra
	resume   *Resume // nil: the protocol follows no streams
	identity *identity
	held     held
}

// held is what an admission has of the limits.
type held struct {
	total, ip, seat bool
}

// admitting is a handshake under way, in the order of SPEC §4.1.
type admitting struct {
	*Admission
	head   *http1.Request
	offers []string // of Sec-WebSocket-Protocol
}

// Admit judges a handshake whose form the transport has checked: draining and
// limits, Origin, the ways in, and the user's limit. It may wait until ctx ends, which
// is when the client has left or the node drains.
func (e *Engine) Admit(ctx context.Context, h Handshake) (*Admission, *Refusal) {
	a := &Admission{
		engine: e, set: cmp.Or(h.Settings, e.settings.Load()), from: h.From.AsRequest(),
		host: hosts{asked: h.From.AsRequest().Host, sent: string(h.Head.Host)},
	}
	w := &admitting{
		Admission: a, head: h.Head, offers: slices.Collect(http1.Items(h.Head.Joined("Sec-WebSocket-Protocol"))),
	}
	admitted := false
	defer func() { // also after a panic
		if !admitted {
			a.Cancel()
		}
	}()
	r := w.judge(ctx, h.Timeout)
	if r == nil {
		admitted = true
		return a, nil
	}
	if ctx.Err() != nil {
		r = e.interrupted()
	}
	r.SetCookie, r.Asked = a.SetCookie, a.Asked
	return nil, r
}

// Who returns the connection's id and the user.
func (a *Admission) Who() (connection, user string) { return a.member.ID(), a.identity.user }

// interrupted is what a handshake comes to that gave up waiting.
func (e *Engine) interrupted() *Refusal {
	if e.draining.Load() {
		return goingAway()
	}
	return &Refusal{Result: ResultLeft}
}

func (w *admitting) judge(ctx context.Context, timeout time.Duration) *Refusal {
	if r := w.enter(); r != nil {
		return r
	}
	if r := w.checkOrigin(); r != nil {
		return r
	}
	w.member = w.engine.hub.NewMember()
	if w.set.named() { // else nothing is waited for, and a timer costs
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	id, r := w.identify(ctx)
	if r != nil {
		return r
	}
	w.identity = id
	if r := w.chooseProtocol(); r != nil {
		return r
	}
	if r := w.readResume(); r != nil {
		return r
	}
	if r := w.keep(); r != nil {
		return r
	}
	if w.set.limits.ConnectionsPerUser == 0 {
		return nil
	}
	if w.held.seat = w.engine.users.enter(id.user, &w.member); !w.held.seat {
		return Refuse("limit", apierror.RateLimited, "too many connections of this user").
			look("limits.connections_per_user").after(5)
	}
	return nil
}

// enter is step 2: draining, and the limits that need no user.
func (w *admitting) enter() *Refusal {
	e := w.engine
	if e.draining.Load() {
		return goingAway()
	}
	if w.held.total = e.occupancy.enter(w.set.limits.Connections); !w.held.total {
		return Refuse("limit", apierror.Unavailable, "the node is full").look("limits.connections").after(5)
	}
	limit, counted := e.occupancy.enterIP(w.from.IP, &w.set.limits)
	if limit != "" {
		return Refuse("rate", apierror.RateLimited, "too many connections from this address").
			look(w.orProxies(limit)).after(1)
	}
	w.held.ip = counted
	return nil
}

func goingAway() *Refusal {
	return Refuse("draining", apierror.Unavailable, "the node is going away").after(1)
}

// GoingAway is the refusal while the node stops.
func (a *Admission) GoingAway() *Refusal {
	r := goingAway()
	r.SetCookie = a.SetCookie
	return r
}

// checkOrigin is step 3.
func (w *admitting) checkOrigin() *Refusal {
	origin, host := string(w.head.Get("Origin")), w.from.PublicHost()
	if w.head.Count("Origin") < 2 && w.set.origins.allow(origin, host) {
		return nil
	}
	r := Refuse("origin", apierror.Forbidden, fmt.Sprintf("Origin %s is not allowed for Host %s", quote(origin), quote(host)))
	r.cause = "Origin is not allowed"
	r.detail = fmt.Sprintf("Origin is %s, Host is %s", quote(origin), quote(host))
	return r.look(w.orProxies("websocket.allowed_origins"))
}

// orProxies also names trusted_proxies where the request came through a proxy that
// is not trusted.
func (w *admitting) orProxies(keys string) string {
	through := w.head.Count("X-Forwarded-For")+w.head.Count("X-Forwarded-Host") > 0
	if through && w.from.ForwardedFor == w.from.IP.String() {
		return keys + ", trusted_proxies"
	}
	return keys
}

// maxKeptHeaders bounds webhook.forward_headers.message per connection (SPEC §3).
const maxKeptHeaders = 4 << 10

// keep collects what this session has beyond others.
func (w *admitting) keep() *Refusal {
	m := &extra{state: w.identity.state, trace: w.trace()}
	if w.from.ForwardedFor != w.from.IP.String() {
		m.forwardedFor = w.from.ForwardedFor
	}
	var size int
	if m.header, size = w.forwardHeaders(w.set.forMessage); size > maxKeptHeaders {
		r := Refuse("bad_request", apierror.TooLarge, "the headers to keep for the backend are larger than 4 KiB").
			look("webhook.forward_headers.message")
		r.Status = http.StatusRequestHeaderFieldsTooLarge
		return r
	}
	if w.resume != nil {
		m.dialog = w.engine.newDialog(w.identity)
	}
	if w.identity.info != nil {
		m.info = &w.identity.info
	}
	if m.info != nil || m.forwardedFor != "" || m.header != nil || m.state != nil || m.trace != nil || m.dialog != nil {
		w.more = m
	}
	return nil
}

// maxTraceState is what W3C asks everybody to pass on at least.
const maxTraceState = 512

// trace is the trace that a trusted proxy says the handshake is part of; from others it
// is not believed, as they could have any request recorded.
func (w *admitting) trace() *webhook.Trace {
	if !w.from.Trusted || w.head.Count("traceparent") != 1 {
		return nil
	}
	parent, ok := traceparent.Keep(string(w.head.Get("traceparent")))
	if !ok {
		return nil
	}
	t := &webhook.Trace{Parent: parent}
	if state := w.head.Joined("tracestate"); len(state) <= maxTraceState {
		t.State = state
	}
	return t
}

func (w *admitting) forwardHeaders(wanted []string) (fields []webhook.Field, size int) {
	for _, name := range wanted {
		if strings.EqualFold(name, "baggage") && !w.from.Trusted { // part of the trace, too
			continue
		}
		for _, f := range w.head.Fields {
			if http1.EqualFold(f.Name, name) {
				fields = append(fields, webhook.Field{Name: name, Value: string(f.Value)})
				size += len(name) + len(f.Value)
			}
		}
	}
	return fields, size
}

// Begin makes the session of the admission's connection; secure says that it came
// over TLS.
func (a *Admission) Begin(s *Session, secure bool) {
	s.member, s.remote, s.host = a.member, a.from.IP.As16(), unique.Make(a.host)
	s.secure, s.protocol = secure || a.from.Secure(), a.protocol
	if a.held.ip {
		s.counted = counted
	}
	s.sequence.Store(1) // connect was the first
	s.ExpireAt(a.identity.expires)
	if a.more != nil {
		s.more.Store(a.more)
	}
}

// Keep transfers the admission's share of the limits to its session; [Engine.Released]
// gives it back.
func (a *Admission) Keep() { a.held = held{} }

// Cancel gives back the admission's share of the limits, unless Keep was called. It may
// be called on nil.
func (a *Admission) Cancel() {
	if a == nil {
		return
	}
	if a.held.seat {
		a.engine.users.leave(a.identity.user, &a.member)
	}
	if a.held.total {
		a.engine.occupancy.release(a.from.IP, a.held.ip)
	}
	a.held = held{}
}

// Join registers the connection with the hub, so that pushes reach it from now on, and
// waits briefly for the broker's confirmation. A cause means that it must end at once.
func (a *Admission) Join(ctx context.Context, t Transport) *hub.Cause {
	e, m := a.engine, t.Member()
	if a.resume != nil {
		e.hub.Enter(t, a.identity.user) // Open subscribes it
	} else {
		a.subscribe(ctx, t)
	}
	if a.set != e.settings.Load() { // a reload came between, perhaps with limits
		e.adopt(t)
	}
	switch {
	case e.users.arrived(m):
		return &hub.Cause{Why: hub.Replaced}
	case e.draining.Load(): // perhaps the drain looked before the transport had it
		return &hub.Cause{Why: hub.Draining}
	}
	return nil
}

// subscribe joins a connection that follows no streams.
func (a *Admission) subscribe(ctx context.Context, t Transport) {
	if a.identity.user != "" || len(a.identity.channels) > 0 { // else the broker is not asked
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, registerWait)
		defer cancel()
	}
	if err := a.engine.hub.Join(ctx, t, a.identity.user, a.identity.channels); err != nil {
		a.engine.log.Debug("connection registered without the broker", "conn", t.Member().ID(), "err", err)
	}
	a.engine.hub.JoinLasting(ctx, t)
}

// Open starts the session's protocol and notifies the backend. It returns the first
// frames to write.
func (a *Admission) Open(s *Session, t Transport) []Frame {
	e := a.engine
	o := Opening{First: a.identity.messages}
	if a.resume != nil {
		o = a.begin(s, t)
	}
	first := e.protocols[s.protocol].Open(e, s, &o)
	e.Opened(s)
	e.metrics.Connects.WithLabelValues("ok").Inc()
	return first
}

// Released gives back a session's share of the limits, when its socket is closed.
func (e *Engine) Released(s *Session) { e.occupancy.left(s) }
