#!lua flags=allow-oom
-- Drops what has grown too old in a room that nobody reads.
-- KEYS: l
-- ARGV: drop what was sent before, how many at most
-- Returns how many were dropped.
local cutoff, most = tonumber(ARGV[1]), tonumber(ARGV[2])
for dropped = 0, most - 1 do
  local oldest = redis.call('LINDEX', KEYS[1], 0)
  if not oldest or struct.unpack('>I8', oldest, 3) >= cutoff then
    return dropped
  end
  redis.call('LPOP', KEYS[1])
end
return most
