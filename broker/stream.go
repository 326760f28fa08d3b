package broker

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxRead bounds the messages that one Read returns, and MaxReadBytes their
	// payloads: a message that goes beyond it ends the answer, unless it is the first.
	MaxRead      = 1000
	MaxReadBytes = 1 << 20
	// recordKept is how long the record of a stream outlives the age of its messages,
	// and openedKept how long one lives that nothing was published to (SPEC §8).
	recordKept = 24 * time.Hour
	openedKept = 10 * time.Minute
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

// recordLife is how long a record lives after its last use.
func (r Retention) recordLife() time.Duration { return r.Age + recordKept }

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
	ends     int64 // when its TTL ends; 0: never
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

// limit is how many messages are wanted.
func (q *Query) limit() int {
	if q.Limit <= 0 || q.Limit > MaxRead {
		return MaxRead
	}
	return q.Limit
}

// record is what is known of a stream beside its messages.
type record struct {
	Position
	// forks are the epochs before, oldest first, at most maxForks.
	forks []fork
	// forgotten is the offset up to which messages were deleted on purpose.
	forgotten uint64
}

// fork is where an epoch ended: a server that may not know all of it went on (SPEC §8).
type fork struct {
	Position
	// lossy: somebody was given messages of that epoch beyond its end.
	lossy bool
}

const (
	maxForks = 8
	// maxOffset is more than any stream has, and what Lua still counts exactly.
	maxOffset = 1 << 53
)

// after says after which offset somebody is to be served who has everything up to p;
// false: something that he has not seen is lost, or he has something that is not in
// the stream.
func (r *record) after(p Position) (offset uint64, ok bool) {
	if p.Epoch == "" {
		p.Epoch = r.Epoch
	}
	ok = p.Epoch == r.Epoch && p.Offset <= r.Offset
	for i := len(r.forks) - 1; i >= 0 && !ok; i-- {
		if r.forks[i].lossy {
			return 0, false
		}
		ok = r.forks[i].Epoch == p.Epoch && p.Offset <= r.forks[i].Offset
	}
	return p.Offset, ok && p.Offset >= r.forgotten
}

// knows says whether an epoch is the stream's, or was.
func (r *record) knows(epoch string) bool {
	return r.Epoch == epoch || slices.ContainsFunc(r.forks, func(f fork) bool { return f.Epoch == epoch })
}

// resume says after which offset somebody goes on who was given everything up to p as it
// came, whether or not something between is lost. told is false where his epoch ended
// before p and is not marked as lossy yet: others would be told that nothing is lost.
func (r *record) resume(p Position) (offset uint64, told bool) {
	if p.Epoch == r.Epoch {
		return min(p.Offset, r.Offset), p.Offset <= r.Offset
	}
	for _, f := range r.forks {
		if f.Epoch == p.Epoch {
			return min(p.Offset, f.Offset), f.lossy || p.Offset <= f.Offset
		}
	}
	return 0, true
}

// newEpoch names an epoch. One stream never gets the same name twice.
func newEpoch() string {
	n := rand.Uint64()
	var b [epochLength]byte
	for i := range b {
		b[i] = epochLetters[n>>(5*i)&31]
	}
	return string(b[:])
}

const (
	epochLetters = "0123456789abcdefghijklmnopqrstuv"
	epochLength  = 10
)

func parseOffset(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// The forks of a record in Redis: EPOCH:OFFSET of each, an ! behind it if it is lossy,
// with commas between them.
func parseForks(s string) (forks []fork) {
	for part := range strings.SplitSeq(s, ",") {
		epoch, end, ok := strings.Cut(part, ":")
		if !ok {
			continue
		}
		end, lossy := strings.CutSuffix(end, "!")
		forks = append(forks, fork{Position{parseOffset(end), epoch}, lossy})
	}
	return forks
}
