package raw

import (
	"encoding/json"
	"net/http"
	"unicode/utf8"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/protocol"
	"github.com/pushcart/pushcart/session"
)

// Name is the subprotocol that asks for it; so does offering none.
const Name = "pushcart.raw.v1"

// Protocol implements session.Protocol.
type Protocol struct{}

var _ session.Protocol = Protocol{}

// Resume: a raw client follows no streams.
func (Protocol) Resume([]byte) (*session.Resume, error) { return nil, nil }

// Open begins with the first messages: a JSON string as its own text, anything else as
// it is written.
func (Protocol) Open(_ *session.Engine, _ *session.Session, o *session.Opening) []session.Frame {
	var frames []session.Frame
	for _, m := range o.First {
		frames = append(frames, session.Frame{Kind: hub.Text, Payload: text(m)})
	}
	return frames
}

func text(m []byte) []byte {
	var s string
	if len(m) > 0 && m[0] == '"' && json.Unmarshal(m, &s) == nil {
		return []byte(s)
	}
	return m
}

// Input asks the backend, and does what it answers.
func (Protocol) Input(e *session.Engine, s *session.Session, t session.Transport, kind hub.Kind, p []byte) {
	e.Ask(s, t, kind, p, func(a session.Answer, err error) {
		switch {
		case err != nil:
			t.End(&hub.Cause{Why: hub.NoAnswer})
		case a.Status == http.StatusGone:
			t.End(&hub.Cause{Why: hub.Dismissed})
		case a.Status == http.StatusOK && len(a.Body) > 0:
			t.Write(a.Body, kindOf(e, &a))
		}
	})
}

// Payload is the message as it was pushed.
func (Protocol) Payload(m *hub.Message) ([]byte, hub.Kind) { return m.Data, m.Kind }

// Code is that of the native protocols.
func (Protocol) Code(c *hub.Cause) (code int, reason string) { return protocol.Code(c) }

func kindOf(e *session.Engine, a *session.Answer) hub.Kind {
	switch {
	case !protocol.IsText(a.ContentType):
		return hub.Binary
	case utf8.Valid(a.Body):
		return hub.Text
	case a.ContentType != "": // else nobody said what it is
		e.ReportInvalidText()
	}
	return hub.Binary
}
