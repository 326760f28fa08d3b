package broker

import (
	"context"
	"errors"
	"time"
)

// DuplicateWindow is how long an idempotency key is remembered (SPEC §6.1).
const DuplicateWindow = 5 * time.Minute

// Errors of Publish and Subscribe; match with errors.Is.
var (
	// ErrUnavailable: the broker did not confirm in time. The message may or may
	// not have reached nodes; a retry with the same ID is safe.
	ErrUnavailable = errors.New("broker: unavailable")
	// ErrConflict: the ID was used for other content within DuplicateWindow.
	ErrConflict = errors.New("broker: id was used with different content")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("broker: closed")
)

// Publication is one message to one topic, and what became of it.
type Publication struct {
	// Topic is where it goes.
	Topic string
	// Payload is handed to the receivers. The caller must not change it
	// afterwards. Its first byte is not 0xf5, which marks what the broker itself writes.
	Payload []byte
	// ID is the idempotency key, per topic; "" for none.
	ID string
	// Digest tells the content of one ID from another's.
	Digest uint64
	// Keep says how much of the topic's stream is kept with this message in it. If it
	// keeps anything, the message gets a place in the stream in the same step.
	Keep Retention
	// TTL is how long the stream hands the message out; 0: as long as it has it.
	TTL time.Duration

	// Nodes is set by Publish: how many nodes were subscribed.
	Nodes int
	// Duplicate is set by Publish: the ID was seen, nothing was sent. Nodes is 0.
	Duplicate bool
	// Position is set by Publish where the message is kept; of a duplicate it is the
	// one that was recorded.
	Position Position
	// Err is set by Publish: nil, ErrConflict, ErrUnavailable or ErrClosed, or an
	// error that wraps one of them.
	Err error
}

// Subscription is a topic that a node wants to receive.
type Subscription struct {
	Topic string
	// Keep, where it keeps anything, says that the topic is a stream: the receiver
	// then gets Opened with its position first, and every message of it once and in
	// order, also those that were published while the node heard nothing, or Lost
	// where some of them are lost for good.
	Keep Retention
}

// Topics are plain subscriptions, to topics without a stream.
func Topics(topics ...string) []Subscription {
	wanted := make([]Subscription, len(topics))
	for i, t := range topics {
		wanted[i].Topic = t
	}
	return wanted
}

// Receiver gets the messages for this node. It must not block and must not change the
// payload; it may retain it.
type Receiver func(m Message)

// Broker is the contract of the memory and the Redis broker.
type Broker interface {
	// Start begins to receive. Where Redis is away it does not fail, and Redis is
	// tried until Close; it waits for it no longer than a second. Call it once, before
	// everything else.
	Start(receive Receiver) error
	// Publish takes batch in order, waits until every one is confirmed, failed or
	// ctx ended, and fills in the outcomes. Never longer than 3 s.
	Publish(ctx context.Context, batch []Publication)
	// Subscribe returns when this node receives all topics, of streams after the
	// receiver was called with Opened, or with an error when ctx ends first (the
	// subscription stays wanted and is made when it can be). Subscribing twice is not
	// counted: one Unsubscribe ends it.
	Subscribe(ctx context.Context, wanted ...Subscription) error
	// Unsubscribe ends subscriptions; it does not wait.
	Unsubscribe(topics ...string)
	// Up says whether the broker is believed to work; the memory broker always is.
	Up() bool
	// UpFor is Up for one topic: a broker may be several servers, of which one is away.
	UpFor(topic string) bool
	// Close ends all subscriptions and waits for the broker's goroutines.
	Close() error
}

// Streams is the history of topics, for clients that reconnect.
type Streams interface {
	// Read returns messages of a stream; it does not begin one. An error wraps
	// ErrUnavailable or ErrClosed. Many who read one stream at once share what is read.
	Read(ctx context.Context, q Query) (Range, error)
	// Forget deletes the messages of a stream. Its position stays; earlier ones are
	// gaps from then on. Errors are those of Read.
	Forget(ctx context.Context, topic string) error
}
