#!lua flags=allow-oom
-- with generation age
-- Reads a page of a room's log, and where it stands, at one moment.  Drops what has grown too old.
-- KEYS: f p l
-- ARGV: identity, now, drop what was sent before (0 for nothing), direction, seq, limit, the caller's generation
--       direction: `after` or `before` the seq; `resume`: after it where the log shares that place with the caller's
--       generation and holds what follows, otherwise the newest
-- Returns generation, last seq, up to where that generation is part of this log, 1 where it is resumed, first seq of
--       the page, 1 where there are others beyond the limit, the messages.
local f, p, l = KEYS[1], KEYS[2], KEYS[3]
local identity, cutoff, direction = ARGV[1], tonumber(ARGV[3]), ARGV[4]
local seq, limit, generation_asked = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]

local facts = redis.call('HMGET', f, 'run', 'gens')
local generation, generations = generation_of(f, facts[1], facts[2], identity, now_ms(ARGV[2]))
if not generation then
  return redis.error_reply('IDENTITY this is another server process')
end
local place = redis.call('HMGET', p, 's', 'g')
local last = tonumber(place[1] or '0')
local shared = shared_with(p, last, tonumber(place[2] or ''), generations, generation_asked)

local length = redis.call('LLEN', l)
local expired = count_expired(l, length, cutoff)
-- The seqs of the first message in the list, and of the first that is not too old.
local listed = last - length + 1 + drop_expired(l, expired)
local held = last - length + 1 + expired
local is_resumed = 0
if direction == 'resume' then
  if seq <= shared and seq + 1 >= held then
    direction, is_resumed = 'after', 1
  else
    direction, seq = 'before', last + 1
  end
end
local first, final, more
if direction == 'after' then
  first = math.max(seq + 1, held)
  final = math.min(first + limit - 1, last)
  more = final < last
else
  final = math.min(seq - 1, last)
  first = math.max(final - limit + 1, held)
  more = first > held
end
local messages = {}
if first <= final then
  messages = redis.call('LRANGE', l, first - listed, final - listed)
end
return { generation, last, shared, is_resumed, first, more and 1 or 0, messages }
