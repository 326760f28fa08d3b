package session

import (
	"bytes"
	"cmp"
	"errors"
	"time"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/webhook"
)

// Content types of events.
const (
	contentJSON   = "application/json"
	contentText   = "text/plain; charset=utf-8"
	contentBinary = "application/octet-stream"
)

// messageCost is what a message takes beside its payload until it is answered.
const messageCost = 1 << 10

// ErrUnavailable: the backend gave no usable answer.
var ErrUnavailable = errors.New("session: no usable answer of the backend")

// Answer is what the backend said to a message.
type Answer struct {
	// Status is 2xx or 4xx.
	Status      int
	ContentType string
	Body        []byte
}

// Asks says whether the backend is asked about messages.
func (e *Engine) Asks() bool { return e.wants(webhook.Message) }

// Throttle counts a message against limits.message_rate and returns how long to stop
// reading from the client.
func (e *Engine) Throttle(s *Session) time.Duration {
	r := e.settings.Load().limits.MessageRate
	if r == 0 {
		return 0
	}
	m := s.more.Load()
	if m == nil || m.limiter == nil {
		first := limiter(nil, r, messageSeconds)
		m = s.change(func(m *extra) { m.limiter = cmp.Or(m.limiter, first) })
	}
	return limiter(m.limiter, r, messageSeconds).Reserve().Delay()
}

// messageSeconds: limits.message_rate allows bursts of so many seconds' worth (SPEC
// §3).
const messageSeconds = 2

// Ask sends a message to the backend; nothing more is read from the client until it is
// answered (SPEC §5 Order and back-pressure). done is called once, with the answer or
// [ErrUnavailable]: from another goroutine, or, while the breaker is open
// (webhook.breaker), before Ask returns. If the backend does not take messages, the
// message is only counted, and done is not called. p is not retained.
func (e *Engine) Ask(s *Session, t Transport, kind hub.Kind, p []byte, done func(Answer, error)) {
	if !e.Asks() {
		s.sequence.Add(1)
		e.reportUnheard()
		return
	}
	if e.hooks.Refuses() { // before anything is prepared: it may be many a second
		s.sequence.Add(1)
		done(Answer{}, ErrUnavailable)
		return
	}
	ev := s.event(webhook.Message)
	ev.Body, ev.ContentType = bytes.Clone(p), contentText
	if kind == hub.Binary {
		ev.ContentType = contentBinary
	}
	cost := len(p) + messageCost
	t.Charge(cost)
	t.Hold()
	e.hooks.Ask(ev, func(a webhook.Answer, err error) {
		defer e.guard.Recover("answer of the backend", e.failed(t))
		defer t.Resume()
		defer t.Charge(-cost)
		if err != nil {
			done(Answer{}, ErrUnavailable)
			return
		}
		if a.State != nil && a.Status/100 == 2 {
			e.SetState(s, a.State)
		}
		done(Answer{Status: a.Status, ContentType: a.ContentType, Body: a.Body}, nil)
	})
}

// ReportInvalidText logs that the backend called an answer text that is not UTF-8.
func (e *Engine) ReportInvalidText() {
	e.rare.Warn("invalid text", "the answer to a message is declared as text, but is not UTF-8: it is sent to the client as binary",
		"event", webhook.Message, "setting", "webhook.url")
}

// failed ends a connection after a panic in something that it asked for.
func (e *Engine) failed(t Transport) func() {
	return func() { t.End(&hub.Cause{Why: hub.Failed}) }
}

// reportUnheard logs the first message that the backend is not asked about.
func (e *Engine) reportUnheard() {
	if e.unheard.Load() || !e.unheard.CompareAndSwap(false, true) {
		return
	}
	e.rare.Warn("unheard", "a client sent a message, but the backend is not asked: webhook.events does not name message",
		"setting", "webhook.url, webhook.events")
}

// maxConnecting bounds the bytes of connect events that wait for their answer.
const maxConnecting = 64 << 20

var errCrowded = errors.New("too many handshakes wait for the backend")

// mayAsk counts a connect event until leave is called; false: too many wait.
func (e *Engine) mayAsk(size int) (leave func(), ok bool) {
	cost := int64(size + messageCost)
	leave = func() { e.connecting.Add(-cost) }
	if e.connecting.Add(cost) > maxConnecting {
		leave()
		return nil, false
	}
	return leave, true
}
