#!lua flags=no-writes
-- How far a user has read a room.  KEYS: the room's marks; ARGV: the user.
return tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
