-- What append, read and heads have in common: time, and the generation of a partition.

-- The time in milliseconds since 1970: the server's own, unless a test has given one.
local function now_ms(given)
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function digits(number)
  return string.format('%.0f', number)
end

-- The process that runs this script.  It changes at a restart, and where a replica has become the master.
local function serving_process()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local data = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
  return run .. ':' .. data
end

local function split(generations)
  local list = {}
  for each in string.gmatch(generations or '', '%d+') do
    list[#list + 1] = tonumber(each)
  end
  return list
end

-- The present generation, and the text of those known.  Begins one where another process holds the data than before.
-- A node's word alone begins none: two nodes that saw the servers on either side of a promotion would go on for ever.
local function generation_of(f, run, generations, identity, now)
  local list = split(generations)
  if run == identity and #list > 0 then
    return list[#list], generations
  end
  if serving_process() ~= identity then
    return nil
  end
  list[#list + 1] = math.max((list[#list] or 0) + 1, now)
  while #list > 16 do
    table.remove(list, 1)
  end
  for i, each in ipairs(list) do
    list[i] = digits(each)
  end
  local text = table.concat(list, ' ')
  redis.call('HSET', f, 'run', identity, 'gens', text)
  return tonumber(list[#list]), text
end

-- Up to which seq the log that an earlier generation knew is part of this one.  -1 for a generation that is unknown.
-- `p` has the end of each generation in which something was said here; the others end where the one before them does.
local function shared_with(p, last, place_generation, generations, generation)
  if not string.find(' ' .. generations .. ' ', ' ' .. generation .. ' ', 1, true) then
    return -1
  end
  generation = tonumber(generation)
  if not place_generation or generation >= place_generation then
    return last
  end
  local best, shared = -1, 0
  local place = redis.call('HGETALL', p)
  for i = 1, #place, 2 do
    local ended = tonumber(string.match(place[i], '^end:(%d+)$'))
    if ended and ended <= generation and ended > best then
      best, shared = ended, tonumber(place[i + 1])
    end
  end
  return shared
end
