package seats

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// silentAfter is when a node that does not beat is not counted any more (SPEC
	// §11 Handshake). Redis' clock decides, for all nodes alike.
	silentAfter = 5 * time.Second
	// pauseAfter is how long nobody beats where it is Redis that was away: then nobody is
	// silent until all had time to beat again.
	pauseAfter = 3 * time.Second
	// seatsKept is how long a user's seats outlive their last write, so that a
	// cluster that died leaves nothing for ever.
	seatsKept = 30 * time.Minute
	// nameKept is how long a name stands in a partition without being renewed there,
	// which a living node does once in 64 beats. Such a name has lost its lease with
	// the server that held it, and nobody buries it.
	nameKept = 5 * time.Minute
)

// The shebang makes Redis refuse whatever is in another slot than the KEYS.
var seatsPrelude = fmt.Sprintf(`#!lua
local silent, pause, namekept, kept, name = %d, %d, %d, %d, ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function number(n) return string.format('%%.0f', n) end
local function silence() return redis.error_reply('SILENT the node was silent too long') end
`, silentAfter.Microseconds(), pauseAfter.Microseconds(), nameKept.Microseconds(), seatsKept.Milliseconds())

// leaseSource renews the lease of the name ARGV[1], or begins it if ARGV[2] is 'new'.
// KEYS[1] has the names by their last beat, in µs, KEYS[2] when anybody beat last, and when
// Redis was last seen to have been away. It returns in how many µs the next lease runs out,
// and the names whose lease has: none while all come back who could not beat. Nobody is made
// alive again under such a name, as its seats may be gone (see Seats).
var leaseSource = seatsPrelude + `
local leases, times = KEYS[1], KEYS[2]
local had = redis.call('HMGET', times, 'last', 'thaw')
local last, thaw = tonumber(had[1] or now), tonumber(had[2] or 0)
if now < last or now - last > pause then thaw = now end
local thawing = now - thaw < silent
redis.call('HSET', times, 'last', number(now), 'thaw', number(thaw))
redis.call('PEXPIRE', times, kept)
if ARGV[2] ~= 'new' then
  local beat = redis.call('ZSCORE', leases, name)
  if not beat or now - beat > silent and not thawing then return silence() end
end
redis.call('ZADD', leases, number(now), name)
redis.call('PEXPIRE', leases, kept)
local next = redis.call('ZRANGEBYSCORE', leases, number(now - silent), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local out = thawing and {} or redis.call('ZRANGEBYSCORE', leases, '-inf', '(' .. number(now - silent), 'LIMIT', 0, 500)
table.insert(out, 1, number(next[2] + silent - now))
return out`

// nodeSource renews the name ARGV[1] in a partition, or writes it in place of ARGV[3]
// if ARGV[2] is 'new'. KEYS[1] has the names whose seats count, by when they were
// renewed, in µs.
var nodeSource = seatsPrelude + `
local nodes = KEYS[1]
if ARGV[2] == 'new' then
  redis.call('ZREM', nodes, ARGV[3])
elseif not redis.call('ZSCORE', nodes, name) then
  return silence()
end
redis.call('ZADD', nodes, number(now), name)
redis.call('ZREMRANGEBYSCORE', nodes, '-inf', '(' .. number(now - namekept))
redis.call('PEXPIRE', nodes, kept)
return 1`

// seatSource writes the seats of one user that the node ARGV[1] has (connections and
// when they joined from ARGV[7] on) and gives one to the newcomer ARGV[2], if there
// is one and room for it among ARGV[3]. With the policy ARGV[4] 'replace' the oldest
// make room: they are put down in the list that ARGV[5] and the name of their node
// make, and the channel that ARGV[6] and the node's id make says so. It returns when
// the newcomer joined, 0 if it did not.
//
//	KEYS[1]  the names whose seats count: those of others are removed when room is wanted
//	KEYS[2]  the user's seats: NAME/CONNECTION by when it joined, in µs
var seatSource = seatsPrelude + `
local nodes, seats, new, most, replace = KEYS[1], KEYS[2], ARGV[2], tonumber(ARGV[3]), ARGV[4] == 'replace'
local known = {}
local function counts(node)
  if known[node] == nil then known[node] = redis.call('ZSCORE', nodes, node) and true or false end
  return known[node]
end
if not counts(name) then return silence() end
for i = 7, #ARGV, 2 do redis.call('ZADD', seats, ARGV[i + 1], name .. '/' .. ARGV[i]) end
local joined, wanted = 0, 0
if new ~= '' then
  joined = tonumber(redis.call('ZSCORE', seats, name .. '/' .. new) or 0)
  if joined == 0 then wanted = 1 end
end
if redis.call('ZCARD', seats) + wanted > most then
  for _, seat in ipairs(redis.call('ZRANGE', seats, 0, -1)) do
    if not counts(string.match(seat, '^[^/]*')) then redis.call('ZREM', seats, seat) end
  end
end
local over = redis.call('ZCARD', seats) + wanted - most
if wanted == 1 and (over <= 0 or replace) then
  local newest = redis.call('ZRANGE', seats, -1, -1, 'WITHSCORES')
  joined = math.max(now, (newest[2] or 0) + 1)
  redis.call('ZADD', seats, number(joined), name .. '/' .. new)
end
if replace and over > 0 then
  for _, seat in ipairs(redis.call('ZRANGE', seats, 0, over - 1)) do
    local node, connection = string.match(seat, '^([^/]*)/(.*)$')
    redis.call('ZREM', seats, seat)
    redis.call('RPUSH', ARGV[5] .. node, connection .. '/' .. seats)
    redis.call('PEXPIRE', ARGV[5] .. node, kept)
    redis.call('PUBLISH', ARGV[6] .. string.match(node, '^[^:]*'), '')
  end
end
redis.call('PEXPIRE', seats, kept)
return joined`

var (
	leaseScript = redis.NewScript(leaseSource)
	nodeScript  = redis.NewScript(nodeSource)
	seatScript  = redis.NewScript(seatSource)
)

// isSilence: a node's name has no lease any more, or does not stand in a partition.
func isSilence(err error) bool { return redis.HasErrorPrefix(err, "SILENT") }
