package roster

import (
	"context"
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

// keeper is the goroutine that keeps this node counted, buries others, and tells the
// facts of the partitions that this node owns. What it does is made of errands; those
// that are due go to Redis in one round trip.
type keeper struct {
	roster  *Roster
	line    Line
	pace    pace
	lease   lease
	burials burials
	owned   owned
	outbox  *outbox
	letters *letters
	size    size

	mu    sync.Mutex // guards calls and ended
	calls []*call
	ended bool
	wake  chan struct{}
	// counted: this node has something to declare or to tell, and so beats.
	counted atomic.Bool

	// Of the loop only.
	pause  time.Time // nothing is sent until then
	moves  moves
	failed uint64 // the partitions of whose servers the last round trip had no answers, as bits
}

// pace is how fast a cluster lives: the same on all nodes.
type pace struct {
	beat  time.Duration // between two beats
	lease time.Duration // a node that is silent for so long is dead
	step  time.Duration // between two beats of anybody: more means that Redis paused
	fence time.Duration // how long before the end of its lease a node stops to tell
}

// usualPace is that of SPEC §5 Safety.
var usualPace = pace{beat: time.Second, lease: broker.Lease, step: 3 * time.Second, fence: 2 * time.Second}

const (
	// answerWait bounds a round trip. It is short of a lease by far, so that a node
	// notices in time that it must not tell any more.
	answerWait = 1500 * time.Millisecond
	// tries is how often, within a beat, a Redis that is away is tried.
	tries = 4
	// partingWait bounds what a node does that ends.
	partingWait = time.Second
)

// errand is something that goes to Redis.
type errand interface {
	// partition is where all of it is; everywhere: it looks at each of its answers itself.
	partition() int
	// send adds its commands. It may be called again.
	send(ctx context.Context, pipe redis.Pipeliner)
	// learn takes the answers; err says that none counts.
	learn(err error)
}

const everywhere = -1

// errNoAnswer: the server of a partition did not answer, or must not be used.
var errNoAnswer = errors.New("no answer that counts")

func newKeeper(r *Roster) *keeper {
	k := &keeper{roster: r, pace: usualPace, wake: make(chan struct{}, 1)}
	k.outbox = &outbox{keeper: k}
	k.letters = &letters{keeper: k}
	k.lease.keeper, k.burials.keeper, k.owned.keeper = k, k, k
	k.size.keeper = k
	k.outbox.listen()
	return k
}

// scripts are those that the line loads.
func (k *keeper) scripts() []string {
	return []string{beatSource, condemnSource, burySource, ownSource, disownSource,
		buryLettersSource, letterSource, pageSource, dropSource}
}

// nudge wakes the loop.
func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// want has this node counted from now on.
func (k *keeper) want() {
	if !k.counted.Swap(true) {
		k.nudge()
	}
}

// run is the goroutine.
func (k *keeper) run() {
	k.line = k.roster.link.Line(k.scripts()...)
	defer k.line.HangUp()
	k.owned.withdraw(func(int) bool { return true }) // what a panic left is handed out again
	t := time.NewTicker(k.pace.beat / tries)
	defer t.Stop()
	ctx := k.roster.link.Context()
	for {
		for more := true; more && ctx.Err() == nil; {
			more = k.turn(ctx)
		}
		select {
		case <-ctx.Done():
			k.part()
			return
		case <-t.C:
		case <-k.wake:
		}
	}
}

// turn is one round trip. It says whether there may be more to do at once.
func (k *keeper) turn(ctx context.Context) (more bool) {
	k.owned.guard()
	if time.Now().Before(k.pause) {
		return false
	}
	return k.carry(ctx, k.due())
}

// due are the errands whose time has come.
func (k *keeper) due() (all []errand) {
	all = k.lease.due(all)
	all = k.outbox.settling(all) // before others may read it
	all = k.owned.due(all)
	all = k.burials.due(all)
	all = k.outbox.due(all)
	all = k.letters.due(all)
	all = k.size.due(all)
	return k.asked(all)
}

// carry has errands done in one round trip; false: there were none, or none went. Those of
// partitions whose server is away fail, and each tries again in its own time.
func (k *keeper) carry(ctx context.Context, all []errand) bool {
	if len(all) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	cmds, err := k.line.Exchange(ctx, func(pipe redis.Pipeliner) {
		for _, e := range all {
			e.send(ctx, pipe)
		}
	})
	another := err != nil
	for _, c := range cmds {
		if failed := c.Err(); failed != nil && !errors.Is(failed, redis.Nil) && !isDead(failed) {
			if !k.moves.pass(bits.TrailingZeros64(link.PartitionsOf(c))%Partitions, failed) {
				k.complain(failed)
			}
			another = another || needsAnother(failed)
		}
	}
	if another {
		k.line.HangUp()
	}
	k.failed = everyPart
	if err == nil {
		k.failed = k.line.Failed()
	} else {
		k.complain(err)
		k.pause = k.later()
	}
	for _, e := range all {
		failed := err
		if p := e.partition(); failed == nil && p != everywhere && k.failed>>p&1 == 1 {
			failed = errNoAnswer
		}
		e.learn(failed)
	}
	return err == nil
}

// later is when what failed is tried again.
func (k *keeper) later() time.Time { return time.Now().Add(k.pace.beat / tries) }

func (k *keeper) complain(err error) {
	k.roster.log.Warn("leases "+firstWord(err), "redis did not accept a heartbeat or an event; it is retried",
		"key", "redis", "err", err)
}

// unreadable complains about what another program wrote.
func (k *keeper) unreadable(key string, err error) {
	k.roster.log.Warn("unreadable", "a value in redis cannot be read, and is skipped",
		"key", "redis.prefix", "redis-key", key, "err", err)
}

// deadError is what a script answers to a node that was buried.
const deadError = "DEAD this node was buried"

func isDead(err error) bool { return redis.HasErrorPrefix(err, "DEAD") }

// refused says whether an errand of the node's failed, and notes that the node was buried
// if that is why.
func (k *keeper) refused(name string, err error) bool {
	if isDead(err) {
		k.roster.buried(name)
	}
	return err != nil
}

// part is what a node does that ends: it settles what was told, and then has others tell
// what is left of it.
func (k *keeper) part() {
	ctx, cancel := context.WithTimeout(context.Background(), partingWait)
	defer cancel()
	k.refuseCalls()
	for more := true; more && ctx.Err() == nil; {
		more = k.carry(ctx, k.letters.due(k.outbox.settling(nil)))
	}
	k.burials.self(ctx)
}
