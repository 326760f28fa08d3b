package link

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// lane is a line's way to one shard: a connection that is made when it is needed.
type lane struct {
	line   *Line
	shard  *Shard
	conn   *connection // nil: to be made
	stale  bool        // its server lacks scripts
	proven time.Time   // when a write was taken on this connection

	// Of the last exchange.
	cmds   []redis.Cmder // to be sent
	asking bool          // they are for what moves to the server just now
	cut    error         // why not all was answered
	wrong  error         // why the server must not be used
}

// MarshalBinary has a lane stand for its server's name among the arguments of a command:
// which server gets it shows when it is sent.
func (a *lane) MarshalBinary() ([]byte, error) {
	return a.conn.name, nil
}

// connect makes the connection, unless it is there.
func (a *lane) connect(ctx context.Context) error {
	if a.shard == nowhere {
		return errUnserved
	}
	if away := a.shard.away.Load(); away != nil { // another line found out, and this one need not wait too
		a.hangUp()
		return *away
	}
	if a.conn != nil && a.conn.era != a.shard.era.Load() {
		a.hangUp()
	}
	if a.conn != nil && a.stale {
		return a.greet(ctx)
	}
	if a.conn != nil {
		return nil
	}
	conn, err := a.line.link.open(ctx, a.shard, a.line.sources(a.shard))
	if err != nil {
		a.shard.unreachable(err)
		return err
	}
	a.conn, a.stale, a.proven = conn, false, time.Time{}
	a.line.made.Add(1)
	return nil
}

// greet loads the scripts and reads the server's name again.
func (a *lane) greet(ctx context.Context) error {
	err := a.line.link.greet(ctx, a.conn, a.shard, a.line.sources(a.shard))
	switch {
	case err == nil:
		a.stale = false
		server := a.conn.server // that changes when it is read again
		a.shard.server.Store(&server)
	case errors.Is(err, errNoMaster):
		a.hangUp()
	}
	return err
}

func (a *lane) hangUp() {
	if a.conn != nil {
		_ = a.conn.Close()
		a.conn = nil
	}
}

// send sends the commands in a pipeline, and a write with them if the line wants that and
// the last is some time ago. They go out a second time where the connection turns out to
// have ended while nothing was sent on it. An error says that there is no connection.
func (a *lane) send(ctx context.Context, pipe redis.Pipeliner) ([]redis.Cmder, error) {
	cmds := pipe.Cmds()
	for try := 0; ; try++ {
		proof := a.prove(ctx, pipe)
		all, err := exec(ctx, pipe)
		if !errors.Is(err, errCut) || try > 0 {
			a.judge(cmds, proof, err)
			return all[:len(cmds)], nil
		}
		a.hangUp()
		if err := a.connect(ctx); err != nil {
			return nil, err
		}
		pipe = a.conn.Pipeline()
		_ = pipe.BatchProcess(ctx, cmds...)
	}
}

// prove adds a write, if it is time.
func (a *lane) prove(ctx context.Context, pipe redis.Pipeliner) *redis.StatusCmd {
	if !a.line.proves || time.Since(a.proven) < proveEvery {
		return nil
	}
	l := a.line.link
	i := a.line.topology.index(a.shard)
	if i < 0 {
		return nil // it has no partition yet
	}
	return l.Prove(ctx, pipe, a.line.topology.homes[i])
}

// judge notes what the answers say of the server.
func (a *lane) judge(cmds []redis.Cmder, proof *redis.StatusCmd, err error) {
	if wrong := a.proved(proof); wrong != nil {
		a.wrong = wrong
	}
	if err != nil || a.wrong != nil {
		for _, c := range cmds {
			a.judgeOne(c.Err())
		}
	}
	if a.cut != nil || a.wrong != nil {
		a.hangUp()
	}
	var late net.Error
	if errors.As(a.cut, &late) && late.Timeout() {
		a.shard.doubted.Store(true)
		a.shard.unreachable(a.cut)
	}
}

func (a *lane) judgeOne(err error) {
	var answer redis.Error
	switch {
	case err == nil:
	case !errors.As(err, &answer):
		a.cut = err
	case redis.HasErrorPrefix(err, "NOSCRIPT"):
		a.stale = true
	case redis.HasErrorPrefix(err, "CROSSSLOT"):
		a.line.link.crossed(err)
	case !a.shard.alone && isRedirection(err): // it is about its partition alone
	case a.wrong == nil && Judge(err) == Elsewhere:
		a.wrong = err
	}
}

// proved takes what a write was answered, nil if there was none. It returns the answer if
// the server must not be used.
func (a *lane) proved(proof *redis.StatusCmd) error {
	if proof == nil {
		return nil
	}
	err := proof.Err()
	switch v := Judge(err); {
	case err == nil:
		a.proven = time.Now()
		a.shard.Wrote(nil)
	case v == Unwritable, v == CutOff && !a.shard.Writable():
		a.shard.Wrote(err)
	case v == CutOff:
		a.shard.Wrote(err) // a new connection that finds the same goes on with it
		return err
	case v == Elsewhere:
		return err
	}
	return nil
}
