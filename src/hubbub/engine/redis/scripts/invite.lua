#!lua
-- with time vault moving change
-- Invite a user to a room: user, room, and how many invitations there may be.
local user, room = ARGV[2], ARGV[3]
if redis.call('HEXISTS', accounts, user) == 0 then
    return {at, version(), 'NO_ACCOUNT'}
end
if redis.call('ZCARD', invited) >= tonumber(ARGV[4]) then
    return {at, version(), 'TOO_MANY'}
end
redis.call('ZADD', invited, 0, room .. '\0' .. user)
redis.call('ZADD', invitations_of, 0, user .. '\0' .. room)
return {at, note_change(at)}
