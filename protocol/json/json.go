package json

import (
	"bytes"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/jsonread"
	"github.com/pushcart/pushcart/protocol"
	"github.com/pushcart/pushcart/session"
)

// Name is the subprotocol that asks for it.
const Name = "pushcart.json.v1"

// Protocol implements session.Protocol.
type Protocol struct{}

var _ session.Protocol = Protocol{}

// conversation is whose message is being answered.
type conversation struct {
	e *session.Engine
	s *session.Session
	t session.Transport
}

// Input carries out what a client asks for.
func (Protocol) Input(e *session.Engine, s *session.Session, t session.Transport, kind hub.Kind, p []byte) {
	c := &conversation{e, s, t}
	if kind == hub.Binary {
		c.refuse(nil, &jsonread.Fault{Problem: "must be text"})
		return
	}
	f, fault := parse(p)
	if fault != nil {
		c.refuse(f.id, fault)
		return
	}
	f.id = bytes.Clone(f.id)
	f.kind.do(c, &f)
}

// refuse answers a message that is not a request.
func (c *conversation) refuse(id []byte, f *jsonread.Fault) {
	c.e.Malformed()
	c.write(faultFrame(id, f))
}

func (c *conversation) write(b []byte) { c.t.Write(b, hub.Text) }

// Payload is a message of the hub.
func (Protocol) Payload(m *hub.Message) ([]byte, hub.Kind) {
	at := hub.Position{Offset: m.Offset, Epoch: m.Epoch}
	switch m.Kind {
	case hub.Gap:
		return appendEvent(nil, "gap", m.Channel(), at), hub.Text
	case hub.Subscribed:
		return appendEvent(nil, "subscribed", m.Channel(), at), hub.Text
	case hub.Unsubscribed:
		return appendEvent(nil, "unsubscribed", m.Channel(), hub.Position{}), hub.Text
	case hub.Joined:
		return appendMove(nil, "join", m), hub.Text
	case hub.Left:
		return appendMove(nil, "leave", m), hub.Text
	case hub.Paused, hub.Resumed:
		return appendPaused(nil, m), hub.Text
	}
	c := content{
		kind: m.Kind, data: m.Data, id: m.ID, channel: m.Channel(), event: m.Event, from: m.From,
		at: at, epoch: m.NewEpoch, accepted: m.Accepted, ack: m.Ack,
	}
	return c.append(make([]byte, 0, c.room())), hub.Text
}

// Code is that of the native protocols.
func (Protocol) Code(c *hub.Cause) (code int, reason string) { return protocol.Code(c) }
