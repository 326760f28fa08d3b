package hub

import (
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub/internal/receipt"
	"github.com/pushcart/pushcart/hub/internal/registry"
)

// What transports and protocols share with the hub; package registry defines it.
type (
	// Conn is what the hub needs from a connection. Package ws implements it.
	Conn = registry.Conn
	// Member is the hub's record of one connection, which embeds it by value.
	Member = registry.Member
	// Info is one connection as GET /v1/connections/{id} shows it.
	Info = registry.Info
	// Presenter is a connection that says what presence shows of its user.
	Presenter = registry.Presenter
	// Message is what one push delivers on this node, shared by all that get it.
	Message = registry.Message
	// Kind says what the payload of a message is.
	Kind = registry.Kind
	// Encoding is one way to write messages to clients; see Hub.NewEncoding.
	Encoding = registry.Encoding
	// Outcome is what became of one Send.
	Outcome = receipt.Outcome
	// Cause is why a connection ended.
	Cause = registry.Cause
	// Why is the kind of thing that ended a connection.
	Why = registry.Why
	// ChannelCount is a channel and how many connections it has.
	ChannelCount = registry.ChannelCount
)

// The kinds of payload (SPEC §6.1).
const (
	Text   = registry.Text   // UTF-8
	JSON   = registry.JSON   // JSON, as the backend wrote it
	Binary = registry.Binary // any bytes
	// What only followers of streams get, with the position in Offset and Epoch.
	Gap          = registry.Gap          // messages are lost for good; what follows are those after the position
	Subscribed   = registry.Subscribed   // the backend subscribed the connection
	Unsubscribed = registry.Unsubscribed // and undid it
	// What only followers get of channels with presence, in Presence.
	Joined  = registry.Joined  // a user's first connection was subscribed
	Left    = registry.Left    // its last connection left
	Paused  = registry.Paused  // there are too many to tell of each from now on
	Resumed = registry.Resumed // joins and leaves are sent again; these are the members
)

// The outcomes of Send.
const (
	Written = receipt.Written // handed to the socket whole
	Slow    = receipt.Slow    // the outbox was full; the connection is closed
	Gone    = receipt.Gone    // the connection ended before
)

// What ends connections.
const (
	PeerReset     = registry.PeerReset     // the peer is gone, nothing can be written
	PeerFinished  = registry.PeerFinished  // the peer sent all it had, without saying goodbye
	PeerClosed    = registry.PeerClosed    // the peer said goodbye; Code and Reason are its own
	BadProtocol   = registry.BadProtocol   // the peer broke the transport's protocol; Reason says how
	BadText       = registry.BadText       // text that is not UTF-8
	BadCompressed = registry.BadCompressed // compressed data that is none
	TooBig        = registry.TooBig        // a message over websocket.max_message_size
	NoPong        = registry.NoPong        // no sign of life in time
	SlowConsumer  = registry.SlowConsumer  // the outbox was full
	Expired       = registry.Expired       // the token's or the connect answer's time is over
	Replaced      = registry.Replaced      // by a newer connection of the same user
	Draining      = registry.Draining      // the node restarts
	GoingAway     = registry.GoingAway     // the process ends at once
	Failed        = registry.Failed        // a fault of the sidecar
	NoAnswer      = registry.NoAnswer      // the backend did not answer a message
	Dismissed     = registry.Dismissed     // the backend answered a message with 410
	Buried        = registry.Buried        // the other nodes took this one for dead, and told its end
	Disconnected  = registry.Disconnected  // the backend asked for it; Code and Reason are its own
)

// Prefixes of the topics of one user and of one channel, like "user:42".
const (
	UserTopic    = registry.UserTopic
	ChannelTopic = registry.ChannelTopic
)

// Rules say what is kept for users and channels, and which of their events the backend
// gets. They are immutable: a reload makes new ones and calls Hub.Apply.
type Rules = registry.Rules

// Telling says which facts the backend wants as events (webhook.events).
type Telling = registry.Telling

// NewRules makes rules from their sections of the configuration.
func NewRules(channels []config.ChannelRule, users config.Users, limits config.Limits) (*Rules, error) {
	return registry.NewRules(channels, users, limits)
}
