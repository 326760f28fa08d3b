package record

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pushcart/pushcart/broker"
)

const (
	// kept is how long the record of a stream outlives the age of its messages (SPEC §8).
	kept = 24 * time.Hour
	// OpenedKept is how long a record lives that nothing was published to (SPEC §8).
	OpenedKept = 10 * time.Minute
)

// Life is how long a record lives after its last use under a rule that keeps
// messages for an age.
func Life(age time.Duration) time.Duration { return age + kept }

// Record is what is known of a stream beside its messages.
type Record struct {
	broker.Position
	// Forks are the epochs before, oldest first, at most MaxForks.
	Forks []Fork
	// Forgotten is the offset up to which messages were deleted on purpose.
	Forgotten uint64
}

// Fork is where an epoch ended: a server that may not know all of it went on (SPEC §8).
type Fork struct {
	broker.Position
	// Lossy: somebody was given messages of that epoch beyond its end.
	Lossy bool
}

// MaxForks bounds the forks of a record.
const MaxForks = 8

// After says after which offset somebody is to be served who has everything up to p;
// false: something that he has not seen is lost, or he has something that is not in
// the stream.
func (r *Record) After(p broker.Position) (offset uint64, ok bool) {
	if p.Epoch == "" {
		p.Epoch = r.Epoch
	}
	ok = p.Epoch == r.Epoch && p.Offset <= r.Offset
	for i := len(r.Forks) - 1; i >= 0 && !ok; i-- {
		if r.Forks[i].Lossy {
			return 0, false
		}
		ok = r.Forks[i].Epoch == p.Epoch && p.Offset <= r.Forks[i].Offset
	}
	return p.Offset, ok && p.Offset >= r.Forgotten
}

// Knows says whether an epoch is the stream's, or was.
func (r *Record) Knows(epoch string) bool {
	return r.Epoch == epoch || slices.ContainsFunc(r.Forks, func(f Fork) bool { return f.Epoch == epoch })
}

// Resume says after which offset somebody goes on who was given everything up to p as it
// came, whether or not something between is lost. told is false where his epoch ended
// before p and is not marked as lossy yet: others would be told that nothing is lost.
func (r *Record) Resume(p broker.Position) (offset uint64, told bool) {
	if p.Epoch == r.Epoch {
		return min(p.Offset, r.Offset), p.Offset <= r.Offset
	}
	for _, f := range r.Forks {
		if f.Epoch == p.Epoch {
			return min(p.Offset, f.Offset), f.Lossy || p.Offset <= f.Offset
		}
	}
	return 0, true
}

// NewEpoch names an epoch. One stream never gets the same name twice.
func NewEpoch() string {
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
