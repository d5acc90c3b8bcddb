#!lua flags=no-writes
-- How far a user has read rooms.  KEYS: each room's marks; ARGV: the user.
local marks = {}
for place, key in ipairs(KEYS) do
    marks[place] = tonumber(redis.call('HGET', key, ARGV[1]) or 0)
end
return marks
