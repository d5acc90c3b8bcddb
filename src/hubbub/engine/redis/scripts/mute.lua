#!lua
-- Mute or unmute a room that a user follows.  KEYS: what the user follows.  ARGV: the room, and 1 or 0.  The answer:
-- whether it is followed.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
