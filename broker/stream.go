package broker

import "time"

const (
	// MaxRead bounds the messages that one Read returns, and MaxReadBytes their
	// payloads: a message that goes beyond it ends the answer, unless it is the first.
	MaxRead      = 1000
	MaxReadBytes = 1 << 20
)

// Retention says how much of a stream is kept. The zero value keeps nothing.
type Retention struct {
	// Messages is how many are kept at most.
	Messages int
	// Age is how long each is kept. It is exact when a stream is read.
	Age time.Duration
}

// Keeps says whether anything is kept at all.
func (r Retention) Keeps() bool { return r.Messages > 0 && r.Age > 0 }

// Position is a place in a stream (SPEC §1): after the message Offset of Epoch.
type Position struct {
	// Offset grows by one with each message of the stream, from 1.
	Offset uint64 `json:"offset"`
	// Epoch is another one when the stream's history was lost, or may have been.
	Epoch string `json:"epoch"`
}

// Kind says what a Message tells.
type Kind uint8

const (
	// Published is a message that was published.
	Published Kind = iota
	// Opened comes first on a subscription to a stream: what follows are the messages
	// after Position.
	Opened
	// Lost says that messages of the stream are lost for good: what follows are those
	// after Position.
	Lost
	// Joined and Left tell of a member of a channel, Paused that from now on nobody is
	// told of members as there are too many, Resumed that they are again. See Presence.
	Joined
	Left
	Paused
	Resumed
)

// Message is what a Receiver gets and what Read returns.
type Message struct {
	Topic string
	Kind  Kind
	// Payload is the publication's; nobody may change it.
	Payload []byte
	// Position is the message's own; without an offset it is not kept.
	Position Position
	// Time is when the broker took a message that is kept, in Unix milliseconds.
	Time int64
	// Presence is of the kinds that tell of members; else nil.
	Presence *Presence
	// Ends is when its TTL ends, in Unix milliseconds, where it came through Redis; 0: never,
	// or nobody says.
	Ends int64
}

// Query is a question to Read.
type Query struct {
	Topic string
	// Keep is the reader's rule: messages older than its Age are not returned.
	Keep Retention
	// After is the position to read from. Without an Epoch the current one is meant.
	After Position
	// Whole reads from the oldest message that is kept, Last reads the last so many.
	// Either is instead of After.
	Whole bool
	Last  int
	// End wants no messages, only the Current position.
	End bool
	// Limit bounds the messages; 0, or more than MaxRead, is MaxRead.
	Limit int
	// Held may answer from what came to this node, where it is subscribed: for those
	// that go on with what comes.
	Held bool
}

// Range is what Read found.
type Range struct {
	// Messages are in order and without a gap between them. Messages past their TTL
	// are left out.
	Messages []Message
	// Current is the position of the stream's last message. A stream that does not
	// exist has none.
	Current Position
	// Gap: messages after the position asked for are lost; Messages begin with the
	// oldest that is kept.
	Gap bool
	// More: there are messages after Reached, which is where this range ends: after its
	// last message, or one that was left out.
	More    bool
	Reached uint64
}

// AtMost is the maximum number of messages: Limit, but never more than MaxRead.
func (q *Query) AtMost() int {
	if q.Limit <= 0 || q.Limit > MaxRead {
		return MaxRead
	}
	return q.Limit
}
