package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Event names (SPEC §5), as they stand in webhook.events.
const (
	Connect      = "connect"
	Connected    = "connected"
	Message      = "message"
	Subscribe    = "subscribe"
	Publish      = "publish"
	Disconnected = "disconnected"

	// Those of facts, which have no connection; see [NewFact].
	UserOnline      = "user.online"
	UserOffline     = "user.offline"
	ChannelOccupied = "channel.occupied"
	ChannelVacated  = "channel.vacated"
	PresenceJoin    = "presence.join"
	PresenceLeave   = "presence.leave"
)

// eventNames are all of them. A record names an event by its place here, so that new
// ones come last.
var eventNames = [...]string{
	Connect, Connected, Message, Subscribe, Publish, Disconnected,
	UserOnline, UserOffline, ChannelOccupied, ChannelVacated, PresenceJoin, PresenceLeave,
}

// Field is one header of the handshake that is sent with events.
type Field struct{ Name, Value string }

// Source is where a connection came from; it is the same for all its events and
// may be shared.
type Source struct {
	// ConnectionID and UserID identify the connection.
	ConnectionID, UserID string
	// ForwardedFor, Proto and Host are sent as X-Forwarded-*.
	ForwardedFor, Proto, Host string
	// RequestHost is the handshake's Host header, sent as Host where webhook.host
	// asks for that.
	RequestHost string
	// Trace is what a trusted proxy said of the handshake's trace; nil: each event
	// begins one of its own.
	Trace *Trace
	// Header are further headers to send as they are.
	Header []Field
}

// Trace is a W3C trace context; State may be empty.
type Trace struct{ Parent, State string }

// Event is one notification or request. Its slices must not change while it is in flight.
type Event struct {
	Source
	// Name is one of the event names.
	Name string
	// Channel is the one of a fact; "" for none.
	Channel string
	// Sequence counts the connection's events from 1, or is the generation of a fact
	// (ce-sequence); 0: unknown, as of a connection whose node died.
	Sequence uint64
	// Time is when it happened (ce-time); zero: when it was given to the Dispatcher.
	Time time.Time
	// Node is the one that reports it (ce-source); "": this one.
	Node string
	// Entry is where the broker keeps it, "" for nowhere; it is the dispatcher's to
	// pass on with a dead letter, unless More events of the same entry follow.
	Entry string
	More  bool
	// Kept hears what becomes of an event that is told; nil: nobody does.
	Kept Kept
	// Held: it takes its place among those that are told, and is not sent before Release.
	// It is the Dispatcher's once Tell or Release was called.
	Held bool
	// MessageEvent is ce-event, for message only.
	MessageEvent string
	// State is the connection's state, JSON; nil for none.
	State []byte
	// ContentType of Body; "" with an empty body.
	ContentType string
	// Body is the payload.
	Body []byte
}

// Answer is the backend's 2xx or 4xx response to a request.
type Answer struct {
	// Status is the HTTP status.
	Status int
	// ContentType and Body are the response's.
	ContentType string
	Body        []byte
	// State is the ce-state response header, decoded; nil if absent.
	State []byte
}

// ConnectAnswer is the body of a 200 to connect. All fields are optional.
type ConnectAnswer struct {
	UserID      *string // nil: as before
	Channels    []string
	State       json.RawMessage // nil: none
	Info        json.RawMessage // for presence; nil: none
	ExpiresAt   *time.Time      // nil: as before
	Subprotocol string
	Messages    []json.RawMessage
	unknown     string // a field that is none of these
}

// ErrUnavailable means that there was no usable answer: no connection, timeout, 5xx, 3xx,
// or a body that violates SPEC §5. Match with errors.Is.
var ErrUnavailable = errors.New("webhook: no usable answer")

// errInternal: something of ours panicked.
var errInternal = fmt.Errorf("%w: internal error", ErrUnavailable)
