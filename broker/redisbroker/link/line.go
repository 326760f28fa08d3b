package link

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// Line is one goroutine's way to Redis: connections that are made when they are needed, and
// made again when they broke or the link gave their server up. It is not safe for
// concurrent use.
type Line struct {
	link    *Link
	scripts []string
	conn    *connection // nil: to be made
	made    int
}

// Line returns a way to Redis for one goroutine, which has these scripts loaded on every
// server that it connects to.
func (l *Link) Line(scripts ...string) *Line { return &Line{link: l, scripts: scripts} }

// Server names what is stored at a partition's server and where it came from: the
// replication id (SPEC §8). Call it in the fill of Exchange.
func (n *Line) Server(partition int) string { return n.conn.server }

// Made counts the connections that were made so far.
func (n *Line) Made() int { return n.made }

// connect makes the connection, unless it is there.
func (n *Line) connect(ctx context.Context) (err error) {
	if n.conn != nil && n.conn.era != n.link.era.Load() {
		n.HangUp()
	}
	if n.conn == nil {
		if n.conn, err = n.link.open(ctx, n.scripts); err == nil {
			n.made++
		}
	}
	return err
}

// HangUp has the next commands go out on a new connection.
func (n *Line) HangUp() {
	if n.conn != nil {
		_ = n.conn.Close()
		n.conn = nil
	}
}

// Exchange sends what fill adds to a pipeline and waits for the answers, which are in the
// order of the commands. Each command belongs to one partition, whose hash tag its keys,
// or its channel, carry: its server is found by that. Each has its own error, which may
// say that no answer came; err says that there is no connection. fill may be called
// again, where a connection turns out to have ended while nothing was sent on it. Of two
// partitions' commands neither is sure to be done first.
func (n *Line) Exchange(ctx context.Context, fill func(redis.Pipeliner)) (cmds []redis.Cmder, err error) {
	for range 2 {
		if err := n.connect(ctx); err != nil {
			return nil, err
		}
		pipe := n.conn.Pipeline()
		fill(pipe)
		cmds, err = pipe.Exec(ctx)
		if !errors.Is(err, errCut) {
			return cmds, nil
		}
		n.HangUp()
	}
	return nil, err
}

// Greet loads the line's scripts and reads the servers' names again: for answers that say
// that scripts are missing (SCRIPT FLUSH), or that a server has another name than before
// (a replica became a master under a connection). Call it after Exchange.
func (n *Line) Greet(ctx context.Context) error {
	err := n.link.greet(ctx, n.conn, n.scripts)
	if err == nil {
		n.link.server.Store(&n.conn.server)
	}
	return err
}
