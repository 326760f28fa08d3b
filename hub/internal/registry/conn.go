package registry

import (
	"encoding/json"
	"time"
)

// Kind says what the payload of a message is.
type Kind uint8

// The kinds of payload (SPEC §6.1).
const (
	Text   Kind = iota // UTF-8
	JSON               // JSON, as the backend wrote it
	Binary             // any bytes
	// What only followers of streams get, with the position in Offset and Epoch.
	Gap          // messages are lost for good; what follows are those after the position
	Subscribed   // the backend subscribed the connection
	Unsubscribed // and undid it
	// What only followers get of channels with presence, in Presence.
	Joined  // a user's first connection was subscribed
	Left    // its last one is no more
	Paused  // there are too many to tell of each from now on
	Resumed // they are told again; these are the members
)

// Conn is what the hub needs from a connection. Package ws implements it.
type Conn interface {
	// Member is the hub's own record of the connection; always the same pointer.
	Member() *Member
	// Send queues or writes the messages' frames, in this order, and never blocks;
	// several go out in one write. The connection calls Done of each message exactly
	// once, now or later, from any goroutine. It does not keep the slice.
	Send(messages []*Message)
	// End ends the connection and never blocks. Only the first cause counts.
	End(cause *Cause)
	// Info describes the connection for the API.
	Info() Info
	// SetState replaces the connection's state (SPEC §5 state).
	SetState(state json.RawMessage)
}

// Info is one connection as GET /v1/connections/{id} shows it.
type Info struct {
	ConnectionID string          `json:"connection_id"`
	UserID       string          `json:"user_id"`
	NodeID       string          `json:"node_id"`
	Since        time.Time       `json:"since"`
	RemoteIP     string          `json:"remote_ip"`
	Channels     []string        `json:"channels"`
	MessagesIn   uint64          `json:"messages_in"`
	BytesIn      uint64          `json:"bytes_in"`
	MessagesOut  uint64          `json:"messages_out"`
	BytesOut     uint64          `json:"bytes_out"`
	State        json.RawMessage `json:"state,omitempty"`
}
