package broker

import (
	"context"
	"errors"
	"time"
)

const (
	// LastingKept is how long a list is kept after its last use (SPEC §11 Handshake).
	LastingKept = 30 * 24 * time.Hour
	// MaxLasting bounds the lists that one call of Lasting reads.
	MaxLasting = 256
)

// ErrFull means that the list has as many names as it may have.
var ErrFull = errors.New("broker: the list is full")

// Lasting keeps a list of names with a topic, until 30 days after its last use: the
// channels that all of a user's connections are subscribed to, including future ones. A
// node that first subscribes to the topic and then reads the list misses no change:
// changes that are not in the list yet arrive as messages.
type Lasting interface {
	// WatchLasting has f called when lists may have changed while this node heard no
	// messages, and twice a day, so that the lists of those who stay are used. f must not
	// block. Call it once, before Start.
	WatchLasting(f func())
	// MayLast says at no cost that a topic has no list. The answer is good for who is
	// subscribed to the topic; true does not say that it has one.
	MayLast(topic string) bool
	// Lasting returns the lists of at most MaxLasting topics, in the order of names, and
	// uses them. Many who read at once share round trips. An error wraps ErrUnavailable or
	// ErrClosed.
	Lasting(ctx context.Context, topics ...string) ([][]string, error)
	// ChangeLasting changes a list and publishes a payload to its topic in the same step,
	// so that messages have the order of the changes. It returns how many nodes it went to.
	// An error is ErrFull, or wraps ErrUnavailable or ErrClosed: then the change may be
	// made, and may be repeated.
	ChangeLasting(ctx context.Context, c LastingChange) (nodes int, err error)
}

// LastingChange adds a name to a topic's list, or removes it; both are idempotent.
type LastingChange struct {
	Topic, Name string
	Remove      bool
	// Most is how many names the list may have with an added one.
	Most int
	// Payload is as a Publication's.
	Payload []byte
}
