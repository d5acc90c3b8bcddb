#!lua flags=allow-oom
-- with time vault moving
-- Use a secret up, and every other one with it.
if not redis.call('ZSCORE', setup, ARGV[2]) then
    return {at, 0}
end
redis.call('DEL', setup)
return {at, redis.call('HLEN', accounts) == 0 and 1 or 0}
