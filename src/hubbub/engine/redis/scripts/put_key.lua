#!lua
-- with time vault moving
-- Keep a key: secret, name, the key as JSON, how many there may be.  The answer: what came of it.
local secret, name = ARGV[2], ARGV[3]
local known = redis.call('HGET', api_key_names, name)
if known and known ~= secret then
    return {at, 'TAKEN'}
end
if not known and redis.call('HLEN', api_keys) >= tonumber(ARGV[5]) then
    return {at, 'TOO_MANY'}
end
redis.call('HSET', api_keys, secret, ARGV[4])
redis.call('HSET', api_key_names, name, secret)
return {at, 'DONE'}
