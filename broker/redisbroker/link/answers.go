package link

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/access"
)

// Verdict is what an answer of Redis says about the server that gave it.
type Verdict uint8

const (
	// Sound: the answer concerns its command alone.
	Sound Verdict = iota
	// Unwritable: writes are refused, and another connection would find the same
	// server. It still carries messages.
	Unwritable
	// CutOff: a master that misses its replicas. Perhaps it was cut off and another
	// took its place, so connecting again may help; if it does not, the server is as
	// good as an unwritable one.
	CutOff
	// Elsewhere: this server must not be used, and connecting again may find the
	// right one (an address that moved, a restart, new credentials).
	Elsewhere
)

// verdicts are the first words of answers. What is not among them, BUSY for one,
// passes in time or is the caller's to handle.
var verdicts = map[string]Verdict{
	"OOM":         Unwritable, // maxmemory is reached, and nothing may be evicted
	"MISCONF":     Unwritable, // the disk takes no snapshots
	"NOPERM":      Unwritable, // the ACL allows no writes
	"NOREPLICAS":  CutOff,     // fewer than min-replicas-to-write
	"READONLY":    Elsewhere,  // a master that became a replica
	"MASTERDOWN":  Elsewhere,  // a replica that lost its master
	"LOADING":     Elsewhere,  // a server that restarts
	"CLUSTERDOWN": Elsewhere,
	"MOVED":       Elsewhere,
	"NOAUTH":      Elsewhere, // the connection's authentication is void
	"WRONGPASS":   Elsewhere,
}

// Judge reads an error of a command. A script passes on what its commands were
// answered.
func Judge(err error) Verdict {
	var answer redis.Error
	if err == nil || !errors.As(err, &answer) {
		return Sound // not an answer: go-redis drops the connection itself
	}
	return verdicts[firstWord(answer)]
}

// RefusesWrites: err is the answer of a server that carries messages all the same.
func RefusesWrites(err error) bool {
	v := Judge(err)
	return v == Unwritable || v == CutOff
}

func firstWord(err error) string {
	word, _, _ := strings.Cut(err.Error(), " ")
	return word
}

// Cause tells answers of Redis, and keys to look at, apart for the log. Network errors are
// one cause, as their texts carry ports.
func Cause(err error) string {
	if key := access.KeyOf(err); key != "" {
		return key
	}
	var answer redis.Error
	if errors.As(err, &answer) {
		return firstWord(answer)
	}
	return "unreachable"
}

// Unavailable is err as calls of brokers return it.
func Unavailable(err error) error { return fmt.Errorf("%w: %w", broker.ErrUnavailable, err) }

// Text is a value of a script's answer as text.
func Text(reply []any, i int) string {
	switch v := reply[i].(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return ""
}

// crossed: a server says that keys lie apart which the tags in their names hold together.
func (l *Link) crossed(err error) {
	l.rate.Error("CROSSSLOT", "redis does not heed the {tags} of keys: is a proxy in front of it?", "key", "redis.addresses", "err", err)
}

// WrongType: something else lies under one of our keys.
func (l *Link) WrongType(keys ...string) {
	l.rate.Error("key of another type", "another program wrote to a key of ours: the stream is not kept, and pushes to it fail; remove that key",
		"key", "redis.prefix", "redis-keys", keys)
}
