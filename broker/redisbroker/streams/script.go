package streams

import (
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/internal/record"
)

// A stream in Redis is a record and its messages.
//
// The record is a hash: e the epoch, o the offset of the last message, s the server
// that wrote last, f the forks, d the offset up to which messages were deleted on
// purpose, w when expiry is due to be put off and old messages to be dropped (Redis' clock,
// in ms), a the age (ms) for which that holds.
//
// The messages are a Redis stream with ids OFFSET-LEFT and the fields p, the payload, and x,
// when the message ends, if it has a TTL. LEFT is 2^53 less the time in ms: a later message
// at the same offset would have a smaller id, which Redis refuses. Offsets go on over a
// fork, so that ids only grow.
//
// Every script that changes a stream makes both agree: a record without messages gets
// none back, and messages without their record, or newer than it, are removed.

// streamMark begins what the broker itself puts before a kept message in pub/sub:
// EPOCH, OFFSET, TIME, END (0: none), each followed by a space.
const streamMark = 0xf5

// clockEnd is the time that ids of messages count down to, in Unix milliseconds.
const (
	clockEnd     = 1 << 53
	clockEndText = "9007199254740992"
)

// forgetMark, at the place of an epoch, says that messages were deleted on purpose.
const forgetMark = "-"

// The shebang makes Redis refuse whatever is in another slot than the KEYS, and begin no
// script where it has no memory left; those that free some, or need next to none, go on.
const (
	streamScript = "#!lua\n"
	frugalScript = "#!lua flags=allow-oom\n"
)

// scriptClock begins every script: what it calls most, and Redis' clock in ms.
const scriptClock = `
local call = redis.call
local function number(n) return string.format('%.0f', n) end
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
`

// scriptWhole reads a number: those that Lua does not count exactly are not ours.
const scriptWhole = `
local function whole(text)
  return text and #text < 16 and string.find(text, '^%d+$') and tonumber(text) or nil
end
`

// scriptWrong says whether a pcall failed.
const scriptWrong = `
local function wrong(answer) return type(answer) == 'table' and answer.err end
`

// scriptEnded adds the end of an epoch to forks.
var scriptEnded = fmt.Sprintf(`
local function ended(forks, epoch, offset, mark)
  local kept = {}
  for one in string.gmatch(forks or '', '[^,]+') do kept[#kept + 1] = one end
  kept[#kept + 1] = epoch .. ':' .. number(offset) .. mark
  while #kept > %d do table.remove(kept, 1) end
  return table.concat(kept, ',')
end
`, record.MaxForks)

// scriptYoung finds the first message that is not too old.
var scriptYoung = fmt.Sprintf(`
local function parts(entry)
  local offset, left = string.match(entry[1], '^(%%d+)-(%%d+)$')
  return tonumber(offset), %d - tonumber(left)
end
local function first_young(messages, low, high, age)
  local stop, middle = high + 1, low
  while low < stop do
    local entry = call('XRANGE', messages, number(middle), '+', 'COUNT', 1)[1]
    local offset, time
    if entry then offset, time = parts(entry) end
    if entry and now - time >= age then low = offset + 1 else stop = middle end
    middle = math.floor((low + stop) / 2)
  end
  return low
end
`, clockEnd)

