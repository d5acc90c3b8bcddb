#!lua flags=allow-oom
-- with time vault moving
-- Use a one-time password up; its user, its session, whether that is outside, and its terms, if both live.
local otp = ARGV[2]
local found = redis.call('HGET', otps, otp)
if not found then
    return {at, false}
end
local user, session, where, terms = parts_of_otp(found)
local ends = tonumber(redis.call('ZSCORE', otp_ends, otp))
redis.call('HDEL', otps, otp)
redis.call('ZREM', otp_ends, otp)
redis.call('ZREM', otps_of, member(user, ends, otp))
if ends > at and (where == 'outside' or find_session(session, at)) then
    return {at, {user, session, where, terms}}
end
return {at, false}
