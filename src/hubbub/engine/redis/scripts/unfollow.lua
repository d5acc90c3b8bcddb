#!lua flags=allow-oom
-- Have users follow rooms no more.  KEYS: for each wish what the user follows, and who follows the room.  ARGV: for each
-- the user and the room.  The answer: how many were followed.
local count = 0
for place = 1, #KEYS, 2 do
    count = count + redis.call('HDEL', KEYS[place], ARGV[place + 1])
    redis.call('ZREM', KEYS[place + 1], ARGV[place])
end
return count
