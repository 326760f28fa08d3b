package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// pipelineAtOnce bounds the commands of one round trip.
	pipelineAtOnce = 256
	// proveEvery is how long publications go without a write among them. So long
	// can a replica that was the master a moment ago take them for nothing.
	proveEvery = 100 * time.Millisecond
)

// publisher is the queue between callers and the one goroutine that talks to
// Redis. Joining what many callers publish at once into one round trip costs a
// sixth of a round trip each, and keeps every topic's order.
type publisher struct {
	mu     sync.Mutex // guards all below
	queue  []*entry
	closed bool
	wake   chan struct{}

	// Of the loop only.
	client *redis.Client
	proven time.Time // when a write was taken
}

// entry is one publication on its way. Its caller may have given up.
type entry struct {
	Publication
	call *call
}

// call is one Publish that waits for its entries.
type call struct {
	mu      sync.Mutex // guards all below
	left    int
	givenUp bool
	done    chan struct{}
}

func (p *publisher) init() { p.wake = make(chan struct{}, 1) }

func (p *publisher) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

func (p *publisher) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
}

// add queues entries, all or none.
func (p *publisher) add(entries []*entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return ErrClosed
	case len(p.queue)+len(entries) > MaxPending:
		return fmt.Errorf("%w: too many publications wait", ErrUnavailable)
	}
	p.queue = append(p.queue, entries...)
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}

// take moves entries of callers that still wait to buf.
func (p *publisher) take(buf []*entry) []*entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.queue) && len(buf) < pipelineAtOnce {
		if e := p.queue[n]; e.call.waits() {
			buf = append(buf, e)
		}
		n++
	}
	rest := copy(p.queue, p.queue[n:])
	clear(p.queue[rest:])
	p.queue = p.queue[:rest]
	if rest > 0 {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	return buf
}

func (c *call) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.givenUp
}

func (c *call) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// giveUp says whether it came before the last entry was settled.
func (c *call) giveUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.givenUp = true
	return c.left > 0
}

// Publish implements Broker.
func (b *Redis) Publish(ctx context.Context, batch []Publication) {
	if len(batch) == 0 {
		return
	}
	if !b.Up() {
		fail(batch, ErrUnavailable)
		return
	}
	b.publish(ctx, batch)
}

// publish is Publish also while Redis is believed to be away.
func (b *Redis) publish(ctx context.Context, batch []Publication) {
	c := &call{left: len(batch), done: make(chan struct{})}
	entries := make([]*entry, len(batch))
	for i := range batch {
		entries[i] = &entry{Publication: batch[i], call: c}
	}
	if err := b.publisher.add(entries); err != nil {
		fail(batch, err)
		return
	}
	t := time.NewTimer(publishTimeout)
	defer t.Stop()
	select {
	case <-c.done:
	case <-t.C:
	case <-ctx.Done():
	}
	if c.giveUp() { // entries may still be written to: they are not ours any more
		fail(batch, fmt.Errorf("%w: no confirmation in time", ErrUnavailable))
		return
	}
	for i, e := range entries {
		batch[i].Nodes, batch[i].Duplicate, batch[i].Err = e.Nodes, e.Duplicate, e.Err
	}
}

func fail(batch []Publication, err error) {
	for i := range batch {
		batch[i].Nodes, batch[i].Duplicate, batch[i].Err = 0, false, err
	}
}

// publishLoop is the publisher's goroutine.
func (b *Redis) publishLoop() {
	b.reconnect()
	defer func() { _ = b.publisher.client.Close() }()
	var buf []*entry
	for {
		select {
		case <-b.ctx.Done():
			b.refuseRest()
			return
		case <-b.publisher.wake:
		}
		if buf = b.publisher.take(buf[:0]); len(buf) > 0 {
			b.send(buf)
			clear(buf)
		}
	}
}

// reconnect has the publisher's next command go out on a new connection. A script
// that is loaded before anything else is there for what goes with it in one round
// trip; should that fail, send sees it.
func (b *Redis) reconnect() {
	if old := b.publisher.client; old != nil {
		_ = old.Close()
	}
	o := *b.options
	o.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		_ = conn.ScriptLoad(ctx, onceSource).Err()
		return nil
	}
	b.publisher.client, b.publisher.proven = redis.NewClient(&o), time.Time{}
}

func (b *Redis) refuseRest() {
	for buf := b.publisher.take(nil); len(buf) > 0; buf = b.publisher.take(nil) {
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
func (b *Redis) send(entries []*entry) {
	pipe := b.publisher.client.Pipeline()
	var proof *redis.StatusCmd
	if time.Since(b.publisher.proven) >= proveEvery {
		proof = b.prove(b.ctx, pipe)
	}
	cmds := make([]*redis.Cmd, len(entries))
	for i, e := range entries {
		cmds[i] = b.command(pipe, e)
	}
	_, _ = pipe.Exec(b.ctx) // each command has its own error
	b.repeat(entries, cmds)
	wrong := b.proved(proof)
	for i := 0; i < len(cmds) && wrong == nil; i++ {
		if err := cmds[i].Err(); judge(err) == elsewhere {
			wrong = err
		}
	}
	if wrong != nil {
		b.leave(wrong)
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
func (b *Redis) proved(proof *redis.StatusCmd) error {
	if proof == nil {
		return nil
	}
	err := proof.Err()
	switch v := judge(err); {
	case err == nil:
		b.publisher.proven = time.Now()
		b.wrote(nil)
	case v == unwritable, v == cutOff && !b.writable():
		b.wrote(err)
	case v == cutOff:
		b.wrote(err) // a new connection that finds the same goes on with it
		return err
	case v == elsewhere:
		return err
	}
	return nil
}

// writable: the last write was taken.
func (b *Redis) writable() bool {
	b.health.mu.Lock()
	defer b.health.mu.Unlock()
	return b.health.refusal == nil
}

// leave gives up the connections to a server that must not be used.
func (b *Redis) leave(why error) {
	b.setDown(why)
	b.reconnect()
	b.subscriber.interrupt()
}

// repeat is for a Redis that lost the script meanwhile (SCRIPT FLUSH): it is loaded
// once, and what wanted it goes out again in one round trip, but for those whose
// callers are gone.
func (b *Redis) repeat(entries []*entry, cmds []*redis.Cmd) {
	var again []int
	for i, cmd := range cmds {
		if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") && entries[i].call.waits() {
			again = append(again, i)
		}
	}
	if again == nil {
		return
	}
	pipe := b.publisher.client.Pipeline()
	pipe.ScriptLoad(b.ctx, onceSource) // not once.Load, which takes the hash from an answer that is not here yet
	for _, i := range again {
		cmds[i] = b.command(pipe, entries[i])
	}
	_, _ = pipe.Exec(b.ctx)
}

func (b *Redis) command(to redis.Pipeliner, e *entry) *redis.Cmd {
	channel := b.channels + e.Topic
	if e.ID == "" {
		return to.Do(b.ctx, "publish", channel, e.Payload)
	}
	return once.EvalSha(b.ctx, to, []string{b.seenKey(e.Topic, e.ID)},
		strconv.FormatUint(e.Digest, 16), DuplicateWindow.Milliseconds(), channel, e.Payload)
}

// seenKey has only a hash in braces, as names could have braces of their own.
func (b *Redis) seenKey(topic, id string) string {
	sum := sha256.Sum256([]byte(topic))
	return b.keys + "seen:{" + hex.EncodeToString(sum[:8]) + "}:" + id
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
