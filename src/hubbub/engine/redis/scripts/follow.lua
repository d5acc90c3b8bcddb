#!lua
-- Have a user follow a room.  KEYS: what the user follows, and who follows the room.  ARGV: the user, the room, and how
-- many rooms a user may follow.
local follows, followers = KEYS[1], KEYS[2]
local user, room = ARGV[1], ARGV[2]
if redis.call('HEXISTS', follows, room) == 1 then
    return 'KNOWN'
end
if redis.call('HLEN', follows) >= tonumber(ARGV[3]) then
    return 'TOO_MANY'
end
redis.call('HSET', follows, room, 0)
redis.call('ZADD', followers, 0, user)
return 'ADDED'
