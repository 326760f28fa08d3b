package session

import "github.com/pushcart/pushcart/hub"

// Transport is one client's connection, as the engine and protocols see it. It is
// passed to them and never kept, but for answers that are under way. Its methods may
// be called from any goroutine and never block.
type Transport interface {
	hub.Follower
	// Session is the one that the connection embeds.
	Session() *Session
	// Write sends a payload as one message of its kind. It is dropped if the
	// connection is at its end.
	Write(payload []byte, kind hub.Kind)
	// Charge counts bytes that wait with what the client asked for; a negative number
	// gives them back.
	Charge(bytes int)
	// Hold stops the reading of input until there was a Resume for it, before or after.
	// Called in the input's own goroutine.
	Hold()
	Resume()
	// Reschedule looks again at when the session ends.
	Reschedule()
}

// Frame is a message on its way out.
type Frame struct {
	Kind    hub.Kind
	Payload []byte
}

// Protocol turns bytes of clients into calls of the engine, and messages into bytes.
// There is one value for all connections that speak it; it keeps nothing of them.
type Protocol interface {
	// Resume reads what the query of a handshake asks to be resumed. nil is a protocol
	// whose sessions follow no streams. An error refuses the handshake; it says what is
	// wrong with the query.
	Resume(query []byte) (*Resume, error)
	// Open is called when the client was let in. What it returns goes out before anything
	// that was pushed meanwhile.
	Open(e *Engine, s *Session, o *Opening) []Frame
	// Input takes one message of the client, which it does not keep; text is UTF-8.
	Input(e *Engine, s *Session, t Transport, kind hub.Kind, p []byte)
	// Payload is a message of the hub as clients of this protocol get it. It is
	// called once for each encoding of the message.
	Payload(m *hub.Message) (p []byte, kind hub.Kind)
	// Code is what ends a connection, as this protocol's clients see it: a close
	// code and a reason.
	Code(c *hub.Cause) (code int, reason string)
}
