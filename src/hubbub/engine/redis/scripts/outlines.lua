#!lua flags=allow-oom
-- with generation
-- How rooms stand.
-- KEYS: f, then p l for each room
-- ARGV: identity, now
-- Returns generation and log time, then for each room: last seq, when that was sent, its title, how many messages the
--       log holds.
local f = KEYS[1]
local facts = redis.call('HMGET', f, 'run', 'gens', 'at')
local generation = generation_of(f, facts[1], facts[2], ARGV[1], now_ms(ARGV[2]))
if not generation then
  return redis.error_reply('IDENTITY this is another server process')
end
local answer = { generation, tonumber(facts[3] or '0') }
for k = 2, #KEYS, 2 do
  local place = redis.call('HMGET', KEYS[k], 's', 't', 'title')
  answer[#answer + 1] = tonumber(place[1] or '0')
  answer[#answer + 1] = tonumber(place[2] or '0')
  answer[#answer + 1] = place[3] or ''
  answer[#answer + 1] = redis.call('LLEN', KEYS[k + 1])
end
return answer
