package roster

import "github.com/redis/go-redis/v9"

// declareSource takes a batch of what NODE declares.
//
//	KEYS[1]  roster:NODE
//	ARGV     6 the number of the batch before, '' for none; 7 this batch's; then the
//	         changes, see encode
//
// It returns how many facts were lost for want of room, then the number of each change
// that was left out, from 1, and the key that is of another type. It refuses all with DEAD
// if NODE was buried, and with STALE if Redis has another batch than the one before.
var declareSource = prelude + `
local roster = KEYS[1]
if call('EXISTS', DEAD .. NODE) == 1 then return redis.error_reply('DEAD the node was buried') end
local last = call('HGET', roster, '_')
if last == ARGV[7] then return {0} end
if (last or '') ~= ARGV[6] then return redis.error_reply('STALE batches are missing') end
sound()
local function with(marks, delay, frames)
  local how = {known = string.find(marks, 'k', 1, true), again = string.find(marks, 'a', 1, true)}
  if not string.find(marks, 's', 1, true) then
    how.tell, how.delay, how.frames = string.find(marks, 't', 1, true) and '1' or '0', delay, frames
  end
  return how
end
local take = {
  ['c'] = function(i)
    call('HSET', roster, 'c' .. ARGV[i], ARGV[i + 1])
    return 2
  end,
  ['-c'] = function(i)
    call('HDEL', roster, 'c' .. ARGV[i])
    return 1
  end,
  ['>c'] = function(i)
    fact('E', ARGV[i], '', '', now, ARGV[i + 1])
    call('HDEL', roster, 'c' .. ARGV[i])
    return 2
  end,
  ['m'] = function(i)
    local how = with(ARGV[i + 2], nil, tonumber(ARGV[i + 3]))
    how.count, how.info = tonumber(ARGV[i + 4]), ARGV[i + 5]
    local key = joins(ARGV[i], ARGV[i + 1], how)
    if not key then call('HSET', roster, 'm' .. ARGV[i] .. '\n' .. ARGV[i + 1], ARGV[i + 4]) end
    return 6, key
  end,
  ['-m'] = function(i)
    local key = leaves(ARGV[i], ARGV[i + 1], with(ARGV[i + 2], nil, tonumber(ARGV[i + 3])))
    if not key then call('HDEL', roster, 'm' .. ARGV[i] .. '\n' .. ARGV[i + 1]) end
    return 4, key
  end
}
for _, kind in ipairs({'u', 'o'}) do
  take[kind] = function(i)
    local key = here(kind, ARGV[i], with(ARGV[i + 1], ARGV[i + 2]))
    if not key then call('HSET', roster, kind .. ARGV[i], '') end
    return 3, key
  end
  take['-' .. kind] = function(i)
    local key = gone(kind, ARGV[i], with(ARGV[i + 1], ARGV[i + 2]))
    if not key then call('HDEL', roster, kind .. ARGV[i]) end
    return 3, key
  end
end
local i, change, foreign = 8, 0, {0}
while i <= #ARGV do
  local size, key = take[ARGV[i]](i + 1)
  i, change = i + 1 + size, change + 1
  if key then
    foreign[#foreign + 1] = change
    foreign[#foreign + 1] = key
  end
end
call('HSET', roster, '_', ARGV[7])
keep(roster)
foreign[1] = finish()
return foreign`

var declareScript = redis.NewScript(declareSource)

// membersSource reads a page of a channel's members.
//
//	KEYS  present:CHANNEL, presence:CHANNEL
//	ARGV  1 the name after which it begins, '' for the first; 2 how many
//
// It returns how many members there are, whether there are more after the page, and for
// each of it the name and what presence:CHANNEL says of it.
const membersSource = `#!lua flags=allow-oom
local most = tonumber(ARGV[2])
local users = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1] == '' and '-' or '(' .. ARGV[1], '+', 'LIMIT', 0, most + 1)
local out, fields = {redis.call('ZCARD', KEYS[1]), #users > most and 1 or 0}, {}
for i = 1, math.min(#users, most) do fields[i] = users[i] .. '\n' end
local had = #fields > 0 and redis.call('HMGET', KEYS[2], unpack(fields)) or {}
for i = 1, #fields do
  out[#out + 1] = users[i]
  out[#out + 1] = had[i] or ''
end
return out`

var membersScript = redis.NewScript(membersSource)
