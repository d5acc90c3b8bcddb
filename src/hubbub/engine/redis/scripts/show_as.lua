#!lua
-- with time vault moving
-- Keep how a user without an account is shown: user, name.
local user, name = ARGV[2], ARGV[3]
if redis.call('HEXISTS', accounts, user) == 0 then
    if name == '' then
        redis.call('HDEL', names, user)
    else
        redis.call('HSET', names, user, cjson.encode({name, {}}))
    end
end
return {at}
