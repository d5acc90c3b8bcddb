#!lua flags=no-writes
-- with time vault
-- All keys, as JSON, or that with a secret.
local answer = ARGV[2] and {redis.call('HGET', api_keys, ARGV[2]) or nil} or redis.call('HVALS', api_keys)
table.insert(answer, 1, time_of(facts, ARGV[1]))
return answer
