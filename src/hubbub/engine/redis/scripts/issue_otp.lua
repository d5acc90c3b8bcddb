#!lua
-- with time vault moving
-- Keep a one-time password unless a limit is reached: ARGV goes on with it, the user, the session, its lifetime, the
-- limit of the user, the limit of all, 'outside' for a session that is not kept here, and terms, which may be empty.  The answer is 0, or 1 for the user's limit, or 2 for that of all.
local otp, user, session, ttl = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local per_account, in_all = tonumber(ARGV[6]), tonumber(ARGV[7])

for _, expired in ipairs(redis.call('ZRANGEBYSCORE', otp_ends, '-inf', at, 'LIMIT', 0, 100)) do
    local user_of_expired = parts_of_otp(redis.call('HGET', otps, expired))
    local ends = tonumber(redis.call('ZSCORE', otp_ends, expired))
    redis.call('HDEL', otps, expired)
    redis.call('ZREM', otp_ends, expired)
    redis.call('ZREM', otps_of, member(user_of_expired, ends, expired))
end

if redis.call('HEXISTS', otps, otp) == 1 then
    return {at, 0}  -- the same call again, whose answer was lost
end
if per_account > 0 and redis.call('ZLEXCOUNT', otps_of, live_range(user, at)) >= per_account then
    return {at, 1}
end
if in_all > 0 and redis.call('ZCOUNT', otp_ends, '(' .. at, '+inf') >= in_all then
    return {at, 2}
end
local more = ARGV[8] == '' and ARGV[9] == '' and '' or '\0' .. ARGV[8] .. '\0' .. ARGV[9]
redis.call('HSET', otps, otp, user .. '\0' .. session .. more)
redis.call('ZADD', otp_ends, at + ttl, otp)
redis.call('ZADD', otps_of, 0, member(user, at + ttl, otp))
return {at, 0}
