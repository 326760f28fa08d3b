package session

import (
	"context"
	"time"

	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/webhook"
)

// dialog is the session's, made when it is first needed.
func (s *Session) dialog() *dialog {
	if m := s.more.Load(); m != nil && m.dialog != nil {
		return m.dialog
	}
	d := &dialog{}
	return s.change(func(m *extra) {
		if m.dialog == nil {
			m.dialog = d
		}
	}).dialog
}

// begin takes a request, and carries it out as soon as its turn comes. Past
// websocket.requests_in_flight nothing more is read of the client.
func (e *Engine) begin(s *Session, t Transport, r *request) {
	d := s.dialog()
	r.cost += messageCost
	t.Charge(r.cost)
	reached, ok := d.add(r, e.inFlight)
	if !ok {
		t.Charge(-r.cost)
		return
	}
	if reached {
		t.Hold()
	}
	e.advance(s, t, d)
}

// advance carries out what can be carried out.
func (e *Engine) advance(s *Session, t Transport, d *dialog) {
	for r := d.next(); r != nil; r = d.next() {
		e.step(s, t, d, r)
	}
}

// step asks the backend, or acts.
func (e *Engine) step(s *Session, t Transport, d *dialog, r *request) {
	if r.stage == stageActing {
		r.act(r.answer, r.err)
		return
	}
	q := r.question
	ev := s.event(q.name)
	ev.MessageEvent, ev.ContentType, ev.Body = q.event, q.contentType, q.body
	e.hooks.Ask(ev, func(a webhook.Answer, err error) {
		defer e.guard.Recover("answer of the backend", e.failed(t))
		if err == nil && a.State != nil && a.Status/100 == 2 {
			e.SetState(s, a.State)
		}
		if d.answered(r, a, err) {
			e.advance(s, t, d)
		} else {
			e.finish(s, t, r)
		}
	})
}

// finish ends a request whose answer is written. It may be called under locks of the hub:
// what waits behind it goes on elsewhere.
func (e *Engine) finish(s *Session, t Transport, r *request) {
	d := s.dialog()
	resumes := d.remove(r, e.inFlight)
	t.Charge(-r.cost)
	for range resumes {
		t.Resume()
	}
	if next := d.next(); next != nil {
		e.goOn(t, func() {
			e.step(s, t, d, next)
			e.advance(s, t, d)
		})
	}
}

// goOn does what may wait, or must not be done here, in a goroutine of the engine's.
func (e *Engine) goOn(t Transport, do func()) {
	e.work.Go(func() {
		defer e.guard.Recover("request of a client", e.failed(t))
		do()
	})
}

// Settle says whether requests of the client wait for their answers: a Close or the end
// of the input is then handled later (SPEC §5). Input is paused until all are answered.
// It is called in the input's own goroutine.
func (e *Engine) Settle(s *Session, t Transport) bool {
	m := s.more.Load()
	if m == nil || m.dialog == nil || !m.dialog.settle() {
		return false
	}
	t.Hold()
	return true
}

// dropRequests forgets, at the end of a connection, requests that did not begin.
func (e *Engine) dropRequests(s *Session, t Transport) {
	m := s.more.Load()
	if m == nil || m.dialog == nil {
		return
	}
	for _, r := range m.dialog.end() {
		t.Charge(-r.cost)
	}
}

// requestTime bounds what a request may wait for keys or history.
const requestTime = 10 * time.Second

// patience is the context of one request.
func (e *Engine) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.life, requestTime)
}

// Close ends work in progress for requests and waits for it. Close the connections first.
func (e *Engine) Close() {
	e.end()
	e.roster.close()
	e.work.Wait()
}

// unavailable is what a client is told that may try again.
func unavailable(message string) *apierror.Error { return apierror.New(apierror.Unavailable, message) }
