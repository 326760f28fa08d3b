package broker

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// silentAfter is when a node that does not beat is not counted any more (SPEC
	// §11 Handshake). Redis' clock decides, for all nodes alike.
	silentAfter = 5 * time.Second
	// seatsKept is how long a user's seats outlive their last write, so that a
	// cluster that died leaves nothing for ever.
	seatsKept = 30 * time.Minute
)

// All keys of one script begin with the same {hash tag}:
//
//	KEYS[1] …nodes        sorted set: the names of nodes by their last beat, in µs
//	        …nodes:NAME   list: CONNECTION/KEYS[2] of that node's that lost their seat
//	KEYS[2] …user:USER    sorted set: NAME/CONNECTION by when it joined, in µs
//
// Whose name is not in nodes, or did not beat for silentAfter, has no seats: they
// are removed when room is wanted. Nobody is made alive again under such a name,
// as its seats may be gone (see RedisSeats).
var seatsPrelude = fmt.Sprintf(`
local silent, kept, name = %d, %d, ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local known = {}
local function alive(node)
  if known[node] == nil then
    local beat = redis.call('ZSCORE', KEYS[1], node)
    known[node] = beat and now - beat <= silent or false
  end
  return known[node]
end
local function number(n) return string.format('%%.0f', n) end
`, silentAfter.Microseconds(), seatsKept.Milliseconds())

// beatScript keeps ARGV[1] alive, or makes it so in place of its former name
// ARGV[2], and returns the connections that lost their seats.
var beatScript = redis.NewScript(seatsPrelude + `
if ARGV[2] ~= '' then
  redis.call('ZREM', KEYS[1], ARGV[2])
elseif not alive(name) then
  return redis.error_reply('SILENT the node was silent too long')
end
redis.call('ZADD', KEYS[1], number(now), name)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. number(now - silent))
redis.call('PEXPIRE', KEYS[1], kept)
local out = redis.call('LRANGE', KEYS[1] .. ':' .. name, 0, -1)
redis.call('DEL', KEYS[1] .. ':' .. name)
return out`)

// seatScript writes the seats of one user that the node has (connections and when
// they joined from ARGV[6] on) and gives one to the newcomer ARGV[2], if there is
// one and room for it among ARGV[3]. With the policy ARGV[4] 'replace' the oldest
// make room; their nodes are told through the channel ARGV[5] and the node's id. It
// returns when the newcomer joined, 0 if it did not.
var seatScript = redis.NewScript(seatsPrelude + `
local new, most, replace = ARGV[2], tonumber(ARGV[3]), ARGV[4] == 'replace'
if not alive(name) then return redis.error_reply('SILENT the node was silent too long') end
for i = 6, #ARGV, 2 do redis.call('ZADD', KEYS[2], ARGV[i + 1], name .. '/' .. ARGV[i]) end
local joined, wanted = 0, 0
if new ~= '' then
  joined = tonumber(redis.call('ZSCORE', KEYS[2], name .. '/' .. new) or 0)
  if joined == 0 then wanted = 1 end
end
if redis.call('ZCARD', KEYS[2]) + wanted > most then
  for _, seat in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    if not alive(string.match(seat, '^[^/]*')) then redis.call('ZREM', KEYS[2], seat) end
  end
end
local over = redis.call('ZCARD', KEYS[2]) + wanted - most
if wanted == 1 and (over <= 0 or replace) then
  local newest = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
  joined = math.max(now, (newest[2] or 0) + 1)
  redis.call('ZADD', KEYS[2], number(joined), name .. '/' .. new)
end
if replace and over > 0 then
  for _, seat in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do
    local node, connection = string.match(seat, '^([^/]*)/(.*)$')
    redis.call('ZREM', KEYS[2], seat)
    redis.call('RPUSH', KEYS[1] .. ':' .. node, connection .. '/' .. KEYS[2])
    redis.call('PEXPIRE', KEYS[1] .. ':' .. node, kept)
    redis.call('PUBLISH', ARGV[5] .. string.match(node, '^[^:]*'), '')
  end
end
redis.call('PEXPIRE', KEYS[2], kept)
return joined`)
