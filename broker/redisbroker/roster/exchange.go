package roster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
)

// work is what goes to Redis in one round trip.
type work struct {
	name    string // of this node
	parcels []*parcel
}

// parcel is one partition's part of it: what is in Redis of a part that is stale, or a
// batch and the readings behind it.
type parcel struct {
	p        int
	part     *part
	batch    *batch
	readings []*reading
	fields   *redis.StringSliceCmd
	last     *redis.StringCmd
	answer   *redis.Cmd
}

// take takes the next work, beginning with another part each time.
func (d *declarations) take() *work {
	var stored []hold
	defer func() { say(stored, true) }()
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &work{name: d.name}
	if !d.roster.keeper.lease.counts(d.name) {
		return w // counted wakes the loop
	}
	stale, changes := 0, 0
	for i := range Partitions {
		p := (d.from + i) % Partitions
		bit := uint64(1) << p
		if d.waiting&bit == 0 || d.held&bit != 0 {
			continue
		}
		part := d.parts[p]
		c := &parcel{p: p, part: part}
		switch {
		case part.stale && stale == fieldsAtOnce || changes >= inFlight:
			continue
		case part.stale:
			stale++
		default:
			if c.batch = part.take(); c.batch != nil {
				changes += len(c.batch.changes)
			}
			stored = append(stored, part.ripe(false)...) // of what need not go
			c.readings = part.ready()
			d.readings -= len(c.readings)
		}
		if d.waiting &^= bit; c.batch != nil || part.stale || len(c.readings) > 0 {
			w.parcels = append(w.parcels, c)
		}
	}
	d.from++
	return w
}

// send adds the commands to a pipeline.
func (w *work) send(ctx context.Context, pipe redis.Pipeliner, r *Roster) {
	for _, c := range w.parcels {
		switch {
		case c.batch != nil:
			args := append(r.preludeArgs(c.p, w.name), c.batch.before, c.batch.number)
			for i := range c.batch.changes {
				args = encode(args, &c.batch.changes[i])
			}
			c.answer = declareScript.EvalSha(ctx, pipe, []string{r.rosterKey(c.p, w.name)}, args...)
		case c.part.stale:
			c.fields = pipe.HKeys(ctx, r.rosterKey(c.p, w.name))
			c.last = pipe.HGet(ctx, r.rosterKey(c.p, w.name), sequenceField)
		}
		for _, read := range c.readings {
			read.cmd = membersScript.EvalSha(ctx, pipe,
				[]string{r.presentKey(c.p, read.channel), r.presenceKey(c.p, read.channel)}, read.from, read.limit)
		}
	}
}

// failed is for work that was not sent.
func (d *declarations) failed(w *work, err error) {
	d.refused(err)
	d.held = everyPart
	var away []hold
	defer func() { say(away, false) }()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range w.parcels {
		c.part.refuse()
		away = append(away, c.part.ripe(true)...)
		c.settleReadings(err)
		d.touchLocked(c.p)
	}
}

func (d *declarations) refused(err error, keys ...string) {
	args := []any{"key", "redis", "err", fmt.Sprint(err)}
	if len(keys) > 0 {
		args = append(args, "redis-keys", keys)
	}
	d.roster.log.Warn("roster refused "+firstWord(err), "redis does not accept this node's state; it is sent again", args...)
}

// firstWord tells answers of Redis apart. Other errors are one, as their texts carry ports.
func firstWord(err error) string {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return "unreachable"
	}
	word, _, _ := strings.Cut(answer.Error(), " ")
	return word
}

// settle takes the answers. It says whether there is more to do now.
func (d *declarations) settle(w *work) (more bool) {
	dead := false
	var stored, away []hold
	d.mu.Lock()
	for _, c := range w.parcels {
		if d.parts[c.p] != c.part { // of an earlier life
			c.settleReadings(broker.ErrUnavailable)
			continue
		}
		err := d.outcomeLocked(c)
		dead = dead || redis.HasErrorPrefix(err, "DEAD")
		if c.part.away {
			away = append(away, c.part.ripe(true)...)
		} else {
			stored = append(stored, c.part.ripe(false)...)
		}
		if err != nil && (needsAnother(err) || redis.HasErrorPrefix(err, "STALE")) { // they see what is sent again
			d.againLocked(c, c.readings)
		} else {
			d.againLocked(c, c.settleReadings(err))
		}
		d.touchLocked(c.p)
	}
	more = d.waiting&^d.held != 0
	d.settledLocked()
	d.mu.Unlock()
	say(stored, true)
	say(away, false)
	if dead {
		d.roster.buried(w.name)
	}
	return more
}

