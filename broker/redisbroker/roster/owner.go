package roster

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// dueAtOnce bounds the entries of due that are looked at with one beat.
const dueAtOnce = 500

// ownSource makes NODE the owner of a partition, or lets it go on to be: unless another one
// is, or NODE was buried. The owner carries out what is due.
//
//	KEYS  owner, dead:NODE
//	ARGV  the prelude's, then 6 the lease (ms), 7 how much of what is due at most
//
// It returns what NODE is, how many facts wait, how many were lost for others, whether more
// is due, and the names of keys of another type. An owner with more than a lease left dates
// from before the clock was set back, and an earlier life of NODE is over.
var ownSource = frugal(prelude) + `
if call('EXISTS', KEYS[2]) == 1 then return redis.error_reply('` + deadError + `') end
local owner, lease, most = call('GET', KEYS[1]), tonumber(ARGV[6]), tonumber(ARGV[7])
local function id(name) return string.match(name, '^[^:]*') end
if owner and id(owner) ~= id(NODE) and call('PTTL', KEYS[1]) <= lease then return {0, 0, 0, 0} end
call('SET', KEYS[1], NODE, 'PX', lease)
sound()
local entries = call('ZRANGEBYSCORE', DUE, '-inf', number(now), 'LIMIT', 0, most)
local out = {owner == NODE and 2 or 1, 0, 0, #entries == most and 1 or 0}
for _, entry in ipairs(entries) do out[#out + 1] = due(entry) end
out[2], out[3] = call('XLEN', OUTBOX), finish()
call('PEXPIRE', OUTBOX, KEPT)
call('PEXPIRE', DUE, KEPT)
return out`

// What ownSource says that a node is.
const (
	another  = 0
	newOwner = 1 // else it is the owner as before
)

