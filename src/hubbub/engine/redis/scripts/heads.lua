#!lua flags=allow-oom
-- with generation
-- Where the logs of rooms stand.
-- KEYS: f, then p for each room
-- ARGV: identity, now, then the caller's generation for each room
-- Returns generation and log time, then for each room: last seq, up to where the caller's generation is part of this log.
local f = KEYS[1]
local facts = redis.call('HMGET', f, 'run', 'gens', 'at')
local generation, generations = generation_of(f, facts[1], facts[2], ARGV[1], now_ms(ARGV[2]))
if not generation then
  return redis.error_reply('IDENTITY this is another server process')
end
local answer = { generation, tonumber(facts[3] or '0') }
for k = 2, #KEYS do
  local place = redis.call('HMGET', KEYS[k], 's', 'g')
  local last = tonumber(place[1] or '0')
  answer[#answer + 1] = last
  answer[#answer + 1] = shared_with(KEYS[k], last, tonumber(place[2] or ''), generations, ARGV[k + 1])
end
return answer
