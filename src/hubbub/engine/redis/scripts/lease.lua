#!lua flags=allow-oom
-- with time
-- Renew a node's lease, and take over the sweeping of nodes whose leases have ended.
-- KEYS: the vault's facts, the leases by their ends, the nodes that are being swept by when the sweeper's claim ends,
-- and those that are gone by when they went.
-- ARGV: the caller's time, its wall clock ('' for the server's), the lease's length, 1 for a name that is new, the name,
-- the one that it had before ('' for none); then those that it sweeps.
-- The answer: the time, whether the lease was there, those that it is to sweep from now on, and those that have been
-- gone for ten minutes.
local facts, nodes, sweeps, gone = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local wall, length, is_new, node = ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1', ARGV[5]
local at = time_of(facts, ARGV[1])

local server = redis.call('TIME')
server = server[1] * 1000 + math.floor(server[2] / 1000)
if is_new then
    -- While no node runs the time stands still.  The first one makes up for that, by a wall clock.
    wall = wall == '' and server or tonumber(wall)
    local is_alone = redis.call('ZCARD', nodes) == 0
        or server - tonumber(redis.call('HGET', facts, 'beat') or 0) > length
    local ahead = redis.call('HGET', facts, 'ahead')
    if is_alone and ahead then
        at = math.max(at, wall - ahead)
    end
    if is_alone or not ahead then
        redis.call('HSET', facts, 'ahead', wall - at)
    end
end
redis.call('HSET', facts, 'at', at, 'beat', server)

-- One that was swept does not come back under its name.
local was_there = redis.call('ZSCORE', nodes, node)
if was_there or is_new then
    redis.call('ZADD', nodes, at + length, node)
end
if ARGV[6] ~= '' then
    -- Something may have been written under it since it was swept.
    redis.call('ZREM', nodes, ARGV[6])
    redis.call('ZADD', sweeps, at + length, ARGV[6])
end
for place = 7, #ARGV do
    redis.call('ZADD', sweeps, 'XX', at + length, ARGV[place])
end

-- One whose claim has ended is taken over as well: the sweeper may have died, too.
local taken = {}
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', nodes, '-inf', at, 'LIMIT', 0, 100)) do
    redis.call('ZREM', nodes, dead)
    redis.call('ZADD', sweeps, at, dead)
end
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', sweeps, '-inf', at, 'LIMIT', 0, 10)) do
    redis.call('ZADD', sweeps, at + length, dead)
    taken[#taken + 1] = dead
end

local long_gone = {}
local found = redis.call('ZRANGEBYSCORE', gone, '-inf', at - 600000, 'LIMIT', 0, 10)
if #found > 0 then
    redis.call('ZREM', gone, unpack(found))
    -- A name is an id, a dot and a number; one that was swept may live under a later number.
    local lives = {}
    for _, name in ipairs(redis.call('ZRANGE', nodes, 0, -1)) do
        lives[string.match(name, '^.*%.')] = true
    end
    for _, name in ipairs(found) do
        if not lives[string.match(name, '^.*%.')] then
            long_gone[#long_gone + 1] = name
        end
    end
end
return {at, was_there and 1 or 0, taken, long_gone}
