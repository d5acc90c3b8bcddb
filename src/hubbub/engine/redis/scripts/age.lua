-- How many of a room's oldest messages were sent before a moment.  `sent` never goes back in a room.
local function count_expired(l, length, cutoff)
  if cutoff <= 0 then
    return 0
  end
  local low, high = 0, length
  while low < high do
    local middle = math.floor((low + high) / 2)
    if struct.unpack('>I8', redis.call('LINDEX', l, middle), 3) < cutoff then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

-- Drops expired messages, some at a time: how many were dropped.
local function drop_expired(l, expired)
  local dropped = math.min(expired, 500)
  if dropped > 0 then
    redis.call('LTRIM', l, dropped, -1)
  end
  return dropped
end
