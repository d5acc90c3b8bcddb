#!lua
-- with generation amend
-- Appends a batch of one partition to its rooms' logs, all or nothing, and publishes it.
-- A node numbers its batches; one that is repeated is answered as it was the first time.
-- KEYS: f d0 d1 names, then p l for each room
-- ARGV: node, number, identity, now, log time, messages kept, publish command;
--       then for each room: channel, n, n keys (16 bytes and 4 of the message's digest; empty for none), n packed tails
--       then for each draft that amends: its room's place from 1, its own, n, then n times seq, expected body, body,
--       1 where the event's place comes in between, the rest
-- Returns log time and generation, then for each room: last seq before, sent, size of its repeats, its repeats
--       (the draft's place from 0, seq, sent, digest; a seq of 0 is no repeat: what the draft amends was not as expected).
local WINDOW_MS = 300000
local MOST_OVER = 64

local f = KEYS[1]
local node, number, identity = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local keep, publish = tonumber(ARGV[6]), ARGV[7]

local facts = redis.call('HMGET', f, 'run', 'gens', 'at', 'b:' .. node)
if facts[4] then
  local before = struct.unpack('>I8', facts[4])
  if before == number then
    return string.sub(facts[4], 9)
  end
  if before > number then
    return redis.error_reply('STALE a later batch of this node was kept already')
  end
end
local now = now_ms(ARGV[4])
local generation, generations = generation_of(f, facts[1], facts[2], identity, now)
if not generation then
  return redis.error_reply('IDENTITY this is another server process')
end
local at = math.max(tonumber(ARGV[5]), tonumber(facts[3] or '0'))

-- The keys known: in the hash of this window of log time, and in that of the one before.
local window = math.floor(at / WINDOW_MS)
local newer, older = KEYS[2 + window % 2], KEYS[3 - window % 2]
local keys = {}
local i = 8
for _ = 5, #KEYS, 2 do
  local count = tonumber(ARGV[i + 1])
  for j = i + 2, i + 1 + count do
    if ARGV[j] ~= '' then
      keys[#keys + 1] = string.sub(ARGV[j], 1, 16)
    end
  end
  i = i + 2 + 2 * count
end
local amends = amends_from(ARGV, i)
local known = {}
if #keys > 0 then
  if redis.call('HGET', newer, 'w') ~= digits(window) then
    redis.call('UNLINK', newer)
    redis.call('HSET', newer, 'w', digits(window))
  end
  for _, hash in ipairs({ older, newer }) do
    for place, value in ipairs(redis.call('HMGET', hash, unpack(keys))) do
      if value and struct.unpack('>I8', value, 17) + WINDOW_MS > at then
        known[keys[place]] = value
      end
    end
  end
end

local answer = { struct.pack('>I8I8', at, generation) }
local fresh_keys = {}
i = 8
for k = 5, #KEYS, 2 do
  local p, l, channel, count = KEYS[k], KEYS[k + 1], ARGV[i], tonumber(ARGV[i + 1])
  local place = redis.call('HMGET', p, 's', 'g', 't', 'listed')
  local before = tonumber(place[1] or '0')
  local sent = math.max(now, tonumber(place[3] or '0'))
  local head = '\148\207' .. struct.pack('>I8', sent)
  local fresh, repeats = {}, {}
  for j = 1, count do
    local key = ARGV[i + 1 + j]
    local id = string.sub(key, 1, 16)
    local of_draft = next(amends) and amends[digits((k - 3) / 2) .. ' ' .. digits(j)]
    if key ~= '' and known[id] then
      local value = known[id]
      repeats[#repeats + 1] = struct.pack('>I4', j - 1) .. string.sub(value, 1, 16) .. string.sub(value, 25, 28)
    elseif of_draft and not amend(l, before, of_draft, before + #fresh + 1, sent) then
      repeats[#repeats + 1] = struct.pack('>I4I8I8I4', j - 1, 0, 0, 0)
    else
      fresh[#fresh + 1] = head .. ARGV[i + 1 + count + j]
      if key ~= '' then
        local value = struct.pack('>I8I8I8', before + #fresh, sent, at) .. string.sub(key, 17, 20)
        known[id] = value
        fresh_keys[#fresh_keys + 1] = id
        fresh_keys[#fresh_keys + 1] = value
      end
    end
  end
  if #fresh > 0 then
    local length = redis.call('RPUSH', l, unpack(fresh))
    if keep > 0 and length > keep + MOST_OVER then
      redis.call('LTRIM', l, -keep, -1)
    end
    redis.call('HSET', p, 's', digits(before + #fresh), 't', digits(sent))
    if not place[4] then
      redis.call('ZADD', KEYS[4], 0, string.match(l, '}:l:(.*)$'))
      redis.call('HSET', p, 'listed', 1)
    end
    if place[2] ~= digits(generation) then
      redis.call('HSET', p, 'g', digits(generation))
      if place[2] then
        -- The ends of generations that are not known any more are of no use.
        for _, field in ipairs(redis.call('HKEYS', p)) do
          local ended = string.match(field, '^end:(%d+)$')
          if ended and not string.find(' ' .. generations .. ' ', ' ' .. ended .. ' ', 1, true) then
            redis.call('HDEL', p, field)
          end
        end
        redis.call('HSET', p, 'end:' .. place[2], digits(before))
      end
    end
    redis.call(publish, channel, node .. struct.pack('>I8I8', generation, before + 1)
      .. '\221' .. struct.pack('>I4', #fresh) .. table.concat(fresh))
  end
  repeats = table.concat(repeats)
  answer[#answer + 1] = struct.pack('>I8I8I4', before, sent, #repeats) .. repeats
  i = i + 2 + 2 * count
end
for first = 1, #fresh_keys, 1000 do
  redis.call('HSET', newer, unpack(fresh_keys, first, math.min(first + 999, #fresh_keys)))
end
answer = table.concat(answer)
redis.call('HSET', f, 'at', digits(at), 'b:' .. node, struct.pack('>I8', number) .. answer)
return answer
