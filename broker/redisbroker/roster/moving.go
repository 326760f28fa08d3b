package roster

import (
	"time"

	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

const (
	// moveWait is how long a partition's slot may be moving before that is logged.
	moveWait = 3 * time.Second
	// moveOver is how long nothing was refused when the slot is taken to have arrived: more
	// than a beat.
	moveOver = 2 * time.Second
)

// moves tells a slot that moves, which passes, from one that is stuck. Nothing is refused
// for good: it is tried again. Of one loop only.
type moves struct {
	of [Partitions]struct{ since, last time.Time }
}

// pass says whether a partition's command was refused as its keys move, and not for long yet.
func (m *moves) pass(p int, err error) bool {
	if !link.MovesNow(err) {
		return false
	}
	now, one := time.Now(), &m.of[p]
	if now.Sub(one.last) > moveOver {
		one.since = now
	}
	one.last = now
	return now.Sub(one.since) < moveWait
}
