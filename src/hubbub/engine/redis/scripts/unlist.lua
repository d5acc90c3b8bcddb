#!lua flags=allow-oom
-- Take a room whose log is cleared off the list of names; its next message puts it there again.
-- KEYS: names p l; ARGV: the room.
if redis.call('EXISTS', KEYS[3]) == 0 then
    redis.call('ZREM', KEYS[1], ARGV[1])
    redis.call('HDEL', KEYS[2], 'listed')
end
return 1
