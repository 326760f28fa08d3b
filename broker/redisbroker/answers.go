package redisbroker

import (
	"errors"
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

// refusesWrites: err is the answer of a server that carries messages all the same.
func refusesWrites(err error) bool {
	v := judge(err)
	return v == unwritable || v == cutOff
}

func firstWord(err error) string {
	word, _, _ := strings.Cut(err.Error(), " ")
	return word
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
