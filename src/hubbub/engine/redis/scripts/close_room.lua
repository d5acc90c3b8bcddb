#!lua flags=allow-oom
-- with time vault moving change
-- Close a room: its name, 1 for one that is to be deleted, and how many may be closed.
local room = ARGV[2]
local state = redis.call('HGET', closed, room)
if not state and redis.call('HLEN', closed) >= tonumber(ARGV[4]) then
    return {at, version(), 'TOO_MANY'}
end
redis.call('HSET', closed, room, state == '1' and '1' or ARGV[3])
return {at, note_change(at)}
