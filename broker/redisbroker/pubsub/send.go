package pubsub

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"

	"github.com/pushcart/pushcart/broker/internal/record"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/broker/redisbroker/streams"
)

// run is the publisher's goroutine.
func (p *Publisher) run() {
	defer p.line.HangUp()
	var buf []*entry
	for {
		select {
		case <-p.link.Context().Done():
			p.refuseRest()
			return
		case <-p.wake:
		case <-p.held.again():
		}
		buf = p.take(buf[:0])
		if now := p.held.pass(buf); len(now) > 0 {
			p.send(now)
		}
		clear(buf)
	}
}

func (p *Publisher) refuseRest() {
	for _, e := range p.held.all() {
		e.Err = broker.ErrClosed
		e.call.settle()
	}
	for buf := p.take(nil); len(buf) > 0; buf = p.take(nil) {
		for _, e := range buf {
			e.Err = broker.ErrClosed
			e.call.settle()
		}
	}
}

// once publishes unless the id was used before: in one step, so that two who try
// at once cannot both succeed (SPEC §6.1). -1 is a duplicate, with its position if it
// was kept, -2 a conflict.
const onceSource = `
local seen = redis.call('GET', KEYS[1])
if seen then
  local digest, offset, epoch = string.match(seen, '^(%x*) ?(%d*) ?(.*)$')
  if digest ~= ARGV[1] then return -2 end
  return {-1, offset, epoch}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('PUBLISH', ARGV[3], ARGV[4])`

var once = redis.NewScript(onceSource)

// send publishes entries in one round trip, with a write now and then, as the line does:
// that a PUBLISH is answered does not say that it went anywhere.
func (p *Publisher) send(entries []*entry) {
	cmds := make([]*redis.Cmd, len(entries))
	_, err := p.line.Exchange(p.link.Context(), func(pipe redis.Pipeliner) {
		for i, e := range entries {
			cmds[i] = p.command(pipe, e, false)
		}
	})
	if err != nil {
		settle(entries, err)
		return
	}
	sound := p.line.Sound()
	if sound {
		p.repeat(entries, cmds)
		p.repeatAtHome(entries, cmds)
		sound = p.line.Sound()
	}
	for i, e := range entries {
		if link.MovesNow(cmds[i].Err()) && e.call.waits() {
			p.held.put(e)
			continue
		}
		if redis.HasErrorPrefix(cmds[i].Err(), "WRONGTYPE") {
			p.link.WrongType(p.keysOf(e)...)
		}
		var wrong error
		if !sound {
			wrong = p.line.Wrong(link.TopicPartition(e.Topic))
		}
		e.outcome(cmds[i], wrong)
		e.call.settle()
	}
	p.line.LeaveWrong()
}

func settle(entries []*entry, err error) {
	for _, e := range entries {
		e.failed(err)
		e.call.settle()
	}
}

// repeat is for a Redis that lost the scripts meanwhile (SCRIPT FLUSH), or has another
// name than the connection knows (a replica became a master under it): scripts are
// loaded and the name is read once, and what wanted them goes out again in one round
// trip, but for those whose callers are gone.
func (p *Publisher) repeat(entries []*entry, cmds []*redis.Cmd) {
	var again []int
	for i, cmd := range cmds {
		if (redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") || code(cmd) == otherServer) && entries[i].call.waits() {
			again = append(again, i)
		}
	}
	if again == nil {
		return
	}
	if err := p.line.Greet(p.link.Context()); err != nil {
		return
	}
	fork := make([]bool, len(again))
	for n, i := range again {
		fork[n] = code(cmds[i]) == otherServer
	}
	_, _ = p.line.Exchange(p.link.Context(), func(pipe redis.Pipeliner) { // each command has its own error
		for n, i := range again {
			cmds[i] = p.command(pipe, entries[i], fork[n])
		}
	})
}

