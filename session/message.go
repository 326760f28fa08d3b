package session

import (
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/webhook"
)

// Message is a client's message to the backend.
type Message struct {
	// Event is what it is called, "" for nothing.
	Event string
	// Data is its JSON, or its bytes if it is Binary. It is kept.
	Data   []byte
	Binary bool
}

// Request sends a message to the backend, after earlier ones. The error is the backend's,
// or says that there is no backend.
func (e *Engine) Request(s *Session, t Transport, m Message, done func(Answer, *apierror.Error)) {
	r := &request{cost: len(m.Data)}
	answer := func(a Answer, err *apierror.Error) {
		done(a, e.reported(err, "message", "webhook.url, webhook.events"))
		e.finish(s, t, r)
	}
	if e.Asks() {
		q := &question{name: webhook.Message, event: m.Event, body: m.Data}
		switch {
		case m.Binary:
			q.contentType = contentBinary
		case len(m.Data) > 0:
			q.contentType = contentJSON
		}
		r.question = q
	} else {
		s.sequence.Add(1)
		e.reportUnheard()
	}
	r.act = func(a webhook.Answer, err error) {
		switch {
		case r.question == nil:
			answer(Answer{}, apierror.New(apierror.NotFound, "the backend takes no messages"))
		case err != nil:
			answer(Answer{}, unavailable("the backend did not answer"))
		default:
			answer(Answer{Status: a.Status, ContentType: a.ContentType, Body: a.Body}, nil)
		}
	}
	e.begin(s, t, r)
}

// BadReply is the error of a reply that cannot be passed on, which it logs.
func (e *Engine) BadReply() *apierror.Error {
	e.rare.Warn("bad reply", "the backend's answer to a message is not JSON, although its Content-Type says so", "setting", "webhook.url")
	return apierror.New(apierror.BackendError, "the backend's answer is not JSON")
}
