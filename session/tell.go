package session

import (
	"encoding/json"
	"time"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/webhook"
)

// Opened tells the backend that the client is let in.
func (e *Engine) Opened(s *Session) {
	if !e.wants(webhook.Connected) {
		s.sequence.Add(1)
		return
	}
	ev := s.event(webhook.Connected)
	ev.ContentType, ev.Body = contentJSON, []byte(`{"connection_id":"`+s.member.ID()+`"}`)
	e.hooks.Tell(ev)
}

// Ended forgets a connection whose socket is at its end, and tells the backend. The
// transport calls it once.
func (e *Engine) Ended(s *Session, t Transport, c *hub.Cause) {
	e.dropRequests(s, t)
	e.hub.Leave(t)
	e.users.leave(s.member.User(), &s.member)
	e.metrics.Disconnects.WithLabelValues(c.Why.Label()).Inc()
	if c.Why == hub.SlowConsumer {
		e.metrics.SlowConsumers.Inc()
	}
	if !e.wants(webhook.Disconnected) {
		return
	}
	code, reason := e.protocols[s.protocol].Code(c)
	body, err := json.Marshal(disconnected{
		Code: code, Reason: reason, Cause: c.Why.Label(), DurationMS: time.Since(s.member.Since()).Milliseconds(),
	})
	if err != nil { // numbers and strings only: cannot happen
		return
	}
	ev := s.event(webhook.Disconnected)
	ev.ContentType, ev.Body = contentJSON, body
	e.hooks.Tell(ev)
}

// disconnected is the body of that event (SPEC §5).
type disconnected struct {
	Code       int    `json:"code"`
	Reason     string `json:"reason"`
	Cause      string `json:"cause"`
	DurationMS int64  `json:"duration_ms"`
}
