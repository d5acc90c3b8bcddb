#!lua flags=allow-oom
-- with time vault moving
-- Use a one-time password up; its user and its session, if both live.
local otp = ARGV[2]
local found = redis.call('HGET', otps, otp)
if not found then
    return {at, false}
end
local user, session = string.match(found, '^([^%z]*)%z(.*)$')
local ends = tonumber(redis.call('ZSCORE', otp_ends, otp))
redis.call('HDEL', otps, otp)
redis.call('ZREM', otp_ends, otp)
redis.call('ZREM', otps_of, member(user, ends, otp))
if ends > at and find_user(session, at) then
    return {at, {user, session}}
end
return {at, false}