// repeatAtHome publishes what the server executed that a partition moves to, while all who
// listen are still at the one before: what needs its id only goes there.
func (p *Publisher) repeatAtHome(entries []*entry, cmds []*redis.Cmd) {
	var at []int
	for i, e := range entries {
		if !e.Keep.Keeps() && e.ID != "" && p.line.Asked(link.TopicPartition(e.Topic)) && cmds[i].Err() == nil && code(cmds[i]) == 0 {
			at = append(at, i)
		}
	}
	if at == nil {
		return
	}
	_, _ = p.line.Exchange(p.link.Context(), func(pipe redis.Pipeliner) { // each command has its own error
		for _, i := range at {
			cmds[i] = pipe.Do(p.link.Context(), "publish", p.link.Keys().Channel(entries[i].Topic), entries[i].Payload)
		}
	})
}

// command is what publishes an entry. fork: a stream that another server wrote to last
// begins a new epoch.
func (p *Publisher) command(to redis.Pipeliner, e *entry, fork bool) *redis.Cmd {
	channel := p.link.Keys().Channel(e.Topic)
	switch {
	case e.Keep.Keeps():
		return p.keep(to, e, channel, fork)
	case e.ID == "":
		return to.Do(p.link.Context(), "publish", channel, e.Payload)
	}
	return once.EvalSha(p.link.Context(), to, p.keysOf(e),
		strconv.FormatUint(e.Digest, 16), broker.DuplicateWindow.Milliseconds(), channel, e.Payload)
}

// keep is the command that publishes a message and keeps it.
func (p *Publisher) keep(to redis.Pipeliner, e *entry, channel string, fork bool) *redis.Cmd {
	args := append(make([]any, 0, 11), p.line.Server(link.TopicPartition(e.Topic)), flag(fork), record.NewEpoch(), e.Keep.Messages,
		millis(e.Keep.Age), millis(record.Life(e.Keep.Age)), millis(e.TTL), channel, e.Payload)
	if e.ID != "" {
		args = append(args, strconv.FormatUint(e.Digest, 16), broker.DuplicateWindow.Milliseconds())
	}
	return streams.KeepScript.EvalSha(p.link.Context(), to, p.keysOf(e), args...)
}

// keysOf are the keys that a script for an entry touches.
func (p *Publisher) keysOf(e *entry) []string {
	k, names := p.link.Keys(), make([]string, 0, 3)
	if e.Keep.Keeps() {
		names = append(names, k.Record(e.Topic), k.Messages(e.Topic))
	}
	if e.ID != "" {
		names = append(names, k.Seen(e.Topic, e.ID))
	}
	return names
}

// millis are whole milliseconds; only nothing is none.
func millis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// flag is a condition as scripts know it.
func flag(set bool) string {
	if set {
		return "1"
	}
	return ""
}

// What scripts return instead of a number of nodes.
const (
	duplicate   = -1
	conflict    = -2
	otherServer = -3
)

// code is the number of nodes, or one of the above, in an answer; 0 without one.
func code(cmd *redis.Cmd) int {
	v := cmd.Val()
	if list, ok := v.([]any); ok && len(list) > 0 {
		v = list[0]
	}
	n, _ := v.(int64)
	return int(n)
}

// outcome fills in what became of an entry; wrong says that its server must not be
// used.
func (e *entry) outcome(cmd *redis.Cmd, wrong error) {
	err := cmd.Err()
	if wrong != nil {
		err = wrong
	}
	if err != nil {
		e.failed(err)
		return
	}
	if list, ok := cmd.Val().([]any); ok && len(list) == 3 {
		offset, _ := strconv.ParseUint(link.Text(list, 1), 10, 64)
		e.Position = broker.Position{Offset: offset, Epoch: link.Text(list, 2)}
	}
	switch n := code(cmd); n {
	case duplicate:
		e.Duplicate = true
	case conflict:
		e.Err = broker.ErrConflict
	case otherServer: // it changed again meanwhile
		e.Err = broker.ErrUnavailable
	default:
		e.Nodes = n
	}
}

func (e *entry) failed(err error) {
	if errors.Is(err, context.Canceled) {
		e.Err = broker.ErrClosed
		return
	}
	e.Err = fmt.Errorf("%w: %s", broker.ErrUnavailable, strings.TrimPrefix(err.Error(), "redis: "))
}
