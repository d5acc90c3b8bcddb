#!lua
-- with time vault moving ending
-- Keep a session, and end the user's oldest beyond a number.  The rest of ARGV: session, user, lifetime,
-- number, and its terms, which may be empty.
local session, user, ttl, most = ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])

-- Each call adds one, so what has expired is gone at once when it comes by so many.
for _, expired in ipairs(redis.call('ZRANGEBYSCORE', session_ends, '-inf', at, 'LIMIT', 0, 100)) do
    local user_of_expired = whose(redis.call('HGET', sessions, expired))
    drop_session(expired, user_of_expired, tonumber(redis.call('ZSCORE', session_ends, expired)))
end

local known = redis.call('HGET', sessions, session)
if known then
    drop_session(session, whose(known), tonumber(redis.call('ZSCORE', session_ends, session)))
end

local ended = {}
if most > 0 then
    local from, to = live_range(user, at)
    local over = redis.call('ZLEXCOUNT', sessions_of, from, to) - (most - 1)
    if over > 0 then
        for _, found in ipairs(redis.call('ZRANGEBYLEX', sessions_of, from, to, 'LIMIT', 0, over)) do
            local name = name_of(user, found)
            drop_otps(user, name)
            drop_session(name, user, ends_of(user, found))
            ended[#ended + 1] = name
        end
    end
end

redis.call('HSET', sessions, session, ARGV[9] == '' and user or user .. '\0' .. ARGV[9])
redis.call('ZADD', session_ends, at + ttl, session)
redis.call('ZADD', sessions_of, 0, member(user, at + ttl, session))
return {at, tell(ended)}