// outcomeLocked takes the answer to a parcel, but for its readings.
func (d *declarations) outcomeLocked(c *parcel) error {
	switch {
	case c.fields != nil:
		last, err := c.last.Result()
		if err == nil || errors.Is(err, redis.Nil) {
			err = c.fields.Err()
		}
		if err != nil {
			return d.keptLocked(c, err)
		}
		c.part.resync(c.fields.Val(), last)
		return nil
	case c.batch == nil:
		return nil
	}
	answer, err := c.answer.Slice()
	switch {
	case err == nil:
		c.part.confirm(d.left(answer))
		return nil
	case redis.HasErrorPrefix(err, "DEAD"):
		return err
	case redis.HasErrorPrefix(err, "STALE"):
		c.part.lose()
		d.roster.keeper.lease.doubt()
		d.roster.log.Warn("roster lost", "redis lost this node's state; it is sent again", "key", "redis")
		for p, part := range d.parts {
			if part != c.part {
				d.checkLocked(p)
			}
		}
		return err
	}
	return d.keptLocked(c, err)
}

// keptLocked is for what was not taken: it is sent again with the next try.
func (d *declarations) keptLocked(c *parcel, err error) error {
	if needsAnother(err) {
		d.line.HangUp()
	}
	r := d.roster
	var keys []string
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		keys = []string{r.rosterKey(c.p, d.name), r.outboxKey(c.p), r.dueKey(c.p)}
	}
	if !d.moves.pass(c.p, err) {
		d.refused(err, keys...)
	}
	if answered(err) {
		c.part.refuse()
	} else {
		c.part.fail()
	}
	d.held |= 1 << c.p
	return err
}

// left are the changes of a batch that were left out, as their keys are of another type.
// The first value is how many facts were lost.
func (d *declarations) left(answer []any) map[int]bool {
	if len(answer) == 0 {
		return nil
	}
	r := d.roster
	r.keeper.trimmed(count(answer, 0))
	var left map[int]bool
	for i := 1; i+1 < len(answer); i += 2 {
		if left == nil {
			left = map[int]bool{}
		}
		at, _ := answer[i].(int64)
		left[int(at)-1] = true
		r.log.Error("key of another type", "another program wrote to a key of ours: users and channels are not tracked there; remove that key",
			"key", "redis.prefix", "redis-keys", answer[i+1])
	}
	return left
}

// againLocked has readings sent again, with the next try if they got no answer.
func (d *declarations) againLocked(c *parcel, readings []*reading) {
	if len(readings) > 0 && (c.batch == nil || c.answer.Err() == nil) {
		d.line.HangUp()
		d.held |= 1 << c.p
	}
	c.part.readings = append(readings, c.part.readings...)
	d.readings += len(readings)
}

// settleReadings answers those who read behind the batch; err is that of the batch, without
// which they do not see what this node declared. It returns those that got no answer.
func (c *parcel) settleReadings(err error) (again []*reading) {
	for _, r := range c.readings {
		var m broker.Members
		failed := err
		if failed == nil {
			var reply []any
			if reply, failed = r.cmd.Slice(); failed == nil {
				m, failed = parseMembers(reply)
			} else if needsAnother(failed) {
				again = append(again, r)
				continue
			}
		}
		if failed != nil && !errors.Is(failed, broker.ErrUnavailable) {
			failed = fmt.Errorf("%w: %w", broker.ErrUnavailable, failed)
		}
		r.settle(m, failed)
	}
	return again
}

// needsAnother: the connection ended, or lacks our scripts.
func needsAnother(err error) bool {
	return !answered(err) || redis.HasErrorPrefix(err, "NOSCRIPT")
}

func answered(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}
