package roster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

// Dead letters are in partition 0, so that one bound holds for all:
//
//	letters     hash  id → letter, JSON
//	letters:by  zset  ids by Redis' time in ms
//
// A letter is stored before its fact is removed from the outbox; both may be repeated.

func (r *Roster) lettersKeys() []string {
	in := r.link.Keys(link.LeasePartition)
	return []string{in + link.LettersKey, in + link.LettersByKey}
}

// lettersPrelude begins the scripts of dead letters. KEYS are both keys, ARGV[1] is how
// many are kept, and ARGV[2] for how long (ms). The next arguments begin at ARGV[3].
var lettersPrelude = `
local call = redis.call
local letters, by, most, age = KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local function number(n) return string.format('%.0f', n) end
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function drop(ids)
  if #ids == 0 then return 0 end
  call('HDEL', letters, unpack(ids))
  return call('ZREM', by, unpack(ids))
end
local function expire() drop(call('ZRANGEBYSCORE', by, '-inf', number(now - age), 'LIMIT', 0, 500)) end
`

// buryLettersSource stores letters, pairs of id and letter. It returns how many others
// made room for them.
var buryLettersSource = "#!lua" + lettersPrelude + `
for i = 3, #ARGV, 2 do
  call('HSET', letters, ARGV[i], ARGV[i + 1])
  call('ZADD', by, number(now), ARGV[i])
end
expire()
for _, key in ipairs({letters, by}) do call('PEXPIRE', key, age) end
local over = call('ZCARD', by) - most
return over > 0 and drop(call('ZRANGE', by, 0, math.min(over, 500) - 1)) or 0`

// pageSource reads letters. ARGV[3] is how many, ARGV[4] the time of the one after which
// it begins and ARGV[5] its id, ” for the first. It returns whether there are more, and
// of each its time, id and letter.
var pageSource = "#!lua flags=allow-oom" + lettersPrelude + `
expire()
local want, time, after = tonumber(ARGV[3]), ARGV[4], ARGV[5]
local rank = 0
if after ~= '' then
  rank = call('ZCOUNT', by, '-inf', '(' .. time)
  for _, id in ipairs(call('ZRANGEBYSCORE', by, time, time)) do
    if id <= after then rank = rank + 1 end
  end
end
local ids = call('ZRANGE', by, rank, rank + want, 'WITHSCORES')
local out = {#ids > 2 * want and 1 or 0}
for i = 1, math.min(#ids, 2 * want), 2 do
  for _, v in ipairs({ids[i + 1], ids[i], call('HGET', letters, ids[i]) or ''}) do out[#out + 1] = v end
end
return out`

// letterSource reads the letter ARGV[3].
var letterSource = "#!lua flags=allow-oom" + lettersPrelude + `
expire()
return call('HGET', letters, ARGV[3])`

// dropSource removes the letter ARGV[3]. It returns how many there were.
var dropSource = "#!lua flags=allow-oom" + lettersPrelude + `
return drop({ARGV[3]})`

var (
	buryLettersScript = redis.NewScript(buryLettersSource)
	letterScript      = redis.NewScript(letterSource)
	pageScript        = redis.NewScript(pageSource)
	dropScript        = redis.NewScript(dropSource)
)

const (
	// lettersAtOnce bounds the letters of one script, and maxPage those of a page.
	lettersAtOnce = 100
	maxPage       = 1000
)

// letters stores dead letters.
type letters struct {
	keeper *keeper

	mu     sync.Mutex // guards all below
	limits broker.OutboxLimits
	queue  []broker.DeadLetter
	first  int // the number of the first in queue
	pause  time.Time
}

// LimitOutbox implements broker.Outbox.
func (r *Roster) LimitOutbox(l broker.OutboxLimits) {
	r.keeper.want()
	r.waiting.Store(int64(max(1, l.Waiting/Partitions)))
	all := r.keeper.letters
	all.mu.Lock()
	defer all.mu.Unlock()
	all.limits = l
}

// Bury implements broker.Outbox.
func (r *Roster) Bury(l broker.DeadLetter) {
	all := r.keeper.letters
	all.mu.Lock()
	defer all.mu.Unlock()
	if len(all.queue) >= max(1, all.limits.DeadLetters) {
		all.dropped(1)
		r.Settle(all.queue[0].Entry)
		all.queue = all.queue[1:]
		all.first++
	}
	all.queue = append(all.queue, l)
	r.keeper.nudge()
}

// dropped counts letters that found no room.
func (all *letters) dropped(n int) {
	r := all.keeper.roster
	r.lost(n)
	r.log.Warn("dead letters full", "dead letters are lost: there are too many", "key", "webhook.dead_letters", "lost", n)
}

// waits says whether letters are to be stored.
func (all *letters) waits() bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	return len(all.queue) > 0
}

// due adds letters to store.
func (all *letters) due(errands []errand) []errand {
	all.mu.Lock()
	defer all.mu.Unlock()
	if n := min(len(all.queue), lettersAtOnce); n > 0 && !time.Now().Before(all.pause) {
		errands = append(errands, &posting{letters: all, first: all.first, queue: slices.Clone(all.queue[:n]), limits: all.limits})
	}
	return errands
}

