package roster

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

// lease keeps this node counted among those that live: it beats. All leases are in
// partition 0, and only Redis' clock counts:
//
//	nodes        zset  the names of nodes by their last beats, in µs
//	nodes:clock  hash  last: when anybody beat last; thaw: when Redis was last seen to come
//	                   back from a pause, in µs
//
// A node that was silent for a lease is dead, unless Redis was: nobody is taken for dead
// within one lease of a thaw (SPEC §5 Safety).
type lease struct {
	keeper *keeper
	// taken is the name under which the last beat was taken, nil before the first.
	taken atomic.Pointer[string]
	// doubts counts how often Redis was found to lack something, and answered how many of
	// them were before the last beat that was taken.
	doubts, answered atomic.Int64

	// Of the loop only.
	next   time.Time // when a beat is due
	pause  time.Time // until when none is sent, after a failure
	beaten time.Time // when the last one that was taken was sent
	living []string  // the names of nodes that are not dead, as they were then
}

// keeperPrelude begins the scripts that are not about who is here. What runs while Redis
// has no memory left allows nobody to be taken for dead by mistake, and facts to be told.
var keeperPrelude = fmt.Sprintf(`#!lua flags=allow-oom
local call = redis.call
local KEPT = %d
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local function number(n) return string.format('%%.0f', n) end
`, kept.Milliseconds())

// beatSource beats.
//
//	KEYS  nodes, nodes:clock, dead:NODE
//	ARGV  1 NODE, 2 the step that is a pause (µs)
//
// It returns the time, that of the thaw, whether the node was known, and all names with
// their last beats. What is later than the clock was before it was set back, and counts as
// now.
var beatSource = keeperPrelude + `
local nodes, times, name = KEYS[1], KEYS[2], ARGV[1]
if call('EXISTS', KEYS[3]) == 1 then return redis.error_reply('` + deadError + `') end
local had = call('HMGET', times, 'last', 'thaw')
local last, thaw = tonumber(had[1]), tonumber(had[2])
if not last or not thaw or now < last or now < thaw or now - last > tonumber(ARGV[2]) then thaw = now end
call('HSET', times, 'last', number(now), 'thaw', number(thaw))
local known = call('ZSCORE', nodes, name) and 1 or 0
call('ZADD', nodes, number(now), name)
for _, other in ipairs(call('ZRANGEBYSCORE', nodes, '(' .. number(now), '+inf')) do call('ZADD', nodes, number(now), other) end
call('PEXPIRE', nodes, KEPT)
call('PEXPIRE', times, KEPT)
local out = {number(now), number(thaw), known}
for _, v in ipairs(call('ZRANGE', nodes, 0, -1, 'WITHSCORES')) do out[#out + 1] = v end
return out`

var beatScript = redis.NewScript(beatSource)

// counts says whether others know this node under a name, as far as is known. Only then it
// declares something: nobody else would take it back.
func (l *lease) counts(name string) bool {
	return l.registered() == name && l.answered.Load() == l.doubts.Load()
}

// doubt is called when Redis lacks something: this node may not be counted any more.
func (l *lease) doubt() {
	l.doubts.Add(1)
	l.keeper.nudge()
}

// registered is the name under which others know this node, "" before the first beat.
func (l *lease) registered() string {
	if name := l.taken.Load(); name != nil {
		return *name
	}
	return ""
}

// due adds a beat where it is time, or the node has another name.
func (l *lease) due(all []errand) []errand {
	name, now := l.keeper.roster.life.name(), time.Now()
	if !l.keeper.counted.Load() || now.Before(l.pause) || now.Before(l.next) && l.counts(name) {
		return all
	}
	l.next = now.Add(l.keeper.pace.beat)
	return append(all, &beat{lease: l, name: name, doubts: l.doubts.Load()})
}

// beat is one on its way.
type beat struct {
	lease  *lease
	name   string
	doubts int64
	sent   time.Time
	cmd    *redis.Cmd
}

func (*beat) partition() int { return link.LeasePartition }

func (b *beat) send(ctx context.Context, pipe redis.Pipeliner) {
	k := b.lease.keeper
	b.sent = time.Now()
	b.cmd = beatScript.EvalSha(ctx, pipe,
		[]string{k.roster.nodesKey(), k.roster.clockKey(), k.roster.deadKey(link.LeasePartition, b.name)}, b.name, k.pace.step.Microseconds())
}

func (b *beat) learn(err error) {
	l, k := b.lease, b.lease.keeper
	if err == nil {
		err = b.cmd.Err()
	}
	if k.refused(b.name, err) {
		l.next = time.Time{}
		if isDead(err) {
			k.owned.forget()
		} else {
			l.pause = k.later()
			k.roster.declared.beaten(k.failed | 1<<link.LeasePartition)
		}
		return
	}
	a, err := parseBeat(b.cmd.Val())
	k.roster.declared.beaten(k.failed)
	if err != nil {
		k.unreadable(k.roster.nodesKey(), err)
		return
	}
	l.beaten = b.sent
	before, counted := l.registered(), l.counts(b.name)
	l.taken.Store(&b.name)
	l.answered.Store(b.doubts)
	living, dead := a.judge(b.name, k.pace.lease)
	l.living = living
	k.owned.share(b.name, living)
	k.burials.begin(dead)
	if before == b.name && !a.known {
		k.roster.log.Warn("leases lost", "redis lost data: this node sends its state again", "key", "redis", "name", b.name)
		k.roster.declared.checkAll()
	}
	if !counted {
		k.roster.declared.counted()
	}
}

// beats is what a beat was answered.
type beats struct {
	now, thaw int64 // µs
	known     bool
	nodes     []peer
}

// peer is a node with its last beat, in µs.
type peer struct {
	name string
	last int64
}

// judge tells the living from the dead. Nobody is dead while Redis has just come back.
func (a *beats) judge(self string, lease time.Duration) (living []string, dead []peer) {
	for _, n := range a.nodes {
		if n.name != self && a.now-n.last > lease.Microseconds() && a.now-a.thaw >= lease.Microseconds() {
			dead = append(dead, n)
		} else {
			living = append(living, n.name)
		}
	}
	return living, dead
}

// parseBeat takes what beatScript returned.
func parseBeat(reply any) (*beats, error) {
	values, ok := reply.([]any)
	if !ok || len(values) < 3 || len(values)%2 == 0 {
		return nil, fmt.Errorf("a beat was answered %T with %d values", reply, len(values))
	}
	a := &beats{known: text(values[2]) == "1"}
	var err error
	if a.now, err = strconv.ParseInt(text(values[0]), 10, 64); err == nil {
		a.thaw, err = strconv.ParseInt(text(values[1]), 10, 64)
	}
	for i := 3; err == nil && i+1 < len(values); i += 2 {
		n := peer{name: text(values[i])}
		var last float64 // as Redis writes scores
		last, err = strconv.ParseFloat(text(values[i+1]), 64)
		n.last = int64(last)
		a.nodes = append(a.nodes, n)
	}
	if err != nil {
		return nil, fmt.Errorf("read a beat: %w", err)
	}
	return a, nil
}

// text is a value of a script's answer as text.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return ""
}
