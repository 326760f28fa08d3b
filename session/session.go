package session

import (
	"encoding/json"
	"math"
	"net/netip"
	"sync/atomic"
	"time"
	"unique"

	"golang.org/x/time/rate"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/webhook"
)

// Session is one client's, embedded by value in the transport's connection so that
// it costs no extra allocation. It comes from [Admission.Session]; its methods
// may be called from any goroutine.
type Session struct {
	member   hub.Member
	remote   [16]byte             // IPv4 as mapped; a netip.Addr is 8 bytes more
	host     unique.Handle[hosts] // few hosts, many connections
	sequence atomic.Uint64        // of the last event (ce-sequence)
	more     atomic.Pointer[extra]
	secure   bool
	counted  count // among those of its address; occupancy's lock guards it
	protocol uint8 // index in Engine.protocols
	// expires is in Unix seconds, 0 for never.
	expires atomic.Uint32
}

// count says whether a session is counted for its address.
type count uint8

const (
	uncounted count = iota
	counted
	released
)

// hosts are the names that a handshake asked for: as X-Forwarded-Host says it to
// the backend, and as its Host header did.
type hosts struct{ asked, sent string }

// extra is what only some sessions have. It does not change but for the limiter and
// the dialog, which lock themselves: whoever changes something stores a new one.
type extra struct {
	forwardedFor string          // where it is more than the remote address
	header       []webhook.Field // kept for message events
	limiter      *rate.Limiter   // of limits.message_rate, from the first message on
	state        json.RawMessage
	trace        *webhook.Trace   // of a trusted proxy
	dialog       *dialog          // where the client makes requests
	info         *json.RawMessage // for presence; nil: nothing
}

// Expires is when the session ends, zero for never.
func (s *Session) Expires() time.Time {
	if at := s.expires.Load(); at != 0 {
		return time.Unix(int64(at), 0)
	}
	return time.Time{}
}

// ExpireAt sets when the session ends, rounded up to a second; zero means never, and so
// does any time beyond a uint32 of seconds (2106).
func (s *Session) ExpireAt(t time.Time) {
	at := max(1, t.Add(time.Second-1).Unix()) // 0 would be never
	if t.IsZero() || at > math.MaxUint32 {
		at = 0
	}
	s.expires.Store(uint32(at))
}

// ProtocolIndex names what the session speaks; see [Engine.Protocol].
func (s *Session) ProtocolIndex() uint8 { return s.protocol }

// Member is the hub's record.
func (s *Session) Member() *hub.Member { return &s.member }

// RemoteIP is the client's address.
func (s *Session) RemoteIP() netip.Addr { return netip.AddrFrom16(s.remote).Unmap() }

// Describe is the session as the API shows it, without what its transport counts.
func (e *Engine) Describe(s *Session) hub.Info {
	return hub.Info{
		ConnectionID: s.member.ID(), UserID: s.member.User(), NodeID: e.hub.NodeID(), Since: s.member.Since(),
		RemoteIP: s.RemoteIP().String(), Channels: s.member.Channels(), State: s.State(),
	}
}

// State is what the backend attached to the connection, nil for nothing (SPEC §5).
func (s *Session) State() json.RawMessage {
	if m := s.more.Load(); m != nil {
		return m.state
	}
	return nil
}

// SetState replaces the state of a connection.
func (e *Engine) SetState(s *Session, state json.RawMessage) {
	s.change(func(m *extra) { m.state = state })
	e.roster.change(s)
}

// PresenceInfo is what presence shows of the connection's user: JSON, nil for nothing.
func (s *Session) PresenceInfo() []byte {
	if m := s.more.Load(); m != nil && m.info != nil {
		return *m.info
	}
	return nil
}

// change stores another extra, which do may have been called for more than once.
func (s *Session) change(do func(m *extra)) *extra {
	for {
		old := s.more.Load()
		changed := extra{}
		if old != nil {
			changed = *old
		}
		do(&changed)
		if s.more.CompareAndSwap(old, &changed) {
			return &changed
		}
	}
}

// event is the connection's next event.
func (s *Session) event(name string) *webhook.Event {
	ev := s.about(name)
	ev.Sequence = s.sequence.Add(1)
	return ev
}

// about is an event of the connection, without its sequence.
func (s *Session) about(name string) *webhook.Event {
	host := s.host.Value()
	ev := &webhook.Event{
		Source: webhook.Source{
			ConnectionID: s.member.ID(), UserID: s.member.User(),
			ForwardedFor: s.RemoteIP().String(), Proto: "http",
			Host: host.asked, RequestHost: host.sent,
		},
		Name: name,
	}
	if s.secure {
		ev.Proto = "https"
	}
	if m := s.more.Load(); m != nil {
		ev.State = m.state
		if m.forwardedFor != "" {
			ev.ForwardedFor = m.forwardedFor
		}
		ev.Trace = m.trace
		switch name {
		case webhook.Message, webhook.Subscribe, webhook.Publish:
			ev.Header = m.header
		}
	}
	return ev
}
