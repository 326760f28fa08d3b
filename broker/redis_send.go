package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// proveEvery is how long publications go without a write among them. So long can a
// replica that was the master a moment ago take them for nothing.
const proveEvery = 100 * time.Millisecond

// run is the publisher's goroutine.
func (p *publisher) run() {
	p.reconnect()
	defer func() { _ = p.client.Close() }()
	var buf []*entry
	for {
		select {
		case <-p.link.ctx.Done():
			p.refuseRest()
			return
		case <-p.wake:
		}
		if buf = p.take(buf[:0]); len(buf) > 0 {
			p.send(buf)
			clear(buf)
		}
	}
}

// reconnect has the publisher's next command go out on a new connection.
func (p *publisher) reconnect() {
	if p.client != nil {
		_ = p.client.Close()
	}
	p.client, p.proven = p.link.connect(onceSource), time.Time{}
}

func (p *publisher) refuseRest() {
	for buf := p.take(nil); len(buf) > 0; buf = p.take(nil) {
		for _, e := range buf {
			e.Err = ErrClosed
			e.call.settle()
		}
	}
}

// once publishes unless the id was used before: in one step, so that two who try
// at once cannot both succeed (SPEC §6.1). -1 is a duplicate, -2 a conflict.
const onceSource = `
local seen = redis.call('GET', KEYS[1])
if seen then return seen == ARGV[1] and -1 or -2 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('PUBLISH', ARGV[3], ARGV[4])`

var once = redis.NewScript(onceSource)

// send publishes entries in one round trip, and a write with them if the last is
// some time ago: that a PUBLISH is answered does not say that it went anywhere.
func (p *publisher) send(entries []*entry) {
	pipe := p.client.Pipeline()
	var proof *redis.StatusCmd
	if time.Since(p.proven) >= proveEvery {
		proof = p.link.prove(p.link.ctx, pipe)
	}
	cmds := make([]*redis.Cmd, len(entries))
	for i, e := range entries {
		cmds[i] = p.command(pipe, e)
	}
	_, _ = pipe.Exec(p.link.ctx) // each command has its own error
	p.repeat(entries, cmds)
	wrong := p.proved(proof)
	for i := 0; i < len(cmds) && wrong == nil; i++ {
		if err := cmds[i].Err(); judge(err) == elsewhere {
			wrong = err
		}
	}
	if wrong != nil {
		p.leave(wrong)
	}
	for i, e := range entries {
		n, err := cmds[i].Int()
		if wrong != nil {
			err = wrong
		}
		e.outcome(n, err)
		e.call.settle()
	}
}

// proved takes what a write was answered, nil if there was none. It returns the
// answer if this server must not be used.
func (p *publisher) proved(proof *redis.StatusCmd) error {
	if proof == nil {
		return nil
	}
	err := proof.Err()
	switch v := judge(err); {
	case err == nil:
		p.proven = time.Now()
		p.link.health.wrote(nil)
	case v == unwritable, v == cutOff && !p.link.health.writable():
		p.link.health.wrote(err)
	case v == cutOff:
		p.link.health.wrote(err) // a new connection that finds the same goes on with it
		return err
	case v == elsewhere:
		return err
	}
	return nil
}

// leave gives up this server, and with it the other connections to it.
func (p *publisher) leave(why error) {
	p.link.leave(why)
	p.reconnect()
}

// repeat is for a Redis that lost the script meanwhile (SCRIPT FLUSH): it is loaded
// once, and what wanted it goes out again in one round trip, but for those whose
// callers are gone.
func (p *publisher) repeat(entries []*entry, cmds []*redis.Cmd) {
	var again []int
	for i, cmd := range cmds {
		if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") && entries[i].call.waits() {
			again = append(again, i)
		}
	}
	if again == nil {
		return
	}
	pipe := p.client.Pipeline()
	pipe.ScriptLoad(p.link.ctx, onceSource) // not once.Load, which takes the hash from an answer that is not here yet
	for _, i := range again {
		cmds[i] = p.command(pipe, entries[i])
	}
	_, _ = pipe.Exec(p.link.ctx)
}

func (p *publisher) command(to redis.Pipeliner, e *entry) *redis.Cmd {
	channel := p.link.keys.channel(e.Topic)
	if e.ID == "" {
		return to.Do(p.link.ctx, "publish", channel, e.Payload)
	}
	return once.EvalSha(p.link.ctx, to, []string{p.link.keys.seen(e.Topic, e.ID)},
		strconv.FormatUint(e.Digest, 16), DuplicateWindow.Milliseconds(), channel, e.Payload)
}

func (e *entry) outcome(n int, err error) {
	switch {
	case errors.Is(err, context.Canceled):
		e.Err = ErrClosed
	case err != nil:
		e.Err = fmt.Errorf("%w: %s", ErrUnavailable, strings.TrimPrefix(err.Error(), "redis: "))
	case n == -1:
		e.Duplicate = true
	case n == -2:
		e.Err = ErrConflict
	default:
		e.Nodes = n
	}
}
