package roster

import (
	"fmt"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

// Every script that changes who is here begins with the prelude. Its first arguments:
//
//	KEYS[1]  a key of the partition: the shebang makes Redis refuse what is in another
//	ARGV[1]  what begins the partition's keys
//	ARGV[2]  what begins its pub/sub channels
//	ARGV[3]  its number
//	ARGV[4]  how many facts its outbox holds
//	ARGV[5]  NODE: whose declarations are changed
//
// preludeArgs makes them. What the prelude has for the rest of a script:
//
//	DUE, OUTBOX, OWNER; DEAD, USER, CHANNEL, PRESENT, PRESENCE .. name   keys
//	number(n), whole(text)      numbers as text, and back: nil for what is not one of ours
//	now                         Redis' clock, Unix ms
//	sound()                     raises an error where due or outbox are of another type
//	fact(kind, name, user, generation, at, record)   adds to the outbox
//	here(kind, name, how)       NODE has the user (kind 'u') or the channel ('o')
//	gone(kind, name, how)       and has not any more
//	joins(channel, user, how)   NODE has how.count connections of a member
//	leaves(channel, user, how)  and none any more
//	due(entry)                  an entry of due whose time has come; that of a key of
//	                            another type is put off
//	finish()                    wakes the owner if there are facts, and returns how many
//	                            others were lost for them
//
// here, gone, joins and leaves return the name of a key that is of another type, and then
// have changed nothing. They do not touch roster:NODE. how is a table:
//
//	known   Redis confirmed this before: nothing of it is told a second time
//	again   it is declared once more: no newer than what others declared
//	tell    '1' or '0'; nil: as is stored
//	delay   ms from at until offline; nil: as is stored
//	frames  up to how many members each is shown; nil: as is stored
//	at      from when delay counts, Unix ms; nil: now
//	count, info   of joins
var prelude = fmt.Sprintf(`#!lua
local call, pcall = redis.call, redis.pcall
local IN, OUT, PARTITION, MOST, NODE = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local DUE, OUTBOX, OWNER, DEAD = IN .. '%s', IN .. '%s', IN .. '%s', IN .. '%s'
local USER, CHANNEL, PRESENT, PRESENCE = IN .. '%s', IN .. '%s', IN .. '%s', IN .. '%s'
local KEPT, REMEMBERED, LEASE, PAGE = %d, %d, %d, %d
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
`, link.DueKey, link.OutboxKey, link.OwnerKey, link.DeadKey, link.UserKey, link.ChannelKey, link.PresentKey, link.PresenceKey,
	kept.Milliseconds(), remembered.Milliseconds(), broker.Lease.Milliseconds(), broker.MaxMembers) +
	preludeFacts + preludePlaces + preludeMembers + preludeDue

const preludeFacts = `
local function number(n) return string.format('%.0f', n) end
local function whole(text)
  return text and #text < 16 and string.find(text, '^%d+$') and tonumber(text) or nil
end
local lost, told, renewed = 0, false, {}
local function sound()
  call('XLEN', OUTBOX)
  call('ZCARD', DUE)
end
local function keep(key)
  if not renewed[key] then
    renewed[key] = true
    call('PEXPIRE', key, KEPT)
  end
end
local function let_go(key)
  renewed[key] = nil
  call('PEXPIRE', key, REMEMBERED)
end
local function fact(kind, name, user, generation, at, record)
  lost = lost + math.max(0, call('XLEN', OUTBOX) + 1 - MOST)
  call('XADD', OUTBOX, 'MAXLEN', MOST, '*', 't', kind, 'n', name, 'u', user, 'g', generation, 'a', number(at), 'r', record)
  told = true
end
local function finish()
  local owner = told and pcall('GET', OWNER)
  if type(owner) == 'string' then
    call('PUBLISH', OUT .. 'outbox:' .. PARTITION .. ':' .. string.match(owner, '^[^:]*'), '')
  end
  return lost
end
local function generation(key, last)
  local g = number(math.max((whole(last) or 0) + 1, now))
  call('HSET', key, '.gen', g)
  return g
end
`

// preludePlaces: user:USER and channel:CHANNEL have a field for each node that has it, and
// of ours .gen, the last generation; .on: online or occupied, as far as the backend is
// told; .tell and .delay as last declared.
const preludePlaces = `
local place = {u = USER, o = CHANNEL}
local function here(kind, name, how)
  local key = place[kind] .. name
  local had = pcall('HMGET', key, '.gen', '.on')
  if had.err then return key end
  call('HSET', key, NODE, '', '.on', '1', '.tell', how.tell or '0', '.delay', how.delay or '0')
  keep(key)
  if had[2] then
    call('ZREM', DUE, kind .. name)
  elseif not how.known then
    local g = generation(key, had[1])
    if how.tell == '1' then fact(string.upper(kind), name, '', g, now, '') end
  end
end
-- A fact is of the moment when it became known: somebody may have been here long after
-- the last beat of the node that died.
local function over(kind, name, key, last, tell)
  call('HDEL', key, '.on', '.tell', '.delay')
  local g = generation(key, last)
  let_go(key)
  if tell == '1' then fact(kind, name, '', g, now, '') end
end
local function gone(kind, name, how)
  local key = place[kind] .. name
  local had = pcall('HMGET', key, '.gen', '.on', '.tell', '.delay')
  if had.err then return key end
  local tell, delay, at = how.tell or had[3] or '0', how.delay or had[4] or '0', how.at or now
  local due = at + (whole(delay) or 0)
  if call('HDEL', key, NODE) == 0 then
    if not how.known then return end
    due = math.max(due, now + LEASE) -- lost: others may not have declared it again yet
  end
  local ours = (had[1] and 1 or 0) + (had[2] and 1 or 0) + (had[3] and 1 or 0) + (had[4] and 1 or 0)
  if call('HLEN', key) > ours then return end
  if due <= now then return over(kind, name, key, had[1], tell) end
  call('HSET', key, '.on', '1', '.tell', tell, '.delay', delay)
  keep(key)
  call('ZADD', DUE, 'GT', number(due), kind .. name)
end
`

// preludeMembers: presence:CHANNEL has USER\nNODE: how many connections, and USER\n:
// SINCE TOTAL INFO while the user is a member, as far as the backend is told; TOTAL is 0
// while that is only remembered until due. Of ours it has .gen; .tell and .frames as last
// declared; .paused: 1, or ? where a Redis that lost its data may have forgotten it.
const preludeMembers = `
local function standing(text)
  local since, total, info = string.match(text or '', '^(%d+) (%d+) (.*)$')
  return since, tonumber(total or 0), info or ''
end
local function shown(user, info)
  return '"user":' .. cjson.encode(user) .. (info ~= '' and ',"info":' .. info or '')
end
local function frame(channel, kind, rest)
  call('PUBLISH', OUT .. 'channel:' .. channel, '\245{"kind":"' .. kind .. '"' .. rest .. '}')
end
local function resumed(channel, key)
  local users, fields, list = call('ZRANGE', PRESENT .. channel, 0, PAGE - 1), {}, {}
  for i, user in ipairs(users) do fields[i] = user .. '\n' end
  local had = #users > 0 and call('HMGET', key, unpack(fields)) or {}
  for i, user in ipairs(users) do
    local since, total, info = standing(had[i])
    list[i] = '{' .. shown(user, info) .. ',"connections":' .. number(total) .. ',"since":' .. (since or '0') .. '}'
  end
  frame(channel, 'resumed', ',"members":[' .. table.concat(list, ',') .. ']')
end
local function show(channel, key, paused, frames, kind, user, info)
  if frames == 0 then
    if paused then call('HDEL', key, '.paused') end
    return
  end
  local n = call('ZCARD', PRESENT .. channel)
  if n > frames then
    if paused ~= '1' then
      call('HSET', key, '.paused', '1')
      frame(channel, 'paused', '')
    end
  elseif paused == '1' and n * 5 >= frames * 4 then
    return
  elseif paused then
    call('HDEL', key, '.paused')
    resumed(channel, key)
  else
    frame(channel, kind, ',' .. shown(user, info))
  end
end
local function joins(channel, user, how)
  local key, members = PRESENCE .. channel, PRESENT .. channel
  local own, all = user .. '\n' .. NODE, user .. '\n'
  local had = pcall('HMGET', key, all, own, '.gen', '.paused')
  if had.err then return key end
  local added = pcall('ZADD', members, 0, user)
  if type(added) == 'table' then return members end
  local since, total, info = standing(had[1])
  local before, frames = whole(had[2]) or 0, how.frames or 0
  if not since or not how.again and how.count >= before then info = how.info end
  call('HSET', key, own, number(how.count), '.tell', how.tell or '0', '.frames', number(frames),
    all, (since or number(now)) .. ' ' .. number(math.max(total - before, 0) + how.count) .. ' ' .. info)
  keep(key)
  keep(members)
  if since and total > 0 then return end
  if since or how.known then
    if since then call('ZREM', DUE, 'm' .. channel .. '\n' .. user) end
    local n = frames > 0 and call('ZCARD', members) or 0
    if n > frames then
      call('HSET', key, '.paused', '1')
    elseif n * 5 >= frames * 4 and frames > 0 then
      call('HSETNX', key, '.paused', '?')
    end
    return
  end
  local g = generation(key, had[3])
  if how.tell == '1' then fact('M', channel, user, g, now, '') end
  show(channel, key, had[4], frames, 'joined', user, info)
end
local function parted(channel, user, key, last, paused, tell, frames, info)
  local members = PRESENT .. channel
  call('HDEL', key, user .. '\n')
  call('ZREM', members, user)
  local g = generation(key, last)
  if tell == '1' then fact('m', channel, user, g, now, '') end
  show(channel, key, paused, frames, 'left', user, info)
  if call('EXISTS', members) == 0 then let_go(key) end
end
local function leaves(channel, user, how)
  local key, all = PRESENCE .. channel, user .. '\n'
  local had = pcall('HMGET', key, all, all .. NODE, '.gen', '.paused', '.tell', '.frames')
  if had.err then return key end
  local kind = call('TYPE', PRESENT .. channel).ok
  if kind ~= 'zset' and kind ~= 'none' then return PRESENT .. channel end
  local since, total, info = standing(had[1])
  local tell, frames = how.tell or had[5] or '0', how.frames or whole(had[6]) or 0
  if not had[2] then
    if not how.known or total > 0 then return end
    call('HSET', key, '.tell', tell, '.frames', number(frames), all, (since or number(now)) .. ' 0 ' .. info)
    keep(key)
    call('ZADD', DUE, 'GT', number(now + LEASE), 'm' .. channel .. '\n' .. user)
    return
  end
  call('HDEL', key, all .. NODE)
  total = total - (whole(had[2]) or 0)
  if total > 0 then
    call('HSET', key, all, since .. ' ' .. number(total) .. ' ' .. info)
    return
  end
  parted(channel, user, key, had[3], had[4], tell, frames, info)
end
`

// preludeDue: what is told late, unless somebody came meanwhile.
const preludeDue = `
local function later(entry, key)
  call('ZADD', DUE, number(now + LEASE), entry)
  return key
end
local function due(entry)
  call('ZREM', DUE, entry)
  local kind, name = string.sub(entry, 1, 1), string.sub(entry, 2)
  if kind == 'm' then
    local channel, user = string.match(name, '^(.-)\n(.*)$')
    local key = PRESENCE .. (channel or '')
    local had = channel and pcall('HMGET', key, user .. '\n', '.gen', '.paused', '.tell', '.frames')
    if not had then return end
    if had.err then return later(entry, key) end
    local since, total, info = standing(had[1])
    if since and total == 0 then
      parted(channel, user, key, had[2], had[3], had[4], whole(had[5]) or 0, info)
    end
    return
  end
  if not place[kind] then return end
  local key = place[kind] .. name
  local had = pcall('HMGET', key, '.gen', '.on', '.tell', '.delay')
  if had.err then return later(entry, key) end
  local ours = (had[1] and 1 or 0) + (had[2] and 1 or 0) + (had[3] and 1 or 0) + (had[4] and 1 or 0)
  if had[2] and call('HLEN', key) == ours then over(kind, name, key, had[1], had[3]) end
end
`

// preludeArgs begins the arguments of a script that begins with the prelude.
func (r *Roster) preludeArgs(p int, node string) []any {
	return []any{r.link.Keys(p), r.link.Channels(p), p, max(r.waiting.Load(), 1), node}
}
