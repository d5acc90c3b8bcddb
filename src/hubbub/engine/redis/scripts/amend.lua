-- Replacing bodies in a room's list, and the place of an event as they name it.

-- A time in milliseconds since 1970 as RFC 3339 in UTC, with milliseconds.
local function rfc3339(ms)
  local day = math.floor(ms / 86400000)
  local rest = ms - day * 86400000
  -- The civil calendar, in years that begin in March, so that a leap day is the last of one.
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, doy - math.floor((153 * mp + 2) / 5) + 1,
    math.floor(rest / 3600000), math.floor(rest / 60000) % 60, math.floor(rest / 1000) % 60, rest % 1000)
end

-- The head of bytes in MessagePack.
local function bytes_head(size)
  if size < 256 then
    return '\196' .. string.char(size)
  elseif size < 65536 then
    return '\197' .. struct.pack('>I2', size)
  end
  return '\198' .. struct.pack('>I4', size)
end

-- Where a text, or nil, in MessagePack ends that begins at a place: the place after it.
local function after_text(packed, at)
  local kind = string.byte(packed, at)
  if kind == 192 then
    return at + 1
  elseif kind < 192 then
    return at + 1 + kind % 32
  elseif kind == 217 then
    return at + 2 + string.byte(packed, at + 1)
  elseif kind == 218 then
    return at + 3 + struct.unpack('>I2', packed, at + 1)
  end
  return at + 5 + struct.unpack('>I4', packed, at + 1)
end

-- The amendments of a call, from a place in its arguments on, by room and draft.
local function amends_from(args, i)
  local amends = {}
  while args[i] do
    local of_draft = {}
    for n = 1, tonumber(args[i + 2]) do
      local at = i + 3 + (n - 1) * 5
      of_draft[n] = { seq = tonumber(args[at]), expected = args[at + 1], body = args[at + 2],
        rest = args[at + 3] == '1' and args[at + 4] or nil }
    end
    amends[args[i] .. ' ' .. args[i + 1]] = of_draft
    i = i + 3 + 5 * #of_draft
  end
  return amends
end

-- Replaces all that an event amends, or nothing: whether it was as it was expected.
local function amend(l, before, amends, seq, sent)
  local length = redis.call('LLEN', l)
  local found = {}
  for n, each in ipairs(amends) do
    local index = length - 1 - (before - each.seq)
    local element = index >= 0 and index < length and redis.call('LINDEX', l, index)
    if not element then
      return false
    end
    -- An array of four: nine bytes of time, the sender, the type, the body.
    local head = string.sub(element, 1, after_text(element, after_text(element, 11)) - 1)
    if element ~= head .. bytes_head(#each.expected) .. each.expected then
      return false
    end
    local body = each.body
    if each.rest then
      body = body .. string.format('{"seq":%.0f,"sent":"%s"}', seq, rfc3339(sent)) .. each.rest
    end
    found[n] = { index, head .. bytes_head(#body) .. body }
  end
  for _, each in ipairs(found) do
    redis.call('LSET', l, each[1], each[2])
  end
  return true
end
