package session

import (
	"time"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/webhook"
)

// Opened notifies the backend that the client has connected.
func (e *Engine) Opened(s *Session) {
	s.sequence.Add(1)
	var ev *webhook.Event
	if e.wants(webhook.Connected) {
		ev = s.about(webhook.Connected)
		ev.Sequence, ev.ContentType, ev.Body = connectedSequence, contentJSON, connectedBody(s)
	}
	e.roster.tellConnected(s, ev)
}

// Ended removes a connection whose socket has ended, and notifies the backend. The
// transport calls it once.
func (e *Engine) Ended(s *Session, t Transport, c *hub.Cause) {
	e.dropRequests(s, t)
	e.hub.Leave(t)
	e.users.leave(s.member.User(), &s.member)
	e.metrics.Disconnects.WithLabelValues(c.Why.Label()).Inc()
	if c.Why == hub.SlowConsumer {
		e.metrics.SlowConsumers.Inc()
	}
	var ev *webhook.Event
	if e.wants(webhook.Disconnected) {
		code, reason := e.protocols[s.protocol].Code(c)
		ev = s.event(webhook.Disconnected)
		ev.ContentType, ev.Time = contentJSON, time.Now()
		ev.Body = disconnected{
			Code: code, Reason: reason, Cause: c.Why.Label(), DurationMS: time.Since(s.member.Since()).Milliseconds(),
		}.body()
	}
	e.roster.tellDisconnected(s, ev)
}