// KeepSource publishes a message and keeps it, in one step.
//
//	KEYS  the record, the messages, and what is known of the id, if there is one
//	ARGV  1 the server, 2 whether a new name of it begins an epoch, 3 the name of an
//	      epoch that may have to begin, 4 how many messages are kept, 5 for how long and
//	      6 the record, 7 the message's TTL or 0 (ms), 8 the pub/sub channel,
//	      9 the payload, 10 the digest of the id's content, 11 how long ids live (ms)
//
// It returns how many nodes got it, its offset and epoch. -1 instead of nodes is a
// duplicate with its position, -2 a conflict, -3 a server of another name.
//
// What is seldom needed is made only then: a function that Lua makes in vain costs as
// much as a call. Expiry is put off, and age looked at, once in a sixteenth of the age.
var KeepSource = streamScript + scriptClock + `
local record, messages, seen = KEYS[1], KEYS[2], KEYS[3]
if seen then
  local known = call('GET', seen)
  if known then
    local digest, offset, epoch = string.match(known, '^(%x+) ?(%d*) ?(.*)$')
    if digest ~= ARGV[10] then return {-2} end
    return {-1, offset, epoch}
  end
end
` + scriptWhole + `
local had = call('HMGET', record, 'e', 'o', 's', 'w', 'a')
local epoch, offset, due, fields = had[1], whole(had[2]), whole(had[4]), nil
if not epoch or not offset then
  local kept = redis.pcall('XLEN', messages)
  if type(kept) == 'table' then return kept end
  call('DEL', record)
  call('UNLINK', messages)
  epoch, offset, due, fields = ARGV[3], 0, nil, {'e', ARGV[3], 's', ARGV[1]}
elseif had[3] ~= ARGV[1] then
  if ARGV[2] == '' then return {-3} end
  ` + scriptEnded + `
  fields = {'e', ARGV[3], 's', ARGV[1], 'f', ended(call('HGET', record, 'f'), epoch, offset, '')}
  epoch = ARGV[3]
end
local ends = ARGV[7] == '0' and '0' or number(now + ARGV[7])
local left = number(` + clockEndText + ` - now)
local place, added = number(offset + 1), nil
local function add(make)
  local id, most = place .. '-' .. left, ARGV[4]
  if ends ~= '0' then
    if make then return redis.pcall('XADD', messages, 'MAXLEN', most, id, 'p', ARGV[9], 'x', ends) end
    return redis.pcall('XADD', messages, 'NOMKSTREAM', 'MAXLEN', most, id, 'p', ARGV[9], 'x', ends)
  end
  if make then return redis.pcall('XADD', messages, 'MAXLEN', most, id, 'p', ARGV[9]) end
  return redis.pcall('XADD', messages, 'NOMKSTREAM', 'MAXLEN', most, id, 'p', ARGV[9])
end
added = add(false)
if type(added) == 'table' and string.find(added.err, 'equal or smaller', 1, true) then
  call('UNLINK', messages)
  if offset > 0 then
    call('DEL', record)
    epoch, offset, fields, place = ARGV[3], 0, {'e', ARGV[3], 's', ARGV[1]}, '1'
  end
  added = false
end
if not added then -- none are there: what is made has no expiry yet
  added, due = add(true), nil
end
if type(added) == 'table' then return added end
if fields then call('HSET', record, 'o', place, unpack(fields)) else call('HSET', record, 'o', place) end
local age = tonumber(ARGV[5])
if not due or now >= due or due > now + age or had[5] ~= ARGV[5] then
  ` + scriptYoung + `
  local _, oldest = parts(call('XRANGE', messages, '-', '+', 'COUNT', 1)[1])
  if now - oldest >= age then
    call('XTRIM', messages, 'MINID', number(first_young(messages, 1, offset + 1, age)))
  end
  local lag = math.ceil(age / 16)
  call('HSET', record, 'w', number(now + lag), 'a', ARGV[5])
  call('PEXPIRE', record, ARGV[6] + lag)
  call('PEXPIRE', messages, age + lag)
end
if seen then
  call('SET', seen, ARGV[10] .. ' ' .. place .. ' ' .. epoch, 'PX', ARGV[11])
end
local head = '\245' .. epoch .. ' ' .. place .. ' ' .. number(now) .. ' ' .. ends .. ' '
return {call('PUBLISH', ARGV[8], head .. ARGV[9]), place, epoch}`

// touchSource says which of some streams are not where a node believes them to be, and
// keeps their records alive. What has no record gets one.
//
//	KEYS  the records
//	ARGV  1 the server, 2 the beginning of names for new epochs; then for each record
//	      how long it lives (ms) and the position that is believed, EPOCH OFFSET
//
// It returns the time, and of each that differs its number, epoch, offset and forks. A key
// of another type has no epoch.
var touchSource = frugalScript + scriptClock + scriptWhole + scriptWrong + `
local opened = ` + strconv.FormatInt(record.OpenedKept.Milliseconds(), 10) + `
local out = {number(now)}
for i, record in ipairs(KEYS) do
  local had = redis.pcall('HMGET', record, 'e', 'o', 'f')
  local foreign = wrong(had)
  if foreign then
    had = {'', '0', ''}
  elseif not had[1] or not whole(had[2]) then
    had = {ARGV[2] .. i, '0', false}
    redis.call('DEL', record)
    redis.call('HSET', record, 'e', had[1], 'o', '0', 's', ARGV[1])
    redis.call('PEXPIRE', record, opened)
  end
  local life = had[2] == '0' and opened or tonumber(ARGV[2 * i + 1])
  if life > 0 and not foreign then redis.call('PEXPIRE', record, life, 'GT') end
  if foreign or had[1] .. ' ' .. had[2] ~= ARGV[2 * i + 2] then
    for _, v in ipairs({i, had[1], had[2], had[3] or ''}) do out[#out + 1] = v end
  end
end
return out`

