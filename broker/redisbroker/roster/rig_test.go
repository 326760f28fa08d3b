package roster

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
)

// This rig stands in for the owners of partitions, until they are here.

var rigSource = prelude + `
for _, e in ipairs(call('ZRANGEBYSCORE', DUE, '-inf', number(now), 'LIMIT', 0, 500)) do due(e) end
return finish()`

// RunRig has this node tell the facts of all partitions.
func (r *Roster) RunRig() { r.link.Run("rig", r.rig) }

func (r *Roster) rig() {
	ctx, script := r.link.Context(), redis.NewScript(rigSource)
	line := r.link.Line(rigSource)
	defer line.HangUp()
	for ctx.Err() == nil {
		var reads [Partitions]*redis.XMessageSliceCmd
		_, err := line.Exchange(ctx, func(pipe redis.Pipeliner) {
			for p := range Partitions {
				script.EvalSha(ctx, pipe, []string{r.dueKey(p)}, r.preludeArgs(p, "")...)
				reads[p] = pipe.XRangeN(ctx, r.outboxKey(p), "-", "+", 1000)
			}
		})
		if err == nil {
			err = r.rigTell(ctx, line, reads[:])
		}
		if err != nil {
			line.HangUp()
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (r *Roster) rigTell(ctx context.Context, line Line, reads []*redis.XMessageSliceCmd) error {
	for p, cmd := range reads {
		if cmd.Err() != nil {
			return cmd.Err()
		}
		var ids []string
		for _, m := range cmd.Val() {
			text := func(field string) string { s, _ := m.Values[field].(string); return s }
			g, _ := strconv.ParseUint(text("g"), 10, 64)
			a, _ := strconv.ParseInt(text("a"), 10, 64)
			r.watcher.Tell(broker.Fact{
				Kind: factLetters[text("t")], Name: text("n"), User: text("u"),
				Generation: g, At: time.UnixMilli(a), Record: []byte(text("r")),
			})
			ids = append(ids, m.ID)
		}
		if len(ids) > 0 {
			if _, err := line.Exchange(ctx, func(pipe redis.Pipeliner) { pipe.XDel(ctx, r.outboxKey(p), ids...) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Roster) LimitOutbox(l broker.OutboxLimits) { r.waiting.Store(int64(l.Waiting) / Partitions) }
func (r *Roster) Settle(string)                     {}
func (r *Roster) Bury(broker.DeadLetter)            {}
func (r *Roster) OutboxSize() (int, int)            { return 0, 0 }
func (r *Roster) DeadLetters(context.Context, string, int) ([]broker.DeadLetter, string, error) {
	return nil, "", nil
}

func (r *Roster) DeadLetter(context.Context, string) (broker.DeadLetter, bool, error) {
	return broker.DeadLetter{}, false, nil
}
func (r *Roster) Drop(context.Context, string) (bool, error) { return false, nil }

// KeyOf is a key about a name: rest comes before the name.
func (r *Roster) KeyOf(rest, name string) string {
	return r.link.Keys(r.link.Partition(name)) + rest + name
}

// KeyBeside is a key in the partition of a name.
func (r *Roster) KeyBeside(name, rest string) string {
	return r.link.Keys(r.link.Partition(name)) + rest
}

// Name is the node's, in Redis.
func (r *Roster) Name() string { return r.life.name() }

// CheckAll is what a beat does that finds that Redis lost data.
func (r *Roster) CheckAll() { r.declared.checkAll() }

// RenewAll declares everything again, as is done within an hour.
func (r *Roster) RenewAll() {
	d := r.declared
	d.mu.Lock()
	defer d.mu.Unlock()
	for p, part := range d.parts {
		part.renew = nil
		part.renewSome(1)
		d.touchLocked(p)
	}
}

// Entries is how many declarations are kept.
func (r *Roster) Entries() (n int) {
	r.declared.mu.Lock()
	defer r.declared.mu.Unlock()
	for _, p := range r.declared.parts {
		n += len(p.entries)
	}
	return n
}
