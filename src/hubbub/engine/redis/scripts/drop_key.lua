#!lua flags=allow-oom
-- with time vault moving
-- Revoke a key by its name; whether there was one.
local secret = redis.call('HGET', api_key_names, ARGV[2])
if not secret then
    return {at, 0}
end
redis.call('HDEL', api_keys, secret)
redis.call('HDEL', api_key_names, ARGV[2])
return {at, 1}
