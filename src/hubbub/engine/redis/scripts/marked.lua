#!lua flags=no-writes
-- Some of the rooms that a user has marks in (a set), or of the users that have marks in a room (a hash).
-- KEYS: it; ARGV: how many.
local found = redis.call('TYPE', KEYS[1]).ok
if found == 'set' then
    return redis.call('SRANDMEMBER', KEYS[1], ARGV[1])
elseif found == 'hash' then
    return redis.call('HRANDFIELD', KEYS[1], ARGV[1])
end
return {}