// limitArgs begins the arguments of scripts of letters.
func limitArgs(l broker.OutboxLimits) []any { return []any{l.DeadLetters, l.Age.Milliseconds()} }

// posting stores letters.
type posting struct {
	letters *letters
	first   int // the number of the first
	queue   []broker.DeadLetter
	limits  broker.OutboxLimits
	cmd     *redis.Cmd
}

func (*posting) partition() int { return link.LeasePartition }

func (p *posting) send(ctx context.Context, pipe redis.Pipeliner) {
	args := limitArgs(p.limits)
	for _, l := range p.queue {
		args = append(args, l.ID, formatLetter(l))
	}
	p.cmd = buryLettersScript.EvalSha(ctx, pipe, p.letters.keeper.roster.lettersKeys(), args...)
}

func (p *posting) learn(err error) {
	all := p.letters
	if err == nil {
		err = p.cmd.Err()
	}
	all.mu.Lock()
	if err != nil {
		all.pause = all.keeper.later()
		all.mu.Unlock()
		return
	}
	stored := max(0, p.first+len(p.queue)-all.first) // the first may have made room since
	all.queue, all.first = all.queue[stored:], all.first+stored
	if n, _ := p.cmd.Int(); n > 0 {
		all.dropped(n)
	}
	all.mu.Unlock()
	for _, l := range p.queue {
		all.keeper.roster.Settle(l.Entry)
	}
}

// storedLetter is a letter in Redis, but for its id.
type storedLetter struct {
	Event  []byte `json:"event"`
	Reason string `json:"reason"`
	At     int64  `json:"at"`
}

func formatLetter(l broker.DeadLetter) []byte {
	b, _ := json.Marshal(storedLetter{l.Event, l.Reason, l.At}) // nothing in it can fail
	return b
}

func parseLetter(id, stored string) (broker.DeadLetter, error) {
	var s storedLetter
	if err := json.Unmarshal([]byte(stored), &s); err != nil {
		return broker.DeadLetter{}, fmt.Errorf("read a dead letter: %w", err)
	}
	return broker.DeadLetter{ID: id, Event: s.Event, Reason: s.Reason, At: s.At}, nil
}

// DeadLetters implements broker.Outbox. The cursor is TIME-ID of the last of a page.
func (r *Roster) DeadLetters(ctx context.Context, cursor string, limit int) (page []broker.DeadLetter, next string, err error) {
	at, id, ok := strings.Cut(cursor, "-")
	if _, err := strconv.ParseUint(at, 10, 63); !ok || err != nil {
		at, id = "", "" // of another kind: from the beginning
	}
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	var cmd *redis.Cmd
	err = r.keeper.ask(ctx, func(ctx context.Context, pipe redis.Pipeliner) redis.Cmder {
		cmd = pageScript.EvalSha(ctx, pipe, r.lettersKeys(), append(r.limits(), limit, at, id)...)
		return cmd
	})
	if err != nil {
		return nil, "", err
	}
	values, err := cmd.Slice()
	for i := 1; err == nil && i+2 < len(values); i += 3 {
		next = text(values[i]) + "-" + text(values[i+1])
		l, bad := parseLetter(text(values[i+1]), text(values[i+2]))
		if bad != nil {
			r.keeper.unreadable(r.lettersKeys()[0], bad)
			continue
		}
		page = append(page, l)
	}
	if count(values, 0) == 0 {
		next = ""
	}
	return page, next, err
}

func (r *Roster) limits() []any {
	all := r.keeper.letters
	all.mu.Lock()
	defer all.mu.Unlock()
	return limitArgs(all.limits)
}

// DeadLetter implements broker.Outbox.
func (r *Roster) DeadLetter(ctx context.Context, id string) (broker.DeadLetter, bool, error) {
	var cmd *redis.Cmd
	err := r.keeper.ask(ctx, func(ctx context.Context, pipe redis.Pipeliner) redis.Cmder {
		cmd = letterScript.EvalSha(ctx, pipe, r.lettersKeys(), append(r.limits(), id)...)
		return cmd
	})
	if errors.Is(err, redis.Nil) {
		return broker.DeadLetter{}, false, nil
	}
	if err != nil {
		return broker.DeadLetter{}, false, err
	}
	l, err := parseLetter(id, text(cmd.Val()))
	return l, err == nil, err
}

// Drop implements broker.Outbox.
func (r *Roster) Drop(ctx context.Context, id string) (bool, error) {
	var cmd *redis.Cmd
	err := r.keeper.ask(ctx, func(ctx context.Context, pipe redis.Pipeliner) redis.Cmder {
		cmd = dropScript.EvalSha(ctx, pipe, r.lettersKeys(), append(r.limits(), id)...)
		return cmd
	})
	if err != nil {
		return false, err
	}
	n, err := cmd.Int()
	return n > 0, err
}
