#!lua flags=allow-oom
-- with time vault moving change
-- Forget that a room is closed, and who is invited to it.
local room = ARGV[2]
redis.call('HDEL', closed, room)
for _, found in ipairs(redis.call('ZRANGEBYLEX', invited, '[' .. room .. '\0', '(' .. room .. '\1')) do
    redis.call('ZREM', invited, found)
    redis.call('ZREM', invitations_of, string.sub(found, #room + 2) .. '\0' .. room)
end
return {at, note_change(at)}
