#!lua
-- with time vault moving
-- Keep a secret with which the first account can be made, while there is none.  Each start may bring one.
if redis.call('HLEN', accounts) == 0 then
    redis.call('ZADD', setup, at, ARGV[2])
    redis.call('ZREMRANGEBYRANK', setup, 0, -101)
end
return {at}
