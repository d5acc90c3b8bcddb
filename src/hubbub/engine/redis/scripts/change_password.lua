#!lua
-- with time vault moving ending change
-- Change a password: user, old hash, new hash, the session that goes on.  The answer begins with whether it was done.
local user = ARGV[5]
if redis.call('HGET', accounts, user) ~= ARGV[6] then
    return {at, 0, {}}
end
redis.call('HSET', accounts, user, ARGV[7])
note_change(at)
return {at, 1, tell(end_all(user, ARGV[8]))}
