package broker

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// verdict is what an answer of Redis says about the server that gave it.
type verdict uint8

const (
	// sound: the answer concerns its command alone.
	sound verdict = iota
	// unwritable: writes are refused, and another connection would find the same
	// server. It still carries messages.
	unwritable
	// cutOff: a master that misses its replicas. Perhaps it was cut off and another
	// took its place, so connecting again may help; if it does not, the server is as
	// good as an unwritable one.
	cutOff
	// elsewhere: this server must not be used, and connecting again may find the
	// right one (an address that moved, a restart, new credentials).
	elsewhere
)

// verdicts are the first words of answers. What is not among them, BUSY for one,
// passes in time or is the caller's to handle.
var verdicts = map[string]verdict{
	"OOM":         unwritable, // maxmemory is reached, and nothing may be evicted
	"MISCONF":     unwritable, // the disk takes no snapshots
	"NOPERM":      unwritable, // the ACL allows no writes
	"NOREPLICAS":  cutOff,     // fewer than min-replicas-to-write
	"READONLY":    elsewhere,  // a master that became a replica
	"MASTERDOWN":  elsewhere,  // a replica that lost its master
	"LOADING":     elsewhere,  // a server that restarts
	"CLUSTERDOWN": elsewhere,
	"MOVED":       elsewhere,
	"NOAUTH":      elsewhere, // the connection's authentication is void
	"WRONGPASS":   elsewhere,
}

// judge reads an error of a command. A script passes on what its commands were
// answered.
func judge(err error) verdict {
	var answer redis.Error
	if err == nil || !errors.As(err, &answer) {
		return sound // not an answer: go-redis drops the connection itself
	}
	return verdicts[firstWord(answer)]
}

func firstWord(err error) string {
	word, _, _ := strings.Cut(err.Error(), " ")
	return word
}

// Health is nil while Redis delivers and can be written. The error says what Redis
// answered, or why there was no answer.
func (b *Redis) Health() error {
	b.health.mu.Lock()
	defer b.health.mu.Unlock()
	if b.health.down != nil {
		return b.health.down
	}
	return b.health.refusal
}

// setUp notes that a probe came back, and what was known to be wrong is over.
func (b *Redis) setUp() {
	h := &b.health
	h.mu.Lock()
	was := h.down == nil
	h.down = nil
	b.up.Store(true)
	b.showLocked()
	h.mu.Unlock()
	if !was {
		b.log.Info("redis is up")
	}
}

// setDown notes why nothing can be delivered. Probes under way prove nothing any
// more.
func (b *Redis) setDown(why error) {
	h := &b.health
	h.mu.Lock()
	h.down = why
	h.void = b.probes.Load()
	b.up.Store(false)
	b.showLocked()
	h.mu.Unlock()
	b.rate.Warn("redis is away "+cause(why), "redis is away; it is tried again", "key", "redis", "err", fmt.Sprint(why))
}

// wrote notes what a write was answered, nil if it was taken.
func (b *Redis) wrote(refusal error) {
	h := &b.health
	h.mu.Lock()
	was := h.refusal
	h.refusal = refusal
	b.showLocked()
	h.mu.Unlock()
	switch {
	case refusal != nil:
		b.rate.Warn("redis refuses writes "+cause(refusal), "redis refuses writes: pushes with an id are answered 503",
			"key", "redis", "err", refusal.Error())
	case was != nil:
		b.log.Info("redis takes writes")
	}
}

// cause tells answers of Redis apart for the log. Network errors are one cause, as
// their texts carry ports.
func cause(err error) string {
	var answer redis.Error
	if errors.As(err, &answer) {
		return firstWord(answer)
	}
	return "unreachable"
}

// showLocked sets the gauge.
func (b *Redis) showLocked() {
	up := 0.0
	if b.health.down == nil && b.health.refusal == nil {
		up = 1
	}
	b.metrics.RedisUp.Set(up)
}
