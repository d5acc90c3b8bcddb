#!lua flags=allow-oom
-- with generation age
-- Finds the seq of a room's first message that was sent at a time or later; one past the last where there is none.
-- KEYS: f p l
-- ARGV: identity, now, drop what was sent before (0 for nothing), the time in milliseconds since 1970
local f, p, l = KEYS[1], KEYS[2], KEYS[3]
local facts = redis.call('HMGET', f, 'run', 'gens')
local generation = generation_of(f, facts[1], facts[2], ARGV[1], now_ms(ARGV[2]))
if not generation then
  return redis.error_reply('IDENTITY this is another server process')
end
local last = tonumber(redis.call('HGET', p, 's') or '0')
local length = redis.call('LLEN', l)
local cutoff = math.max(tonumber(ARGV[3]), tonumber(ARGV[4]))
return last - length + 1 + count_expired(l, length, cutoff)