// disownSource ends the ownership of ARGV[1].
const disownSource = `#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

var (
	ownScript    = redis.NewScript(ownSource)
	disownScript = redis.NewScript(disownSource)
)

// owned are the partitions whose facts this node tells. Each partition is due to the living
// node with the largest weight for it, so that they spread evenly, and few of them move
// when a node comes or goes. Who takes one over waits until its owner let it go, or its
// lease ended.
type owned struct {
	keeper *keeper
	name   string // under which this node owns them
	wanted [Partitions]bool
	have   [Partitions]bool
	ask    [Partitions]bool // is to be claimed, or claimed again
	// claimed is when the last claim that was taken was sent: it holds for a lease.
	claimed [Partitions]time.Time
	next    time.Time // when all is claimed again, if no beat was taken
	// leave is when a partition is to be given up in Redis, if it is: where something is on
	// its way to the backend, a beat later, so that the next owner does not tell it again.
	leave [Partitions]time.Time
	names []string // among which they were shared out
}

// share is called with each beat that was taken: the names of living nodes are known.
func (o *owned) share(name string, living []string) {
	if name != o.name { // buried since
		o.forget()
		o.name = name
	}
	slices.Sort(living)
	if !slices.Equal(o.names, living) {
		o.names = living
		for p := range o.wanted {
			o.wanted[p] = winner(p, living) == name
		}
		o.withdraw(func(p int) bool { return !o.wanted[p] })
	}
	o.ask, o.next = o.wanted, time.Now().Add(2*o.keeper.pace.beat)
}

// winner is the name that a partition is due to.
func winner(p int, names []string) (best string) {
	most := uint64(0)
	for _, name := range names {
		sum := sha256.Sum256([]byte(strconv.Itoa(p) + " " + name))
		if w := binary.BigEndian.Uint64(sum[:]); best == "" || w > most {
			best, most = name, w
		}
	}
	return best
}

// withdraw gives up some partitions: nothing of them is told any more, and then another
// may own them.
func (o *owned) withdraw(which func(p int) bool) {
	var gone [Partitions]bool
	for p := range o.have {
		if gone[p] = o.have[p] && which(p); gone[p] {
			o.have[p] = false
		}
	}
	if gone == [Partitions]bool{} {
		return
	}
	now, open := time.Now(), o.keeper.outbox.withdraw(gone)
	for p := range gone {
		if gone[p] {
			o.leave[p] = now
		}
		if open[p] {
			o.leave[p] = now.Add(o.keeper.pace.beat)
		}
	}
}

// guard gives up partitions that this node did not claim for almost a lease: another may
// own them soon. Its own clock decides, as it may have been stopped.
func (o *owned) guard() {
	lapsed := false
	for p := range o.have {
		lapsed = lapsed || o.have[p] && o.fenced(p)
	}
	if !lapsed {
		return
	}
	o.keeper.roster.log.Warn("fenced", "this node has not reached redis for too long: it leaves the events in the outbox to other nodes", "key", "redis")
	o.withdraw(o.fenced)
	for p := range o.leave {
		if o.fenced(p) {
			o.leave[p] = time.Time{} // the lease ends
		}
	}
}

// fenced says whether this node may tell nothing of a partition, as others may be about to.
func (o *owned) fenced(p int) bool {
	return time.Since(o.claimed[p]) >= o.keeper.pace.lease-o.keeper.pace.fence
}

// renew has claims made while nobody's lease can be read, as partitions on other servers go
// on being told. A node that was taken for dead learns it from the mark in each partition.
func (o *owned) renew(now time.Time) {
	if o.names == nil || now.Before(o.next) {
		return
	}
	o.ask, o.next = o.wanted, now.Add(o.keeper.pace.beat)
}

// forget is for a node that was taken for dead: others tell what it told.
func (o *owned) forget() {
	o.withdraw(func(int) bool { return true })
	o.name, o.names, o.wanted, o.ask, o.leave = "", nil, [Partitions]bool{}, [Partitions]bool{}, [Partitions]time.Time{}
}

// due adds a claim, or its end, for each partition where there is one to make.
func (o *owned) due(all []errand) []errand {
	now := time.Now()
	o.renew(now)
	for p := range Partitions {
		switch leave := o.leave[p]; {
		case o.ask[p]:
			all = append(all, &own{owned: o, p: p, name: o.name})
			o.ask[p], o.leave[p] = false, time.Time{}
		case !leave.IsZero() && !now.Before(leave):
			all = append(all, &disown{owned: o, p: p, name: o.name})
			o.leave[p] = time.Time{}
		}
	}
	return all
}

// own is a claim on its way.
type own struct {
	owned *owned
	p     int
	name  string
	sent  time.Time
	cmd   *redis.Cmd
}

func (c *own) partition() int { return c.p }

func (c *own) send(ctx context.Context, pipe redis.Pipeliner) {
	r := c.owned.keeper.roster
	c.sent = time.Now()
	c.cmd = ownScript.EvalSha(ctx, pipe, []string{r.ownerKey(c.p), r.deadKey(c.p, c.name)},
		append(r.preludeArgs(c.p, c.name), c.owned.keeper.pace.lease.Milliseconds(), dueAtOnce)...)
}

func (c *own) learn(err error) {
	o, k := c.owned, c.owned.keeper
	var answer []any
	if err == nil {
		answer, err = c.cmd.Slice()
	}
	if isDead(err) && c.name == o.name {
		o.forget()
	}
	if k.refused(c.name, err) || c.name != o.name {
		return // tried again with the next beat
	}
	k.trimmed(count(answer, 2))
	switch is := count(answer, 0); {
	case is == another:
		o.withdraw(func(p int) bool { return p == c.p })
		o.leave[c.p] = time.Time{}
		return
	case !o.wanted[c.p]: // not since this was sent
		if !o.have[c.p] && o.leave[c.p].IsZero() {
			o.leave[c.p] = time.Now()
		}
		return
	case is == newOwner || !o.have[c.p]:
		k.outbox.restart(c.p)
	}
	o.have[c.p], o.claimed[c.p] = true, c.sent
	k.outbox.holds(c.p, count(answer, 1))
	o.ask[c.p] = count(answer, 3) == 1
	k.foreign(answer[min(4, len(answer)):])
}

// disown is the end of one on its way.
type disown struct {
	owned *owned
	p     int
	name  string
	cmd   *redis.Cmd
}

func (c *disown) partition() int { return c.p }

func (c *disown) send(ctx context.Context, pipe redis.Pipeliner) {
	c.cmd = disownScript.EvalSha(ctx, pipe, []string{c.owned.keeper.roster.ownerKey(c.p)}, c.name)
}

// learn has nothing to do: what failed ends with its lease.
func (c *disown) learn(error) {}
