package roster

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

const (
	// buryFields bounds what a script takes of a dead node at once, and buryAtOnce in
	// how many partitions it does so in one round trip.
	buryFields = 500
	buryAtOnce = 16
)

// condemnSource decides that a node is dead, for all who look: from then on no beat of it
// is taken.
//
//	KEYS  nodes, nodes:clock, dead:NODE
//	ARGV  1 NODE, 2 the lease (µs)
//
// It returns the node's last beat in ms, or nothing if it lives, or is buried.
var condemnSource = keeperPrelude + `
local last, lease = tonumber(call('ZSCORE', KEYS[1], ARGV[1]) or ''), tonumber(ARGV[2])
if not last then return false end
if call('EXISTS', KEYS[3]) == 0 then
  local thaw = tonumber(call('HGET', KEYS[2], 'thaw') or '')
  if now - last <= lease or not thaw or now - thaw < lease then return false end
  call('SET', KEYS[3], '', 'PX', KEPT)
end
return number(math.floor(last / 1000))`

// burySource takes back what a dead node declared in a partition: its connections become
// facts, and of its users, channels and members it has none any more. To remove a field
// is to claim it, so that several may do this at once, and another when one dies.
//
//	KEYS  roster:NODE, dead:NODE, owner
//	ARGV  the prelude's, then 6 when the node was last alive (ms, 0: now), 7 how many
//	      fields at most
//
// It returns how many facts were added, how many others were lost for them, how many
// fields are left, and the names of keys of another type.
var burySource = frugal(prelude) + `
local roster, at, most = KEYS[1], tonumber(ARGV[6]), tonumber(ARGV[7])
if at == 0 then at = now end
sound()
call('SET', KEYS[2], '', 'PX', KEPT)
local owner = pcall('GET', KEYS[3])
if owner == NODE then call('DEL', KEYS[3]) end
local out, facts = {0, 0, 0}, 0
local function take(kind, name, value)
  local how = {at = at}
  if kind == 'c' then
    facts = facts + 1
    return fact(string.sub(value, 1, 1) == 'E' and 'E' or 'L', name, '', '', at, string.sub(value, 2))
  elseif kind == 'u' or kind == 'o' then
    return gone(kind, name, how)
  elseif kind == 'm' then
    local channel, user = string.match(name, '^(.-)\n(.*)$')
    if channel then return leaves(channel, user, how) end
  end
end
local fields = pcall('HRANDFIELD', roster, most, 'WITHVALUES')
if fields.err then return {0, 0, 0, roster} end
for i = 1, #fields, 2 do
  call('HDEL', roster, fields[i])
  out[#out + 1] = take(string.sub(fields[i], 1, 1), string.sub(fields[i], 2), fields[i + 1])
end
out[1], out[3], out[2] = facts, call('HLEN', roster), finish()
call('PEXPIRE', OUTBOX, KEPT)
call('PEXPIRE', DUE, KEPT)
return out`

var (
	condemnScript = redis.NewScript(condemnSource)
	buryScript    = redis.NewScript(burySource)
)

// frugal has a script run also while Redis has no memory left.
func frugal(source string) string {
	return "#!lua flags=allow-oom" + strings.TrimPrefix(source, "#!lua")
}

// burials are those of dead nodes that this one carries out. Any number of nodes may
// carry out the same one.
type burials struct {
	keeper *keeper
	open   []*burial // the first is next
	pause  time.Time
}

// burial is an errand until nothing is left of a node.
type burial struct {
	keeper *keeper
	name   string
	at     string // when it was last alive, Unix ms; "" until it is condemned
	left   []int  // partitions where it may still have something, in random order
	facts  int
	done   bool
	err    error // of the last step

	verdict *redis.Cmd
	steps   []*redis.Cmd
	strike  *redis.IntCmd
}

// begin takes up what is not being done yet.
func (b *burials) begin(dead []peer) {
	for _, n := range dead {
		if !slices.ContainsFunc(b.open, func(o *burial) bool { return o.name == n.name }) {
			b.open = append(b.open, newBurial(b.keeper, n.name))
		}
	}
}

func newBurial(k *keeper, name string) *burial {
	return &burial{keeper: k, name: name, left: rand.Perm(Partitions)}
}

// due adds the next steps.
func (b *burials) due(all []errand) []errand {
	b.open = slices.DeleteFunc(b.open, func(o *burial) bool { return o.done })
	if len(b.open) == 0 || time.Now().Before(b.pause) {
		return all
	}
	next := b.open[0]
	b.open = append(b.open[1:], next)
	return append(all, next)
}

func (*burial) partition() int { return everywhere }

func (b *burial) send(ctx context.Context, pipe redis.Pipeliner) {
	r := b.keeper.roster
	b.verdict, b.steps, b.strike = nil, nil, nil
	switch {
	case b.at == "":
		b.verdict = condemnScript.EvalSha(ctx, pipe,
			[]string{r.nodesKey(), r.clockKey(), r.deadKey(link.LeasePartition, b.name)}, b.name, b.keeper.pace.lease.Microseconds())
	case len(b.left) == 0: // the last step, so that another one repeats the others
		b.strike = pipe.ZRem(ctx, r.nodesKey(), b.name)
	default:
		for _, p := range b.left[:min(len(b.left), buryAtOnce)] {
			b.steps = append(b.steps, buryScript.EvalSha(ctx, pipe,
				[]string{r.rosterKey(p, b.name), r.deadKey(p, b.name), r.ownerKey(p)}, append(r.preludeArgs(p, b.name), b.at, buryFields)...))
		}
	}
}

func (b *burial) learn(err error) {
	switch {
	case err != nil:
	case b.verdict != nil:
		b.at, err = b.verdict.Text()
		if errors.Is(err, redis.Nil) {
			b.done, err = true, nil
		}
	case b.strike != nil:
		err = b.strike.Err()
		b.done = err == nil
	default:
		err = b.advance()
	}
	if b.err = err; err != nil {
		b.keeper.burials.pause = b.keeper.later()
	}
	if b.done && b.at != "" && b.at != parting {
		b.keeper.roster.log.Info("burial", "a node was silent for too long: its connections are reported as lost",
			"dead_node", b.name, "connections", b.facts)
	}
}

// advance takes the answers of one step. What failed is tried again after the rest.
func (b *burial) advance() (failed error) {
	var again []int
	for i, cmd := range b.steps {
		answer, err := cmd.Slice()
		if err != nil {
			failed = err
			again = append(again, b.left[i])
			continue
		}
		b.facts += count(answer, 0)
		b.keeper.trimmed(count(answer, 1))
		if count(answer, 2) > 0 {
			again = append(again, b.left[i])
		}
		b.keeper.foreign(answer[min(3, len(answer)):])
	}
	b.left = append(slices.Clone(b.left[len(b.steps):]), again...)
	return failed
}

// parting is when a node was last alive that buries itself: now.
const parting = "0"

// self buries this node, which ends: others tell at once what is left of it.
func (b *burials) self(ctx context.Context) {
	name := b.keeper.lease.registered()
	if name == "" {
		return
	}
	own := newBurial(b.keeper, name)
	own.at = parting
	for more := true; more && !own.done && ctx.Err() == nil; { // what is left others do after a lease
		left := len(own.left)
		more = b.keeper.carry(ctx, []errand{own}) && (own.err == nil || len(own.left) < left)
	}
}

// count is a number in a script's answer.
func count(answer []any, i int) int {
	if i >= len(answer) {
		return 0
	}
	n, _ := strconv.Atoi(text(answer[i]))
	return n
}