// readSource returns messages after an offset.
//
//	KEYS  the record, the messages
//	ARGV  1 the offset, 2 how many messages at most, 3 how many bytes, 4 their age (ms),
//	      5 how many of the last, instead of those after the offset, or 0
//
// It returns the time, epoch, offset, forks, the offset deleted up to, and whether there
// is more; then id and payload of each message, with false for the payload of one past
// its TTL. What is too old is left out, and so are messages that the record does not know.
var readSource = frugalScript + scriptClock + scriptWhole + scriptYoung + `
local entries = ` + strconv.Itoa(entriesAtOnce) + `
local had = redis.call('HMGET', KEYS[1], 'e', 'o', 'f', 'd')
local last = whole(had[2])
if not had[1] or not last then return {number(now)} end
local after, most, room, age, of = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if of > 0 then after = math.max(last - of, 0) end
local out, bytes, count, more = {number(now), had[1], had[2], had[3] or '', had[4] or '0', 0}, 0, 0, 0
local from, scanned = first_young(KEYS[2], after + 1, last, age), 0
while from <= last and more == 0 do
  local part = redis.call('XRANGE', KEYS[2], number(from), number(last), 'COUNT', 16)
  if #part == 0 then break end
  for _, entry in ipairs(part) do
    local payload, ends = entry[2][2], tonumber(entry[2][4] or '')
    local over = ends and now >= ends
    scanned = scanned + 1
    if count == most or scanned > entries or not over and bytes > 0 and bytes + #payload > room then
      more = 1
      break
    end
    from = parts(entry) + 1
    out[#out + 1], out[#out + 2] = entry[1], not over and payload
    if not over then bytes, count = bytes + math.max(#payload, 1), count + 1 end
  end
end
out[6] = more
return out`

// forgetSource deletes the messages of a stream and tells the nodes that hold it. ARGV[1]
// is the pub/sub channel.
var forgetSource = frugalScript + scriptClock + scriptWhole + `
local had = redis.call('HMGET', KEYS[1], 'e', 'o')
redis.call('UNLINK', KEYS[2])
if had[1] and whole(had[2]) then
  redis.call('HSET', KEYS[1], 'd', had[2])
  redis.call('PUBLISH', ARGV[1], '\245- ' .. had[2] .. ' 0 0 ')
end
return 1`

// forkSource is for a node that handed over messages of the epoch ARGV[1] up to the
// offset ARGV[2]. If the epoch ended before, or the stream does now, nobody may be told
// that nothing is missing between: the fork is marked as lossy. ARGV[3] is the server,
// ARGV[4] the name of an epoch that may have to begin.
var forkSource = frugalScript + scriptClock + scriptWhole + scriptEnded + `
local had = redis.call('HMGET', KEYS[1], 'e', 'o', 'f')
local last, seen = whole(had[2]), tonumber(ARGV[2])
if not had[1] or not last then return 0 end
if had[1] == ARGV[1] then
  if last < seen then
    redis.call('HSET', KEYS[1], 'e', ARGV[4], 's', ARGV[3], 'f', ended(had[3], had[1], last, '!'))
  end
  return 1
end
local forks = string.gsub(had[3] or '', '[^,]+', function(one)
  local epoch, stop = string.match(one, '^(.*):(%d+)$')
  if epoch == ARGV[1] and tonumber(stop) < seen then return one .. '!' end
end)
redis.call('HSET', KEYS[1], 'f', forks)
return 1`

var (
	// KeepScript runs KeepSource.
	KeepScript   = redis.NewScript(KeepSource)
	touchScript  = redis.NewScript(touchSource)
	readScript   = redis.NewScript(readSource)
	forgetScript = redis.NewScript(forgetSource)
	forkScript   = redis.NewScript(forkSource)
)
