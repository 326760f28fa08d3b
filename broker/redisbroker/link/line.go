package link

import (
	"context"
	"encoding"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// proveEvery is how long a line that proves goes without a write. So long can a replica
// that was the master a moment ago take what is published for nothing.
const proveEvery = 100 * time.Millisecond

// Line is one goroutine's way to Redis: a connection to each shard, made when it is needed,
// and made again when it broke or its server must not be used. It is not safe for
// concurrent use.
type Line struct {
	link    *Link
	scripts []string
	proves  bool
	lanes   []*lane
	made    atomic.Int64

	topology *Topology // of the last exchange
	// at is the lane that each partition's commands took last, and words are those of the
	// scripts; nil: there is one lane for all.
	at    *[places]*lane
	words *words
	// stuck is when a partition's commands were last repeated in vain.
	stuck [places]time.Time
	asked uint64 // see Asked
}

// Line returns a way to Redis for one goroutine, which has these scripts loaded on every
// server that it connects to.
func (l *Link) Line(scripts ...string) *Line { return &Line{link: l, scripts: scripts} }

// ProvingLine is a Line that sends a write with its commands now and then, and first of
// all on each connection, and notes in the shard's health what that was answered.
func (l *Link) ProvingLine(scripts ...string) *Line {
	n := l.Line(scripts...)
	n.proves = true
	return n
}

// sources are the scripts as a shard is to have them.
func (n *Line) sources(s *Shard) []string {
	if s.alone {
		return n.scripts
	}
	return n.words.scripts
}

// Server stands among the arguments of a command for the name of what is stored at its
// server and where it came from: the replication id (SPEC §8). Call it in the fill of
// Exchange.
func (n *Line) Server(partition int) encoding.BinaryMarshaler { return n.of(partition) }

// of is the lane of a partition in the current exchange, or the last.
func (n *Line) of(partition int) *lane {
	if n.at == nil {
		return n.lanes[0]
	}
	return n.at[partition]
}

// nowhere stands for the shard of partitions that no server serves.
var nowhere = &Shard{}

// lane is that of a shard.
func (n *Line) lane(s *Shard) *lane {
	if s == nil {
		s = nowhere
	}
	for _, a := range n.lanes {
		if a.shard == s {
			return a
		}
	}
	a := &lane{line: n, shard: s}
	n.lanes = append(n.lanes, a)
	return a
}

// HangUp has the next commands go out on new connections.
func (n *Line) HangUp() {
	for _, a := range n.lanes {
		a.hangUp()
	}
}

// Exchange sends what fill adds to a pipeline and waits for the answers, which are in the
// order of the commands. Each command belongs to one partition, whose hash tag its keys,
// or its channel, carry: its server is found by that. Each has its own error, which may
// say that no answer came; err says that nothing was sent. What a server refuses as others
// have the partition goes to those. Of two partitions' commands neither is sure to be
// done first.
func (n *Line) Exchange(ctx context.Context, fill func(redis.Pipeliner)) (cmds []redis.Cmder, err error) {
	t, err := n.link.Topology(ctx)
	if err != nil {
		return nil, err
	}
	if !t.alone() {
		return n.exchangeRouted(ctx, t, fill), nil
	}
	n.adopt(t)
	a := n.lane(t.Shards[0])
	a.cut, a.wrong = nil, nil
	if err := a.connect(ctx); err != nil {
		return nil, err
	}
	pipe := a.conn.Pipeline()
	fill(pipe)
	return a.send(ctx, pipe)
}

// Made counts the connections that were made so far.
func (n *Line) Made() int { return int(n.made.Load()) }

// Routed says whether the last exchange was with more servers than one, or might have been.
func (n *Line) Routed() bool { return n.at != nil }

// Wrong says why the server that got a partition's commands in the last exchange must not
// be used; nil: it may be. The next ones go out on a new connection.
func (n *Line) Wrong(partition int) error { return n.of(partition).wrong }

// Failed says why answers to a partition's commands in the last exchange do not count, or
// some did not come; nil: all came, and count.
func (n *Line) Failed(partition int) error {
	a := n.of(partition)
	if a.wrong != nil {
		return a.wrong
	}
	return a.cut
}

// Asked says whether commands of a partition were executed in the last exchange by a server
// that it only moves to: subscribers are still at the one before.
func (n *Line) Asked(partition int) bool { return n.asked>>partition&1 == 1 }

// FailedIn are the partitions that Failed has an error for, as bits.
func (n *Line) FailedIn() (partitions uint64) {
	if n.Sound() {
		return 0
	}
	for p := range Partitions {
		if n.Failed(p) != nil {
			partitions |= 1 << p
		}
	}
	return partitions
}

// Sound says whether all answers of the last exchange came and count.
func (n *Line) Sound() bool {
	for _, a := range n.lanes {
		if a.cut != nil || a.wrong != nil {
			return false
		}
	}
	return true
}

// LeaveWrong gives up the servers that must not be used, and with them the other
// connections to them.
func (n *Line) LeaveWrong() {
	for _, a := range n.lanes {
		if a.wrong != nil {
			a.shard.Leave(a.wrong)
		}
	}
}

// Greet loads the line's scripts and reads the servers' names again: for answers that say
// that scripts are missing (SCRIPT FLUSH), or that a server has another name than before
// (a replica became a master under a connection). Call it after Exchange. An error says
// that no server answered.
func (n *Line) Greet(ctx context.Context) (err error) {
	greeted := false
	for _, a := range n.lanes {
		known := a.conn != nil && !a.stale
		failed := a.connect(ctx)
		if failed == nil && known {
			failed = a.greet(ctx)
		}
		if greeted = greeted || failed == nil; failed != nil {
			err = failed
		}
	}
	if greeted {
		return nil
	}
	return err
}
